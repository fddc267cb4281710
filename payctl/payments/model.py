"""Payments as data: states, what each answer of a provider does to them, and when to look again.

Pure functions; no SQL, no HTTP, no clock. The tables of states are the ones an operator sees in
``payctl help states``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from payctl.gateways.outcome import FAIL_OVER_CODES, Outcome, RejectKind

if TYPE_CHECKING:
    from payctl.gateways.base import Answer, Capabilities


class PaymentStatus(StrEnum):
    """What the core service asked for, as far as we know it."""

    CREATED = "created"
    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"
    PENDING = "pending"
    UNKNOWN = "unknown"
    AUTHORIZED = "authorized"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELED = "canceled"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL_STATUS


_TERMINAL_STATUS = {
    PaymentStatus.SUCCEEDED, PaymentStatus.FAILED, PaymentStatus.EXPIRED, PaymentStatus.CANCELED,
}  # fmt: skip

#: Status words of the former service, kept for the core service (cli design, end).
LEGACY_STATUS = {
    PaymentStatus.CREATED: "pending",
    PaymentStatus.PROCESSING: "pending",
    PaymentStatus.REQUIRES_ACTION: "pending",
    PaymentStatus.PENDING: "pending",
    PaymentStatus.UNKNOWN: "pending",
    PaymentStatus.AUTHORIZED: "pending",
    PaymentStatus.SUCCEEDED: "completed",
    PaymentStatus.FAILED: "failed",
    PaymentStatus.EXPIRED: "expired",
    PaymentStatus.CANCELED: "cancelled",
}


class Operation(StrEnum):
    """What an attempt asks a provider to do."""

    COLLECT = "collect"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    PAYOUT = "payout"  # money going back to the payer where the provider has no refund

    @property
    def gives_back(self) -> bool:
        """Whether it is an attempt of a refund, by whichever way."""
        return self in (Operation.REFUND, Operation.PAYOUT)


#: Calls that ask about an object and change nothing.
QUESTIONS = frozenset({"query", "query_refund", "query_payout"})


class Way(StrEnum):
    """How a refund reaches the customer."""

    REFUND = "refund"  # the provider's own refund, from what it collected
    PAYOUT = "payout"  # a payout to whoever paid (reverse payout), from the float


#: Class of breaker each operation counts for.
CLASS_OF = {
    Operation.COLLECT: "collect",
    Operation.CAPTURE: "collect",
    Operation.VOID: "collect",
    Operation.REFUND: "refund",
    Operation.PAYOUT: "payout",
}


class AttemptState(StrEnum):
    """The truth about one request to one provider."""

    SENDING = "sending"
    REQUIRES_ACTION = "requires_action"
    PENDING = "pending"
    UNKNOWN = "unknown"
    QUARANTINED = "quarantined"
    AUTHORIZED = "authorized"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    NOT_FOUND = "not_found"
    VOIDED = "voided"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    WRONG_AMOUNT = "wrong_amount"

    @property
    def live(self) -> bool:
        return self in LIVE_ATTEMPT_STATES


LIVE_ATTEMPT_STATES = frozenset(
    {
        AttemptState.SENDING, AttemptState.REQUIRES_ACTION, AttemptState.PENDING,
        AttemptState.UNKNOWN, AttemptState.QUARANTINED, AttemptState.AUTHORIZED,
    }
)  # fmt: skip

#: States in which the money has been received; nothing moves an attempt out of them.
RECEIVED = frozenset({AttemptState.SUCCEEDED, AttemptState.WRONG_AMOUNT})


class RefundState(StrEnum):
    """A refund from the wish to the money's arrival."""

    PROPOSED = "proposed"  # made by payctl for a receipt nobody ordered; an operator decides
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"  # may be sent; waits for a gateway that can be reached
    REJECTED = "rejected"
    SENDING = "sending"
    PENDING = "pending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REVERSED = "reversed"  # the provider gave the money back to us after it had succeeded

    @property
    def resting(self) -> bool:
        """True where nothing has to be looked at by itself (a person, or nobody, acts next)."""
        return self not in _MOVING_REFUND

    @property
    def reserves(self) -> bool:
        """True while the amount is set aside on the payment."""
        at_rest = (RefundState.AWAITING_APPROVAL, RefundState.REVERSED)
        return self in _MOVING_REFUND or self in at_rest

    @property
    def posted(self) -> bool:
        """True while its amount stands in the ledger as ``refund:{gateway}:outgoing``."""
        return self in (
            RefundState.SENDING, RefundState.PENDING, RefundState.UNKNOWN, RefundState.REVERSED,
        )  # fmt: skip


