"""Cases as data: what kinds there are, how soon each must be looked at, and what a case is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl import pan
from payctl.db.actor import Actor
from payctl.errors import InvalidInput
from payctl.ids import encode

MAX_EVIDENCE = 2000


@dataclass(frozen=True, slots=True)
class Kind:
    """How cases of one kind are treated.

    ``resolutions`` are the ways out that move no money and need nobody's help; kinds whose
    resolution does move money have none here and get theirs from a :class:`Resolver`.
    """

    due_after: timedelta
    resolutions: tuple[str, ...] = ("handled", "no_action")


#: What payctl opens cases about. A kind that is not in the table is treated like ``DEFAULT``: a
#: case must never fail to open.
KINDS: dict[str, Kind] = {
    "config_error": Kind(timedelta(hours=1)),
    "gateway_removed": Kind(timedelta(hours=1)),
    "low_float": Kind(timedelta(hours=4)),
    "unknown_outcome": Kind(timedelta(hours=4), ()),
    "late_authorization": Kind(timedelta(hours=24)),
    "late_success": Kind(timedelta(hours=24)),
    "dispute": Kind(timedelta(hours=24), ()),
    "dispute_changed": Kind(timedelta(hours=24)),
    "dispute_orphan": Kind(timedelta(hours=24)),
    "orphan": Kind(timedelta(hours=24)),
    "pan_refused": Kind(timedelta(hours=24)),
    "reference_conflict": Kind(timedelta(hours=24)),
    "refund_paid_late": Kind(timedelta(hours=24)),
    "refunded_twice": Kind(timedelta(hours=24)),
    "refund_failed_later": Kind(timedelta(hours=24)),
    "duplicate_receipt": Kind(timedelta(hours=48)),
    "unapplied_receipt": Kind(timedelta(hours=48)),
    "wrong_amount": Kind(timedelta(hours=48)),
    "suspense": Kind(timedelta(hours=72)),
}
DEFAULT = Kind(timedelta(hours=24))

#: States a list can be asked for; ``unresolved`` is open and assigned together.
STATES = ("open", "assigned", "resolved", "unresolved")


@dataclass(frozen=True, slots=True)
class Case:
    """A case. ``amount_minor`` is the money at risk in minor units of ``currency``, if any is."""

    id: UUID
    kind: str
    state: str
    dedupe_key: str
    subject_kind: str
    subject_id: UUID | None
    gateway: str | None
    amount_minor: int | None
    currency: str | None
    detail: Mapping[str, Any]
    opened_at: datetime
    opened_by: str
    due_at: datetime
    assigned_to: str | None
    approval_id: UUID | None
    resolution: str | None
    evidence: str | None
    resolved_by: str | None
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class CaseEvent:
    """One thing that was done about a case."""

    at: datetime
    actor: str
    action: str
    data: Mapping[str, Any]


#: Carries out a resolution in the transaction that resolves the case, so that both happen or none.
Act = Callable[[sa.Connection, Actor, Case, str, str], None]


@dataclass(frozen=True, slots=True)
class Resolver:
    """How one kind is resolved when resolving it does something.

    Attributes:
        resolutions: the words ``--as`` takes.
        act: called with the transaction, who acts, the case, the resolution and the evidence. What
            it raises leaves the case as it was.
        four_eyes: the resolutions that decide about money and go through approvals.
    """

    resolutions: tuple[str, ...]
    act: Act
    four_eyes: frozenset[str] = frozenset()


def content_of(case: Case, resolution: str, evidence: str) -> dict[str, Any]:
    """What an approval of a resolution is bound to."""
    return {
        "case": encode("case", case.id),
        "resolution": resolution,
        "evidence": evidence,
        "amount_minor": case.amount_minor,
        "currency": case.currency,
    }


def checked_evidence(evidence: str) -> str:
    """*evidence* without white space around it.

    Raises:
        InvalidInput: ``case.evidence_missing``, ``case.evidence_too_long``,
            ``case.evidence_has_card``.
    """
    text = evidence.strip()
    if not text:
        raise InvalidInput("case.evidence_missing", field="evidence")
    if len(text) > MAX_EVIDENCE:
        raise InvalidInput("case.evidence_too_long", field="evidence", limit=MAX_EVIDENCE)
    if pan.contains(text):
        raise InvalidInput("case.evidence_has_card", field="evidence")
    return text


def scrubbed(value: Any) -> Any:
    """*value* with card numbers removed from its texts; providers' messages may quote one."""
    if isinstance(value, Mapping):
        return {str(key): scrubbed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed(item) for item in value]
    return pan.scrub(value) if isinstance(value, str) else value
