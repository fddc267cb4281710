"""How a command about money ends: the exit code, where the money is, and what may be done next.

Shared by ``payments``, ``refunds``, ``stripe`` and ``trace``. The exit code is read from the state
of the payment alone, so a repeat with the same key ends as the first run did.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from payctl.cli.framework import ExitCode, note, session
from payctl.cli.messages import say
from payctl.payments.model import AttemptState, Operation, PaymentStatus, RefundState
from payctl.payments.records import Attempt, Payment, Refund

if TYPE_CHECKING:
    from payctl.insight.lookup import Story

#: Failures before a single byte had left: paying again is safe.
_NOT_SENT = frozenset({"no_route", "not_sent", "interrupted"})
#: Failures in which money arrived all the same: nobody may pay again.
_RECEIVED = frozenset({"wrong_amount", "wrong_currency", "duplicate_receipt"})
_DONE = (PaymentStatus.SUCCEEDED, PaymentStatus.AUTHORIZED)
_DONE_REFUNDS = (RefundState.SUCCEEDED, RefundState.PROPOSED)
_FAILED_REFUNDS = (RefundState.FAILED, RefundState.REJECTED)


def new_key() -> str:
    """A key for a caller who gave none, said before anything is sent so that it can be repeated."""
    key = f"cli-{secrets.token_hex(8)}"
    note(say("key", session().lang, key=key), always=True)
    return key


def exit_of(payment: Payment, attempts: Iterable[Attempt]) -> ExitCode:
    """The exit code of C.3 for a payment as it stands."""
    if payment.status in _DONE:
        return ExitCode.DONE
    if not payment.status.terminal:
        return ExitCode.OPEN
    if payment.failure_code in _RECEIVED:
        return ExitCode.OPEN
    asked = [each for each in attempts if each.operation is Operation.COLLECT]
    unsent = not asked or asked[-1].state is AttemptState.NOT_SENT
    if payment.status is PaymentStatus.FAILED and (unsent or payment.failure_code in _NOT_SENT):
        return ExitCode.NOT_SENT
    return ExitCode.DECLINED


def exit_of_step(attempts: Sequence[Attempt], operation: Operation) -> ExitCode:
    """The exit code of a capture or cancellation: that of its last attempt."""
    asked = [each for each in attempts if each.operation is operation]
    if not asked or asked[-1].state is AttemptState.SUCCEEDED:
        return ExitCode.DONE
    state = asked[-1].state
    if state.live:
        return ExitCode.OPEN
    return ExitCode.NOT_SENT if state is AttemptState.NOT_SENT else ExitCode.DECLINED


def exit_of_refund(refund: Refund) -> ExitCode:
    """The exit code of a refund as it stands."""
    if refund.state in _DONE_REFUNDS:
        return ExitCode.DONE
    if refund.state is RefundState.AWAITING_APPROVAL:
        return ExitCode.APPROVAL
    return ExitCode.DECLINED if refund.state in _FAILED_REFUNDS else ExitCode.OPEN


def tell(story: Story, steps: Sequence[str] | None = None) -> None:
    """Where the money is and what may be done next (*steps*: only these), to people."""
    run = session()
    if run.is_json or run.quiet:
        return
    from payctl.cli.money_lines import money_lines

    for line in money_lines(story.whereabouts, run.lang):
        note(line)
    for line in story.next if steps is None else steps:
        note(say("next", run.lang, command=line))