_MOVING_REFUND = {
    RefundState.APPROVED, RefundState.SENDING, RefundState.PENDING, RefundState.UNKNOWN,
}  # fmt: skip

#: Live attempt state -> status of its payment.
STATUS_OF = {
    AttemptState.SENDING: PaymentStatus.PROCESSING,
    AttemptState.REQUIRES_ACTION: PaymentStatus.REQUIRES_ACTION,
    AttemptState.PENDING: PaymentStatus.PENDING,
    AttemptState.UNKNOWN: PaymentStatus.UNKNOWN,
    AttemptState.QUARANTINED: PaymentStatus.UNKNOWN,
    AttemptState.AUTHORIZED: PaymentStatus.AUTHORIZED,
    AttemptState.SUCCEEDED: PaymentStatus.SUCCEEDED,
    AttemptState.DECLINED: PaymentStatus.FAILED,
    AttemptState.REJECTED: PaymentStatus.FAILED,
    AttemptState.NOT_SENT: PaymentStatus.FAILED,
    AttemptState.NOT_FOUND: PaymentStatus.FAILED,
    AttemptState.WRONG_AMOUNT: PaymentStatus.FAILED,
    AttemptState.SUPERSEDED: PaymentStatus.PROCESSING,
    AttemptState.VOIDED: PaymentStatus.CANCELED,
    AttemptState.EXPIRED: PaymentStatus.EXPIRED,
}

#: When an open outcome is looked at again: seconds after the check before (failure matrix, row 5).
POLL_PLAN_S = (5, 15, 45, 120, 300, 900, 3600, 21_600)
DAILY_S = 86_400
#: Checks after which a person is told; polling goes on daily.
CHECKS_BEFORE_CASE = len(POLL_PLAN_S)
#: Answer code for a gateway that has no way to ask: a person is told at once.
CANNOT_BE_ASKED = "cannot_be_asked"
#: "Not found" counts only after the quarantine, and only when seen this often.
NOT_FOUND_NEEDED = 2

#: Deadline of one exchange, and how much longer the lease of its sender lasts.
DEADLINE_S = 10.0
PAYOUT_DEADLINE_S = 20.0
LEASE_MARGIN_S = 30.0
LEASE = timedelta(seconds=DEADLINE_S + LEASE_MARGIN_S)
#: A payout may appear later than a payment: "not found" is believed after a day at the earliest.
PAYOUT_HORIZON_S = 86_400
#: Codes of a payout's refusal that speak of our float, not of the payee: it waits for a top-up.
FLOAT_CODES = frozenset({"insufficient_funds", "insufficient_float"})
#: Why such a refund waits.
INSUFFICIENT_FLOAT = "insufficient_float"
#: An authorisation is looked at this long after it was given; card authorisations last about 7
#: days.
AUTHORIZATION_CHECK = timedelta(days=1)


class Seen(NamedTuple):
    """What is known of an attempt when an answer arrives."""

    state: AttemptState
    operation: Operation
    amount_minor: int
    currency: str
    checks: int
    not_found: int
    quarantine_until: datetime
    #: an authorisation may be captured in part, so its sum need not equal what was asked for
    manual_capture: bool = False
    #: the customer had agreed and the provider has been asked to take the money
    completing: bool = False


class Step(NamedTuple):
    """What an answer does to an attempt.

    ``changed`` is false where the answer proves nothing new: only the time of the next look moves.
    """

    state: AttemptState
    changed: bool
    next_check_at: datetime | None
    checks: int
    not_found: int = 0
    open_case: str | None = None


