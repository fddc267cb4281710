"""Events whose signature could not be checked when they came: the provider is asked before use.

It takes an exchange with the provider, so a receiver that must answer in milliseconds leaves it to
whoever applies the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, runtime_checkable

from payctl.errors import NotConfigured
from payctl.gateways.base import Answer, Event, Gateway, Outcome
from payctl.webhooks.model import ALTERED, Stored


@runtime_checkable
class VerifiesOnline(Protocol):
    """A gateway whose provider says whether an event is its own."""

    def verify_event_online(
        self, body: bytes, headers: Mapping[str, str], deadline_s: float = 5.0
    ) -> Answer:
        """``SUCCEEDED``, ``REJECTED`` with code ``bad_signature``, or why nothing was learnt."""


def asked(gateway: Gateway, stored: Stored, event: Event) -> tuple[Event, str | None]:
    """*event* with the proof it has now, and the outcome that ends the try, if any.

    Where the provider cannot be asked about it (no such call, no webhook id in the profile, or a
    card number was taken out of the body) nothing is learnt and nothing ends: its object is asked
    for as that of any event.
    """
    if not isinstance(gateway, VerifiesOnline) or ALTERED in stored.headers:
        return event, None
    try:
        answer = gateway.verify_event_online(stored.body, stored.headers)
    except NotConfigured:
        return event, None
    if answer.outcome is Outcome.SUCCEEDED:
        return replace(event, proof="signature"), None
    forged = answer.outcome is Outcome.REJECTED and answer.code == "bad_signature"
    return event, "forged" if forged else "unreachable"
