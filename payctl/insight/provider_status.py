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
from payctl.payments.records import Attempt


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
        Said(attempt, _answer(gateways[attempt.gateway_account], attempt))
        for story in traced.stories
        if story.dossier.found is not None
        for attempt in _asked(story.dossier.found.attempts, gateways, family)
    ]
    if not said:
        raise NotFound("provider.no_attempt", field="ref", ref=reference[:60], family=family)
    return said


def _asked(
    attempts: tuple[Attempt, ...], gateways: Mapping[str, Gateway], family: str
) -> Iterator[Attempt]:
    for attempt in attempts:
        gateway = gateways.get(attempt.gateway_account)
        about = attempt.operation in (Operation.COLLECT, Operation.REFUND)
        if gateway is not None and gateway.name == family and about:
            yield attempt


def _answer(gateway: Gateway, attempt: Attempt) -> Answer:
    if attempt.operation is Operation.REFUND:
        return gateway.query_refund(attempt.reference())
    return gateway.query_payment(attempt.reference())
