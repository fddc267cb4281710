"""The one door every fact about an attempt comes through (the third commit, T3).

A provider's answer to our own request, a webhook, the janitor's question and an operator's evidence
all end in :meth:`Outcomes.apply`: one transaction that moves attempt and payment, posts the
entries, appends notification and audit record and counts for the breaker. Repeating it changes
nothing: the states are compared first and every posting key names the fact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.cases.service import Cases
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.gateways.base import Answer, Gateway, Outcome, RejectKind
from payctl.ids import encode
from payctl.ledger.model import Posted
from payctl.notifications.outbox import Outbox
from payctl.payments import model, store
from payctl.payments.announcements import announce
from payctl.payments.attempt_rows import attempt_columns, call_row, learned
from payctl.payments.breaker import Breakers
from payctl.payments.meaning import meaning
from payctl.payments.model import (
    CLASS_OF,
    QUESTIONS,
    RECEIVED,
    STATUS_OF,
    AttemptState,
    Operation,
    PaymentStatus,
    Step,
)
from payctl.payments.receipts import Receipts
from payctl.payments.records import Attempt, Payment
from payctl.payments.refund_outcomes import RefundOutcomes
from payctl.payments.work import Work

#: Called in the same commit when an attempt ended without money and another gateway may be tried;
#: inserts the next attempt and returns it, or ``None``.
FailOver = Callable[[sa.Connection, Payment, Attempt, Answer], "Attempt | None"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What one answer changed."""

    payment: Payment
    attempt: Attempt
    changed: bool
    journals: tuple[Posted, ...] = ()
    next_attempt: Attempt | None = None


