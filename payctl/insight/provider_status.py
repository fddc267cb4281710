"""What a provider says of one payment right now, beside what our book says. Nothing is changed: an
answer is brought into the book by ``payments sync`` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from payctl.db.actor import Actor
from payctl.errors import NotFound
from payctl.gateways.base import Answer, Gateway
from payctl.insight.lookup import Lookup
from payctl.payments.model import Operation
from payctl.payments.provider_requests import Target
from payctl.payments.questions import ask as question
from payctl.payments.records import Attempt

#: What an answer can be told of by itself; captures and cancellations show in their payment's.
_ASKED = frozenset({Operation.COLLECT, Operation.REFUND, Operation.PAYOUT})


@dataclass(frozen=True, slots=True)
class Said:
    """One attempt of ours and the provider's answer about it."""

    attempt: Attempt
    answer: Answer


def ask(
    lookup: Lookup, gateways: Mapping[str, Gateway], actor: Actor, family: str, reference: str
) -> list[Said]:
    """Ask the gateways of *family* about every attempt that *reference* leads to.

    Args:
        family: the gateways' name, ``orange``.
        reference: any id or reference that ``trace`` takes.

    Raises:
        NotFound: ``trace.nothing``, ``provider.no_attempt``.
    """
    traced = lookup.trace(actor, reference)
    said = [
        Said(attempt, question(gateways[attempt.gateway_account], attempt, about)[1])
        for story in traced.stories
        if (found := story.dossier.found) is not None
        for about in (Target(found.payment),)
        for attempt in _asked(found.attempts, gateways, family)
    ]
    if not said:
        raise NotFound("provider.no_attempt", field="ref", ref=reference[:60], family=family)
    return said


def _asked(
    attempts: tuple[Attempt, ...], gateways: Mapping[str, Gateway], family: str
) -> Iterator[Attempt]:
    for attempt in attempts:
        gateway = gateways.get(attempt.gateway_account)
        if gateway is not None and gateway.name == family and attempt.operation in _ASKED:
            yield attempt
