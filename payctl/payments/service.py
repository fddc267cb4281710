"""Taking payments.

One payment's way: claim the key, write payment and first attempt in one commit (T1 and T2), call
the provider with no transaction open, apply the answer in one commit (T3). After a definite no that
allows it, T3 also writes the next attempt, so there is never a payment without its next step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl import log
from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.errors import PayctlError
from payctl.gateways.base import Answer, Outcome
from payctl.ledger.model import Posted
from payctl.notifications.outbox import Outbox
from payctl.payments import store
from payctl.payments.announcements import announce
from payctl.payments.dispatch import CALLS, Dispatch, once_sent
from payctl.payments.first_answer import Answered, FirstAnswers
from payctl.payments.intake import Begun, Intake
from payctl.payments.model import (
    DEADLINE_S,
    AttemptState,
    Operation,
    PaymentStatus,
    may_supersede,
)
from payctl.payments.outcomes import Applied, Outcomes
from payctl.payments.provider_requests import Target, describe, payment_request
from payctl.payments.records import Attempt, Payment
from payctl.payments.requests import PaymentInput
from payctl.payments.results import PaymentResult, view
from payctl.payments.routing import Router

#: Different gateways tried for one payment at most.
MAX_GATEWAYS = 5
#: How long a caller with a key that is being worked on waits for that work's answer.
REPLAY_WAIT_S = DEADLINE_S + 5
REPLAY_STEP_S = 0.05


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What processing would do: the route, the request to the provider, and the entries."""

    result: PaymentResult
    route: Mapping[str, Any]
    request: Mapping[str, Any] | None