def next_look(now: datetime, checks: int, jitter: float) -> datetime:
    """The poll plan: 5 s to 6 h, then daily; *jitter* in [-1, 1] moves it by up to 20 %."""
    seconds = POLL_PLAN_S[checks] if checks < len(POLL_PLAN_S) else DAILY_S
    return now + timedelta(seconds=seconds * (1 + 0.2 * jitter))


_CALL_STATES = {
    Outcome.NOT_SENT: AttemptState.NOT_SENT,
    Outcome.REJECTED: AttemptState.REJECTED,
    Outcome.DECLINED: AttemptState.DECLINED,
    Outcome.REQUIRES_ACTION: AttemptState.REQUIRES_ACTION,
    Outcome.APPROVED: AttemptState.PENDING,
    Outcome.PENDING: AttemptState.PENDING,
    Outcome.AUTHORIZED: AttemptState.AUTHORIZED,
    Outcome.SUCCEEDED: AttemptState.SUCCEEDED,
    Outcome.UNKNOWN: AttemptState.UNKNOWN,
    Outcome.EXISTS: AttemptState.UNKNOWN,
    Outcome.NOT_FOUND: AttemptState.UNKNOWN,
    Outcome.CANCELED: AttemptState.VOIDED,
    Outcome.EXPIRED: AttemptState.EXPIRED,
}
#: Outcomes that say nothing about the object when they answer a *question* about it.
_NO_ANSWER = {Outcome.NOT_SENT, Outcome.REJECTED, Outcome.UNKNOWN, Outcome.EXISTS}


def after_call(seen: Seen, answer: Answer, now: datetime, jitter: float) -> Step:
    """The first answer to a request of ours.

    An attempt that has moved on meanwhile (a webhook was faster) is only moved by a success.
    """
    state = _CALL_STATES[answer.outcome]
    if state is AttemptState.SUCCEEDED:
        state = _received(seen, answer)
    if seen.state is not AttemptState.SENDING and not (
        state in RECEIVED and seen.state not in RECEIVED
    ):
        due = next_look(now, 0, jitter) if seen.state.live else None
        return Step(seen.state, False, due, seen.checks)
    if not state.live:
        return Step(state, True, None, seen.checks)
    at_once = answer.outcome is Outcome.EXISTS
    due = now if at_once else _due_in(state, now, 0, jitter)
    return Step(state, True, due, 0)


def after_query(seen: Seen, answer: Answer, now: datetime, jitter: float) -> Step:
    """The answer to a question about an object, whoever asked it (sync, webhook, operator)."""
    checks = seen.checks + 1
    if seen.state in RECEIVED:
        return Step(seen.state, False, None, seen.checks)
    if answer.outcome is Outcome.NOT_FOUND:
        return _not_found(seen, now, checks, jitter)
    ended = answer.outcome is Outcome.REJECTED and answer.reject is RejectKind.STATE
    if answer.outcome in _NO_ANSWER and not (ended and seen.operation is Operation.CAPTURE):
        return _wait(seen, now, checks, jitter, mute=answer.code == CANNOT_BE_ASKED)
    state = _CALL_STATES[answer.outcome]
    if state is AttemptState.SUCCEEDED:
        state = _received(seen, answer)
    if not seen.state.live:
        # What has ended never comes back to life, except that money which arrived is money.
        if state in RECEIVED:
            return Step(state, True, None, checks)
        late_hold = "late_authorization" if state is AttemptState.AUTHORIZED else None
        return Step(seen.state, False, None, checks, open_case=late_hold)
    if not state.live:
        return Step(state, True, None, checks)
    taking = answer.outcome is Outcome.APPROVED and seen.completing
    if (
        state is seen.state
        or (taking and seen.state is AttemptState.UNKNOWN)
        or (seen.state is AttemptState.AUTHORIZED and state is not AttemptState.AUTHORIZED)
    ):
        return _wait(seen, now, checks, jitter)
    return Step(state, True, _due_in(state, now, 0, jitter), 0)