class Outcomes:
    """Applies answers to attempts of every operation."""

    def __init__(
        self,
        db: Database,
        gateways: Mapping[str, Gateway],
        receipts: Receipts,
        refunds: RefundOutcomes,
        cases: Cases,
        outbox: Outbox,
        breakers: Breakers,
        random: Random | None = None,
    ) -> None:
        self._db = db
        self._gateways = gateways
        self._receipts = receipts
        self._refunds = refunds
        self._cases = cases
        self._outbox = outbox
        self._breakers = breakers
        self._random = random or Random()  # noqa: S311 - jitter

    def apply(
        self,
        tx: sa.Connection,
        attempt_id: UUID,
        answer: Answer,
        *,
        source: str,
        call: str,
        actor: Actor,
        fail_over: FailOver | None = None,
        probe: str = "",
    ) -> Applied:
        """Record one answer. ``call`` is the verb that was used; ``source`` who used it.

        Answers to questions (``QUESTIONS``) follow other rules than answers to requests: a question
        that was not answered proves nothing.
        """
        found = store.attempt(tx, attempt_id)
        payment = store.payment(tx, found.payment_id, lock=True)
        attempt = store.attempt(tx, attempt_id)
        now = self._db.clock.now()
        about = call in QUESTIONS
        asked = about or call in ("resend", "complete")
        if told := learned(attempt, answer):
            attempt = store.update_attempt(tx, attempt, now, **told)
            store.keep_tokens(tx, attempt)
        work = Work(tx, payment, attempt, answer, actor)
        if call != "evidence" and answer.code != model.CANNOT_BE_ASKED:
            self._record(tx, attempt, answer, source=source, call=call, probe=probe)
        if asked and self._refunds.came_back(attempt, answer):
            self._refunds.returned(work)
            return _applied(work)
        if asked and attempt.state in RECEIVED:
            if attempt.operation is Operation.COLLECT:
                self._receipts.fee(work)
            elif attempt.operation is Operation.PAYOUT:
                self._refunds.fee(work)
        work.answer = meant = self._meaning(tx, payment, attempt, answer, about)
        decide = model.after_query if asked or call == "evidence" else model.after_call
        decide = model.after_completion if call == "complete" else decide
        step = decide(attempt.seen(payment.manual_capture), meant, now, self._random.uniform(-1, 1))
        if step.open_case:
            self._open_case(work, step.open_case)
        self._config_case(work)
        if not step.changed:
            return self._keep_waiting(work, step)
        columns = attempt_columns(attempt, meant, step, self._own_reference(work), now)
        work.attempt = store.update_attempt(tx, attempt, now, **columns)
        if not work.attempt.state.live:
            self._settled(work, asked)
        if attempt.operation.gives_back:
            self._refunds.apply(work)
            return _applied(work)
        handler = {
            Operation.COLLECT: self._collect,
            Operation.CAPTURE: self._capture,
            Operation.VOID: self._void,
        }[attempt.operation]
        following = handler(work, fail_over)
        return replace(_applied(work), next_attempt=following)

    # -- collect --------------------------------------------------------------------------------

    def _collect(self, work: Work, fail_over: FailOver | None) -> Attempt | None:
        state = work.attempt.state
        if state in RECEIVED:
            if self._receipts.receive(work):
                self._announce(work)
            return None
        left_behind = work.payment.attempt_id not in (None, work.attempt.id)
        if work.payment.status.terminal or left_behind:
            return None
        if state.live:
            self._set_status(work, STATUS_OF[state], **self._authorized(work))
            return None
        if fail_over is not None and model.may_fail_over(work.answer):
            following = fail_over(work.tx, work.payment, work.attempt, work.answer)
            if following is not None:
                work.payment = store.payment(work.tx, work.payment.id)
                return following
        self._set_status(work, STATUS_OF[state], failure_code=work.answer.code or str(state))
        return None

    def _authorized(self, work: Work) -> dict[str, Any]:
        if work.attempt.state is not AttemptState.AUTHORIZED:
            return {}
        amount = work.answer.amount_minor or work.attempt.amount_minor
        return {"authorized_minor": min(amount, work.payment.amount_minor)}

    # -- capture and void -----------------------------------------------------------------------

    def _capture(self, work: Work, _fail_over: FailOver | None) -> Attempt | None:
        attempt, now = work.attempt, self._db.clock.now()
        if attempt.state.live or attempt.capture_id is None:
            self._mirror_due(work)
            return None
        done = attempt.state in RECEIVED
        store.set_capture_state(work.tx, attempt.capture_id, "succeeded" if done else "failed", now)
        if not done:
            self._mirror_due(work)
            return None
        part = next(
            each
            for each in store.captures(work.tx, work.payment.id)
            if each.id == attempt.capture_id
        )
        if self._receipts.capture_part(work, part):
            self._announce(work)
        return None

    def _void(self, work: Work, _fail_over: FailOver | None) -> Attempt | None:
        if work.attempt.state not in RECEIVED:
            self._mirror_due(work)
            return None
        held = store.live_attempt(work.tx, work.payment.id, Operation.COLLECT)
        now = self._db.clock.now()
        if held is not None:
            store.update_attempt(
                work.tx, held, now, state=AttemptState.VOIDED, next_check_at=None, lease_until=None
            )
        if not work.payment.status.terminal:
            part_taken = work.payment.captured_minor > 0
            self._set_status(
                work, PaymentStatus.SUCCEEDED if part_taken else PaymentStatus.CANCELED
            )
        return None

    # -- shared ---------------------------------------------------------------------------------

    def _own_reference(self, work: Work) -> str | None:
        """The provider's id of the object, unless it already belongs to another attempt of ours."""
        new, attempt = work.answer.provider_reference, work.attempt
        if new is None or new == attempt.provider_reference:
            return attempt.provider_reference
        if attempt.operation in (Operation.CAPTURE, Operation.VOID):
            return new
        other = store.attempt_by_reference(
            work.tx, attempt.gateway_account, (attempt.operation,), None, new
        )
        if other is None or other.id == attempt.id:
            return new
        self._open_case(work, "reference_conflict", provider_reference=new)
        return attempt.provider_reference

    def _keep_waiting(self, work: Work, step: Step) -> Applied:
        now, attempt = self._db.clock.now(), work.attempt
        if attempt.state.live:
            work.attempt = store.update_attempt(
                work.tx, attempt, now, next_check_at=step.next_check_at, checks=step.checks,
                not_found=step.not_found, lease_owner=None, lease_until=None,
            )  # fmt: skip
            if attempt.operation.gives_back:
                self._refunds.mirror_due(work)
            else:
                self._mirror_due(work)
        return _applied(work, changed=False)

    def _mirror_due(self, work: Work) -> None:
        """A payment is due when the first of its live attempts is."""
        if work.payment.status.terminal:
            return
        due = [
            each.next_check_at
            for each in store.attempts(work.tx, work.payment.id)
            if each.state.live and not each.operation.gives_back and each.next_check_at
        ]
        when = min(due) if due else self._db.clock.now()
        work.payment = store.update_payment(
            work.tx, work.payment, self._db.clock.now(), next_check_at=when
        )

    def _set_status(self, work: Work, status: PaymentStatus, **values: Any) -> None:
        due = None if status.terminal else work.attempt.next_check_at
        changed = status is not work.payment.status
        work.payment = store.update_payment(
            work.tx,
            work.payment,
            self._db.clock.now(),
            status=status,
            gateway_account=work.attempt.gateway_account,
            attempt_id=work.attempt.id if work.attempt.operation is Operation.COLLECT
            else work.payment.attempt_id,
            next_check_at=due,
            **values,
        )  # fmt: skip
        if changed:
            self._announce(work)

    def _announce(self, work: Work) -> None:
        announce(self._db, self._outbox, work.tx, work.payment, work.actor)

    def _open_case(self, work: Work, kind: str, **detail: Any) -> None:
        attempt = work.attempt
        self._cases.open(
            work.tx,
            kind=kind,
            subject_kind="payment",
            subject_id=work.payment.id,
            gateway=attempt.gateway_account,
            amount_minor=attempt.amount_minor,
            currency=attempt.currency,
            detail={
                "attempt": encode("attempt", attempt.id),
                "operation": attempt.operation,
                **detail,
            },
            dedupe_key=f"{kind}:{attempt.id}",
            actor=work.actor,
        )
        if kind in ("unknown_outcome", "late_authorization"):
            work.payment = store.update_payment(
                work.tx, work.payment, self._db.clock.now(), needs_review=True
            )

    def _settled(self, work: Work, asked: bool) -> None:
        """The outcome is known: a case about its being unknown has answered itself."""
        attempt = work.attempt
        if asked and attempt.operation is Operation.COLLECT:
            won = attempt.state in RECEIVED
            self._breakers.record_end(work.tx, attempt.gateway_account, "collect", won=won)
        self._cases.close(
            work.tx,
            f"unknown_outcome:{attempt.id}",
            resolution=str(attempt.state),
            evidence=attempt.provider_reference or attempt.our_reference,
            actor=work.actor,
        )

    def _config_case(self, work: Work) -> None:
        answer, account = work.answer, work.attempt.gateway_account
        if answer.outcome is Outcome.REJECTED and answer.reject is RejectKind.AUTH:
            self._cases.open(
                work.tx,
                kind="config_error",
                subject_kind="gateway",
                subject_id=None,
                gateway=account,
                detail={"code": answer.code, "message": answer.message},
                dedupe_key=f"config_error:{account}",
                actor=work.actor,
            )

    def _meaning(
        self, tx: sa.Connection, payment: Payment, attempt: Attempt, answer: Answer, about: bool
    ) -> Answer:
        part = None
        if attempt.operation is Operation.CAPTURE:
            part = next(c for c in store.captures(tx, payment.id) if c.id == attempt.capture_id)
        gateway = self._gateways.get(attempt.gateway_account)
        reports = gateway is None or gateway.capabilities.status_reports_amount
        return meaning(attempt.operation, answer, part, about=about, reports_amount=reports)

    def _record(
        self,
        tx: sa.Connection,
        attempt: Attempt,
        answer: Answer,
        *,
        source: str,
        call: str,
        probe: str,
    ) -> None:
        now = self._db.clock.now()
        row = call_row(self._db.ids.new(now), now, attempt.id, answer, source, call)
        account, sale = attempt.gateway_account, call == "create"
        store.record_call(tx, account, row)
        op_class = "read" if call in QUESTIONS else CLASS_OF[attempt.operation]
        self._breakers.record(tx, account, op_class, answer, probe=probe, sale=sale)


def _applied(work: Work, *, changed: bool = True) -> Applied:
    return Applied(work.payment, work.attempt, changed, tuple(work.journals))
