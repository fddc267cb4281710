"""Stripe's lists: how an object is found by our reference, and all payments of a span.

Stripe's search would take our reference at once, but it lags behind by up to a minute and more in
an outage (docs.stripe.com/search), and a payment that is not found yet must not be taken for one
that is not there. A list reads what was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from payctl.clock import Clock
from payctl.errors import NotSent
from payctl.gateways import stripe_requests as requests
from payctl.gateways.base import Answer, Event, Outcome, Reference
from payctl.gateways.http import Reply
from payctl.gateways.stripe_answers import (
    REF,
    failed,
    of_event,
    of_intent,
    of_refund,
    read,
    unreadable,
)
from payctl.gateways.stripe_sdk import Sdk

if TYPE_CHECKING:
    from stripe._v1_services import V1Services

#: A look gives up after this many pages of 100 and stays unknown.
MAX_PAGES = 50
_ALL_S = 60.0
Found = list[tuple[dict[str, Any], Reply]]


class Lists:
    """Reads pages until the object is found, the list ends, or the deadline passes."""

    def __init__(self, sdk: Sdk, clock: Clock, *, plain: bool = False) -> None:
        self._sdk = sdk
        self._clock = clock
        self._plain = plain

    def intent(self, reference: Reference) -> Answer:
        """The newest intent that carries our reference, without its fee."""
        since = requests.lookback(reference.created_at, self._clock.now())
        found, broken = self._pages(
            reference.deadline_s,
            since,
            lambda v1, after: v1.payment_intents.list(
                requests.intents_since(since, after, plain=self._plain)
            ),
            reference.our_reference,
        )
        return of_intent(*found[-1]) if found else broken or Answer(Outcome.NOT_FOUND)

    def refund(self, reference: Reference) -> Answer:
        """The newest refund that carries our reference."""
        since = requests.lookback(reference.created_at, self._clock.now())
        found, broken = self._pages(
            reference.deadline_s,
            since,
            lambda v1, after: v1.refunds.list(
                requests.refunds_since(since, after, plain=self._plain)
            ),
            reference.our_reference,
        )
        return of_refund(*found[-1]) if found else broken or Answer(Outcome.NOT_FOUND)

    def intents(self, since: datetime, until: datetime) -> Iterator[Answer]:
        """All intents of a span, oldest first: all are read before, as Stripe gives the newest."""
        found, broken = self._pages(
            _ALL_S,
            since,
            lambda v1, after: v1.payment_intents.list(
                requests.intents_since(since, after, plain=self._plain)
            ),
        )
        for item, reply in reversed(found):
            if item["created"] < until.timestamp():
                # The page's record would be repeated a hundred times.
                yield of_intent(item, replace(reply, exchange={}))
        if broken:
            yield replace(broken, provider_reference=None)

    def events(self, account: str, since: datetime) -> Iterator[tuple[Event, bytes]]:
        """Events that Stripe has made since, oldest first: at most thirty days back.

        Raises:
            NotSent: ``gateway.unreachable``: the list broke off.
        """
        found, broken = self._pages(
            _ALL_S,
            since,
            lambda v1, after: v1.events.list(
                requests.events_since(since, after, plain=self._plain)
            ),
        )
        for item, _reply in reversed(found):
            try:
                event = of_event(item)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError):
                continue  # about no object that we could ask for
            yield event, json.dumps(item).encode()
        if broken is not None:
            raise NotSent("gateway.unreachable", account=account, why=str(broken.outcome))

    def _pages(
        self,
        deadline_s: float,
        since: datetime,
        page: Callable[[V1Services, str], object],
        wanted: str | None = None,
    ) -> tuple[Found, Answer | None]:
        """Objects created since, or those with reference *wanted*; and how the list broke off."""
        until = self._clock.monotonic() + deadline_s
        found: Found = []
        after = ""
        for _ in range(MAX_PAGES):
            left = until - self._clock.monotonic()
            if left <= 0:
                return found, Answer(Outcome.UNKNOWN, message="no time left for the next page")
            reply = self._page(left, page, after)
            if isinstance(reply, Answer):
                return found, reply
            data = read(reply) or {}
            items = data.get("data")
            if not isinstance(items, list) or not all(map(_is_object, items)):
                return found, unreadable(reply)
            recent = [item for item in items if item["created"] >= int(since.timestamp())]
            found += [(item, reply) for item in recent if wanted in (None, _reference(item))]
            ended = not data.get("has_more") or len(recent) < len(items) or not items
            if ended or (wanted and found):
                return found, None
            after = str(items[-1]["id"])
        return found, Answer(Outcome.UNKNOWN, message="the list is longer than we read")

    def _page(
        self, deadline_s: float, page: Callable[[V1Services, str], object], after: str
    ) -> Reply | Answer:
        reply = self._sdk.ask(deadline_s, lambda v1: page(v1, after))
        return reply if isinstance(reply, Answer) else failed(reply) or reply


def _is_object(item: object) -> bool:
    """Whether a list's item has what every object of Stripe has, and an amount if it is money."""
    if not isinstance(item, dict) or not isinstance(item.get("metadata"), dict | None):
        return False
    numbers = ("created",) if item.get("object") == "event" else ("created", "amount")
    return all(isinstance(item.get(name), int) for name in numbers) and "id" in item


def _reference(item: dict[str, Any]) -> str | None:
    found = (item.get("metadata") or {}).get(REF)
    return str(found) if found is not None else ""
