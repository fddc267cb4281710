"""What an answer says about an attempt, where the question was about something else.

A capture and a cancellation have no object of their own at most providers: one asks about the
payment and reads off whether they happened.
"""

from __future__ import annotations

from dataclasses import replace

from payctl.gateways.base import Answer, Outcome, RejectKind
from payctl.payments.model import Operation
from payctl.payments.records import Capture

#: Answers to a request to cancel that say it is done.
_ENDED = (Outcome.CANCELED, Outcome.EXPIRED)


def meaning(
    operation: Operation,
    answer: Answer,
    part: Capture | None,
    *,
    about: bool,
    reports_amount: bool = True,
) -> Answer:
    """*answer* in terms of the attempt's own operation.

    Args:
        part: the capture, where the attempt is one.
        about: it answers a question about the payment, not our request.
        reports_amount: whether the provider's status tells the amount; where it does not, our
            stored reference decides and reconciliation verifies (payments design, 2.3).
    """
    if operation is Operation.VOID and (about or answer.outcome in _ENDED):
        return _as_void(answer)
    if not about:
        return answer
    if operation is Operation.CAPTURE and part is not None:
        return _as_capture(answer, part.captured_before_minor, part.amount_minor)
    if answer.outcome is Outcome.SUCCEEDED and not reports_amount:
        return replace(answer, amount_minor=None, currency=None)
    return answer


def _as_capture(answer: Answer, captured_before_minor: int, amount_minor: int) -> Answer:
    """What a question about the *payment* says about one capture of it."""
    captured = answer.captured_minor
    if captured is None and answer.outcome is Outcome.SUCCEEDED:
        captured = answer.amount_minor
    if answer.outcome in (Outcome.SUCCEEDED, Outcome.AUTHORIZED):
        done = captured is not None and captured >= captured_before_minor + amount_minor
        outcome = Outcome.SUCCEEDED if done else Outcome.NOT_FOUND
        return replace(answer, outcome=outcome, amount_minor=None, provider_reference=None)
    if answer.outcome in (Outcome.CANCELED, Outcome.EXPIRED, Outcome.DECLINED):
        return replace(answer, outcome=Outcome.REJECTED, reject=RejectKind.STATE)
    return answer


def _as_void(answer: Answer) -> Answer:
    """What a question about the *payment* says about our request to cancel it."""
    if answer.outcome in (Outcome.CANCELED, Outcome.EXPIRED, Outcome.DECLINED):
        return replace(answer, outcome=Outcome.SUCCEEDED, amount_minor=None)
    if answer.outcome is Outcome.SUCCEEDED:
        return replace(
            answer, outcome=Outcome.DECLINED, code="already_succeeded", amount_minor=None
        )
    open_ = (Outcome.AUTHORIZED, Outcome.REQUIRES_ACTION, Outcome.APPROVED, Outcome.PENDING)
    if answer.outcome in open_:
        return replace(answer, outcome=Outcome.NOT_FOUND)
    return answer
