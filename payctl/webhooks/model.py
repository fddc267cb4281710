"""Webhook events as data: what is kept of one, when it is tried again, and what a try ends in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from payctl import pan
from payctl.gateways.base import Event, Reference
from payctl.payments.provider_tokens import token_hash

MAX_BODY_BYTES = 262_144
MAX_HEADERS = 100
MAX_HEADER_LENGTH = 4_000

#: States an event ends in; ``received`` and ``waiting`` are the others.
SETTLED = ("applied", "orphan", "dead", "dropped")
#: Those of them in which nothing came of it.
UNHEARD = ("dead", "orphan")
STATES = ("received", "waiting", *SETTLED)

#: An error of our own is tried this often in all, then the event is a dead letter.
TRIES = 3
#: An event whose object we do not know is looked up again this often before a case is opened.
ORPHAN_RETRIES = 3
_TRY_DELAYS_S = (10, 60, 300)
#: While the provider cannot be reached an event waits, without limit and without counting as a try.
_WAIT_FIRST_S, _WAIT_MOST_S = 30, 900
#: A worker that has not finished an event by then is taken for dead and the event given to another.
LEASE_S = 120

#: Reason of an event that an operator made due again.
RETRIED = "retried"
#: A header of ours: something was taken out of the stored body, so no signature fits it any more.
ALTERED = "payctl-altered"
#: What proves that an event is the provider's: it signed it, or listed it when asked.
PROVEN = frozenset({"signature", "listed"})

#: Headers that carry credentials or cookies and that no adapter reads.
_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"}
)
_CLIENT_SECRET = re.compile(rb'("client_secret"\s*:\s*")[^"\\]+(")')


@dataclass(frozen=True, slots=True)
class Stored:
    """A webhook event as it lies in the inbox.

    ``event_id`` to ``occurred_at`` are ``None`` while no adapter could read the body. ``tries``
    counts tries that failed by a fault of ours or found no object, ``waits`` those that did not
    reach the provider.
    """

    id: UUID
    account: str
    dedupe: str
    event_id: str | None
    type: str | None
    object_kind: str | None
    our_reference: str | None
    provider_reference: str | None
    occurred_at: datetime | None
    body: bytes
    headers: Mapping[str, str]
    received_at: datetime
    state: str
    tries: int
    waits: int
    next_try_at: datetime | None
    worker: UUID | None
    reason: str | None
    settled_at: datetime | None
    proof: str
    token_hash: bytes | None

    def event(self) -> Event | None:
        """The event as the adapter read it when it came in, but for its token, which is not kept
        (``token_hash``).
        """
        if self.event_id is None or self.type is None or self.object_kind is None:
            return None
        reference = Reference(self.our_reference, self.provider_reference)
        return Event(
            self.event_id, self.type, self.object_kind, reference, self.occurred_at, self.proof
        )


def event_columns(event: Event) -> dict[str, Any]:
    """The columns that keep *event*."""
    return {
        "event_id": event.event_id,
        "type": event.type,
        "object_kind": event.object_kind,
        "our_reference": event.reference.our_reference,
        "provider_reference": event.reference.provider_reference,
        "occurred_at": event.occurred_at,
        "proof": event.proof,
        "token_hash": token_hash(event.token) if event.token is not None else None,
    }


@dataclass(frozen=True, slots=True)
class Next:
    """What a try does to the event. ``open_case`` says that an operator must hear of it."""

    state: str
    tries: int
    waits: int
    next_try_at: datetime | None
    reason: str | None
    open_case: bool = False


def after(stored: Stored, outcome: str, reason: str | None, now: datetime) -> Next:
    """The state after a try that ended in *outcome*.

    Args:
        outcome: ``applied``, ``nothing_new``, ``orphan`` or ``unreachable`` as the payments door
            says it, or ``error`` for a fault of ours.
    """
    tries, waits = stored.tries, stored.waits
    if outcome in ("applied", "nothing_new"):
        return Next("applied", tries, waits, None, None if outcome == "applied" else outcome)
    if outcome == "unreachable":
        delay = min(_WAIT_FIRST_S * 2 ** min(waits, 10), _WAIT_MOST_S)
        at = now + timedelta(seconds=delay)
        return Next("waiting", tries, waits + 1, at, outcome)
    if outcome == "forged":
        return Next("dropped", tries, waits, None, "event.bad_signature")
    most = ORPHAN_RETRIES if outcome == "orphan" else TRIES - 1
    if tries >= most:
        state = "orphan" if outcome == "orphan" else "dead"
        # What nothing speaks for proves no money, and anybody could open cases with it.
        told = state == "orphan" and stored.proof in PROVEN
        return Next(state, tries + 1, waits, None, reason or outcome, told)
    delay = _TRY_DELAYS_S[min(tries, len(_TRY_DELAYS_S) - 1)]
    at = now + timedelta(seconds=delay)
    return Next("waiting", tries + 1, waits, at, reason or outcome)


def clean_body(body: bytes, token: str | None = None) -> tuple[bytes, int]:
    """The body as it is stored, and how many card numbers it had.

    Card numbers become nines; a client secret (which lets its holder finish the payment) and the
    *token* that proves the event go too. Everything else stays byte for byte.
    """
    body = body.replace(token.encode(), b"removed") if token else body
    return pan.scrub_body(_CLIENT_SECRET.sub(rb"\1removed\2", body))


def clean_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers as they are stored: lower-case names, without credentials, bounded."""
    kept: dict[str, str] = {}
    for name, value in list(headers.items())[:MAX_HEADERS]:
        key = name.lower()
        if key not in _SECRET_HEADERS and len(value) <= MAX_HEADER_LENGTH:
            kept[key] = value
    # Nearly none holds a card number, and one look at all of them is enough to tell.
    whole = "\n".join((*kept, *kept.values()))
    if pan.contains(whole):
        kept = {key: pan.scrub(value) for key, value in kept.items()}
    if "\0" in whole:
        # A header is bytes without a meaning of their own; no database takes a zero in a text.
        kept = {key.replace("\0", ""): value.replace("\0", "") for key, value in kept.items()}
    return kept