def after_completion(seen: Seen, answer: Answer, now: datetime, jitter: float) -> Step:
    """The answer to a request to take what the customer has approved: like one to a question, but
    where it says nothing the money may have moved.
    """
    waiting = seen.state in (AttemptState.PENDING, AttemptState.REQUIRES_ACTION)
    if answer.outcome is Outcome.UNKNOWN and waiting:
        return Step(AttemptState.UNKNOWN, True, next_look(now, 0, jitter), 0)
    return after_query(seen, answer, now, jitter)


def _not_found(seen: Seen, now: datetime, checks: int, jitter: float) -> Step:
    if not seen.state.live:
        return Step(seen.state, False, None, checks)
    confirmed = (AttemptState.AUTHORIZED, AttemptState.PENDING, AttemptState.REQUIRES_ACTION)
    if seen.state in confirmed or seen.completing:
        # The provider has confirmed this object before; it cannot have vanished.
        return _wait(seen, now, checks, jitter)
    if now < seen.quarantine_until:
        due = min(next_look(now, checks - 1, jitter), seen.quarantine_until)
        changed = seen.state is not AttemptState.QUARANTINED
        return Step(AttemptState.QUARANTINED, changed, max(due, now), checks)
    count = seen.not_found + 1
    if count >= NOT_FOUND_NEEDED:
        return Step(AttemptState.NOT_FOUND, True, None, checks, count)
    due = now + timedelta(seconds=POLL_PLAN_S[0])
    return Step(
        AttemptState.QUARANTINED, seen.state is not AttemptState.QUARANTINED, due, checks, count
    )


def _wait(seen: Seen, now: datetime, checks: int, jitter: float, *, mute: bool = False) -> Step:
    if not seen.state.live:
        return Step(seen.state, False, None, checks)
    state, changed = seen.state, False
    if state is AttemptState.SENDING:
        state, changed = AttemptState.UNKNOWN, True
    unsure = state in (AttemptState.UNKNOWN, AttemptState.QUARANTINED)
    # A gateway may fall silent at any time (its account is taken out of the configuration), so
    # each silence tells; a case that is open already is not opened again.
    told = (mute and unsure) or ((mute or unsure) and checks == CHECKS_BEFORE_CASE)
    case = "unknown_outcome" if told else None
    due = _due_in(state, now, checks - 1, jitter)
    return Step(state, changed, due, checks, seen.not_found, case)


def _due_in(state: AttemptState, now: datetime, checks: int, jitter: float) -> datetime:
    if state is AttemptState.AUTHORIZED:
        return now + AUTHORIZATION_CHECK
    return next_look(now, checks, jitter)


def _received(seen: Seen, answer: Answer) -> AttemptState:
    """Success, or money that is not what was asked for (payments design, 2.3)."""
    if answer.amount_minor is None or seen.manual_capture:
        return AttemptState.SUCCEEDED
    same = answer.amount_minor == seen.amount_minor and answer.currency == seen.currency
    return AttemptState.SUCCEEDED if same else AttemptState.WRONG_AMOUNT


def may_fail_over(answer: Answer) -> bool:
    """Whether another gateway may be tried: only after a definite no that says something about this
    gateway, never about the customer or the money (payments design, 2.5).
    """
    if answer.outcome is Outcome.NOT_SENT:
        return True
    if answer.outcome is Outcome.REJECTED:
        return answer.reject in (RejectKind.AUTH, RejectKind.RATE)
    return answer.outcome is Outcome.DECLINED and answer.code in FAIL_OVER_CODES


def may_supersede(capabilities: Capabilities, state: AttemptState, exposed: bool) -> bool:
    """Whether an attempt with an open outcome may be left behind for another gateway: only where
    creating moves no money and the customer has never been shown the means to pay.
    """
    return state is AttemptState.UNKNOWN and not capabilities.create_moves_money and not exposed


def legacy_status(status: PaymentStatus, captured_minor: int, refunded_minor: int) -> str:
    """The former service's word; fully refunded payments are ``refunded``."""
    if status is PaymentStatus.SUCCEEDED and captured_minor and refunded_minor == captured_minor:
        return "refunded"
    return LEGACY_STATUS[status]