class Payments:
    """Use cases of payments; each owns its transactions."""

    def __init__(
        self,
        db: Database,
        intake: Intake,
        first_answers: FirstAnswers,
        router: Router,
        dispatch: Dispatch,
        outcomes: Outcomes,
        outbox: Outbox,
    ) -> None:
        self._db = db
        self._intake = intake
        self._first_answers = first_answers
        self._router = router
        self._dispatch = dispatch
        self._outcomes = outcomes
        self._outbox = outbox

    # -- process --------------------------------------------------------------------------------

    def process(self, actor: Actor, wanted: PaymentInput) -> PaymentResult:
        """Take a payment. The same key with the same content returns the same payment and calls
        nobody; while another process works on it, this one waits for that answer.

        Raises:
            InvalidInput: the field that is wrong; nothing was written.
            Conflict: ``key.reused``.
            Forbidden, Unavailable.
        """
        require(actor, "payment.process")
        [begun] = self._intake.begin(actor, [wanted.validated()])
        if isinstance(begun, PayctlError):
            raise begun
        if begun.attempt is None:
            return self.unsent(begun)
        answered = self.ask(begun)
        with once_sent(begun.payment.id):
            [applied] = self._first_answers.apply(actor, [answered])
        return self.carry_on(actor, answered, applied)

    def unsent(self, begun: Begun) -> PaymentResult:
        """The result of a payment for which nothing is to be sent: a replay, or no route."""
        if begun.replayed:
            return self._replay(begun.payment.id)
        return PaymentResult(begun.payment, ())

    def ask(self, begun: Begun) -> Answered:
        """Send the first request of a payment that was just begun; no transaction is open.

        Raises:
            Conflict: ``attempt.lease_lost``; nothing was sent.
        """
        if begun.attempt is None:
            raise AssertionError("nothing is to be sent for this payment")
        with log.correlated(begun.correlation_id):
            answer = self._dispatch.call(begun.attempt, Target(begun.payment))
        return Answered(begun.payment, begun.attempt, answer, begun.probe, begun.correlation_id)

    def carry_on(self, actor: Actor, answered: Answered, applied: Applied | None) -> PaymentResult:
        """Finish a payment after its first answer: apply it the long way unless it is *applied*,
        and try the next gateway where that is allowed.

        Raises:
            OutcomeOpen: ``database.lost_after_send``.
        """
        if applied is not None:
            return PaymentResult(
                applied.payment, (applied.attempt,), next_action=answered.answer.next_action,
                journals=applied.journals,
            )  # fmt: skip
        with log.correlated(answered.correlation_id):
            return self._long_way(actor, answered)

    def _long_way(self, actor: Actor, answered: Answered) -> PaymentResult:
        applied: Applied | None
        journals: list[Posted] = []
        answer, attempt, probe = answered.answer, answered.attempt, answered.probe
        while True:
            probes: list[str] = []
            applied = self._apply(actor, attempt, answer, probe, probes)
            journals.extend(applied.journals)
            following, probe = applied.next_attempt, probes[-1] if probes else ""
            payment = applied.payment
            if following is None:
                with once_sent(payment.id):
                    following, payment, probe = self._leave_behind(actor, applied)
            if following is None:
                with once_sent(payment.id):
                    return view(
                        self._db, payment.id, journals=tuple(journals), action=answer.next_action
                    )
            attempt, answer = following, self._dispatch.call(following, Target(payment))

    def _apply(
        self, actor: Actor, attempt: Attempt, answer: Answer, probe: str, probes: list[str]
    ) -> Applied:
        def fail_over(
            tx: sa.Connection, failed_for: Payment, failed: Attempt, answer: Answer
        ) -> Attempt | None:
            return self._next_gateway(tx, actor, failed_for, probes)

        with once_sent(attempt.payment_id):
            return self._dispatch.apply(
                attempt, answer, CALLS[attempt.operation], actor, fail_over=fail_over, probe=probe
            )

    def rehearse(self, actor: Actor, wanted: PaymentInput) -> Rehearsal:
        """The real code of :meth:`process` in a transaction that is rolled back, with the
        provider's success taken for granted.
        """
        require(actor, "payment.process")
        wanted = wanted.validated()
        with self._db.rehearsal() as tx:
            [begun] = self._intake.begin(actor, [wanted], tx)
            if isinstance(begun, PayctlError):
                raise begun
            if begun.attempt is None:
                result = PaymentResult(begun.payment, (), begun.replayed)
                return Rehearsal(result, begun.payment.route or {}, None)
            success = Outcome.AUTHORIZED if wanted.manual_capture else Outcome.SUCCEEDED
            answer = Answer(success, amount_minor=wanted.amount_minor, currency=wanted.currency)
            applied = self._outcomes.apply(
                tx, begun.attempt.id, answer, source="rehearsal", call="create", actor=actor
            )
            request = describe(payment_request(begun.attempt, Target(begun.payment), DEADLINE_S))
            result = PaymentResult(applied.payment, (applied.attempt,), journals=applied.journals)
            return Rehearsal(result, begun.payment.route or {}, request)

    def _next_gateway(
        self, tx: sa.Connection, actor: Actor, payment: Payment, probes: list[str]
    ) -> Attempt | None:
        """The next gateway after a definite no, or ``None`` when none is left."""
        tried = {a.gateway_account for a in store.attempts(tx, payment.id, Operation.COLLECT)}
        if len(tried) >= MAX_GATEWAYS:
            return None
        decision = self._router.decide(
            tx, self._intake.route_request(payment, payment.id, frozenset(tried))
        )
        if decision.chosen is None:
            return None
        attempt = self._dispatch.prepare(
            tx, Target(payment), Operation.COLLECT, decision.chosen, payment.amount_minor
        )
        steps = [*(payment.route or {}).get("fail_over", []), decision.as_json()]
        moved = store.update_payment(
            tx,
            payment,
            self._db.clock.now(),
            status=PaymentStatus.PROCESSING,
            gateway_account=decision.chosen,
            attempt_id=attempt.id,
            next_check_at=attempt.next_check_at,
            route={**(payment.route or {}), "fail_over": steps},
        )
        if moved.status is not payment.status:
            announce(self._db, self._outbox, tx, moved, actor)
        data = {"from": sorted(tried), "to": decision.chosen}
        audit.record(self._db, tx, actor, "payment.failed_over", "payment", moved.id, data)
        probes.append(decision.probe)
        return attempt

    def _leave_behind(self, actor: Actor, applied: Applied) -> tuple[Attempt | None, Payment, str]:
        """Fail over after an *unknown* outcome, where that is provably harmless: creating moves no
        money at this gateway and the customer was never shown the means to pay.
        """
        attempt, payment = applied.attempt, applied.payment
        capabilities = self._dispatch.gateway(attempt.gateway_account).capabilities
        if not may_supersede(capabilities, attempt.state, attempt.exposed_at is not None):
            return None, payment, ""

        def supersede(tx: sa.Connection) -> tuple[Attempt | None, Payment, str]:
            fresh = store.payment(tx, payment.id, lock=True)
            seen = store.attempt(tx, attempt.id)
            if not may_supersede(capabilities, seen.state, seen.exposed_at is not None):
                return None, fresh, ""
            probes: list[str] = []
            with tx.begin_nested() as savepoint:
                store.update_attempt(
                    tx, seen, self._db.clock.now(), state=AttemptState.SUPERSEDED,
                    next_check_at=None, lease_until=None,
                )  # fmt: skip
                following = self._next_gateway(tx, actor, fresh, probes)
                if following is None:
                    savepoint.rollback()
                    return None, fresh, ""
            return following, store.payment(tx, payment.id), probes[-1]

        return self._db.run(supersede)

    def replayed(self, payment_id: UUID) -> tuple[PaymentResult, bool]:
        """The answer of the first submission as it is now, and whether that is still being worked
        on. Whoever held the request for longer than its lease does not send it any more.

        Raises:
            OutcomeOpen: ``database.lost_after_send``; it may have been sent by then.
        """
        with once_sent(payment_id):
            result = view(self._db, payment_id, replayed=True)
        now = self._db.clock.now()
        busy = any(
            a.state is AttemptState.SENDING
            and a.operation is Operation.COLLECT
            and (a.lease_until is None or a.lease_until > now)
            for a in result.attempts
        )
        return result, busy

    def _replay(self, payment_id: UUID) -> PaymentResult:
        """The answer of the first submission; waits while that is still being worked on."""
        deadline = self._db.clock.monotonic() + REPLAY_WAIT_S
        while True:
            result, busy = self.replayed(payment_id)
            if not busy or self._db.clock.monotonic() >= deadline:
                return result
            self._db.clock.sleep(REPLAY_STEP_S)
