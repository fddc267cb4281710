"""Taking the money of a payment that its customer has approved.

Some providers let the customer agree first and move money only when we ask for it. That second
request is ours to withhold: it is made only for a payment that still wants the money, under a lease
and a random key that are committed before its first byte. What is no longer wanted is let go, and
since nobody else asks for the money, that is a definite end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.gateways.base import Answer, Outcome
from payctl.payments import store
from payctl.payments.breaker import Breakers
from payctl.payments.dispatch import Dispatch, deadline_s
from payctl.payments.gateway_settings import GatewaySettings
from payctl.payments.model import AttemptState, Operation, PaymentStatus
from payctl.payments.outcomes import Applied, Outcomes
from payctl.payments.records import Attempt, Payment

#: States of an attempt whose customer may just have approved.
_WAITING = (AttemptState.PENDING, AttemptState.REQUIRES_ACTION, AttemptState.UNKNOWN)
#: States of a payment whose money may have moved already.
_UNSURE = (PaymentStatus.PROCESSING, PaymentStatus.UNKNOWN)
#: Answers after which it is as if the request had not been made.
_NO_EFFECT = (Outcome.NOT_SENT, Outcome.REJECTED)


@dataclass(frozen=True, slots=True)
class Approval:
    """A customer's yes as the provider told it."""

    attempt: Attempt
    #: a moment before the provider was asked
    asked_at: datetime
    source: str


class Completions:
    """Completes approved payments, or lets them go."""

    def __init__(
        self,
        db: Database,
        dispatch: Dispatch,
        outcomes: Outcomes,
        breakers: Breakers,
        settings: GatewaySettings,
    ) -> None:
        self._db = db
        self._dispatch = dispatch
        self._outcomes = outcomes
        self._breakers = breakers
        self._settings = settings

    def take(self, actor: Actor, approval: Approval) -> Applied | None:
        """Take the money, or end the payment that does not want it any more; ``None`` where neither
        may be done now. The answer counts like one to a question, so an open outcome is asked
        about, and the same key is repeated only where the provider answers it with one effect.
        """
        begun = self._db.run(lambda tx: self._begin(tx, actor, approval))
        if not isinstance(begun, tuple):
            return begun
        held, probe, first = begun
        enough = timedelta(seconds=deadline_s(held.operation))
        if held.lease_until is None or self._db.clock.now() + enough >= held.lease_until:
            # The process has overslept; its lease may be another's by now.
            self._breakers.release(None, held.gateway_account, "collect", probe)
            return None
        answer = self._dispatch.complete(held)

        def apply(tx: sa.Connection) -> Applied:
            applied = self._outcomes.apply(
                tx, held.id, answer, source=approval.source, call="complete", actor=actor,
                probe=probe,
            )  # fmt: skip
            if first and answer.outcome in _NO_EFFECT and applied.attempt.state.live:
                now = self._db.clock.now()
                again = store.update_attempt(tx, applied.attempt, now, completion_at=None)
                return replace(applied, attempt=again)
            return applied

        return self._db.run(apply)

    def _begin(
        self, tx: sa.Connection, actor: Actor, approval: Approval
    ) -> tuple[Attempt, str, bool] | Applied | None:
        """The attempt to send with its probe, and whether nothing was sent for it before."""
        payment = store.payment(tx, approval.attempt.payment_id, lock=True)
        attempt = store.attempt(tx, approval.attempt.id)
        current = payment.attempt_id == attempt.id and not payment.status.terminal
        if not current or attempt.state not in _WAITING:
            return None
        # Before that moment an earlier request of ours may still take the money.
        settled = attempt.completion_at is None or approval.asked_at >= attempt.quarantine_until
        if (why := self._unwanted(tx, payment)) is not None:
            return self._let_go(tx, actor, approval, why) if settled else None
        first = attempt.completion_at is None
        if self._held_up(tx, payment, first=first) or not (settled or self._repeatable(attempt)):
            return None
        account = attempt.gateway_account
        verdict = self._breakers.decide(tx, account, "collect")
        open_ = verdict.allow and self._settings.accepts(tx, account, "follow")
        leased = self._dispatch.lease(tx, attempt) if open_ else None
        if leased is None:
            self._breakers.release(tx, account, "collect", verdict.probe)
            return None
        return self._stored(tx, actor, leased), verdict.probe, first

    def _stored(self, tx: sa.Connection, actor: Actor, attempt: Attempt) -> Attempt:
        """The attempt with the key that is about to be sent."""
        now, account = self._db.clock.now(), attempt.gateway_account
        quarantine = self._dispatch.quarantine(account, attempt.operation, now)
        if attempt.completion_at is None:
            data = {"gateway": account, "amount_minor": attempt.amount_minor}
            kind = "payment.complete"
            audit.record(self._db, tx, actor, kind, "payment", attempt.payment_id, data)
        return store.update_attempt(
            tx, attempt, now, completion_at=attempt.completion_at or now,
            completion_key=attempt.completion_key or self._dispatch.new_key(account),
            quarantine_until=max(attempt.quarantine_until, quarantine),
        )  # fmt: skip

    def _repeatable(self, attempt: Attempt) -> bool:
        """Whether the provider still answers the stored key with the first effect."""
        window = self._dispatch.gateway(attempt.gateway_account).capabilities.resend_window_s
        if window is None or attempt.completion_at is None:
            return False
        until = attempt.completion_at + timedelta(seconds=window * 0.9)
        return self._db.clock.now() < until

    def _held_up(self, tx: sa.Connection, payment: Payment, *, first: bool) -> bool:
        """Whether to wait: the payment is being canceled, or another one of its order may just have
        been paid. What has been asked for before is asked for again all the same.
        """
        if store.live_attempt(tx, payment.id, Operation.VOID) is not None:
            return True
        return first and any(each.status in _UNSURE for each in self._others(tx, payment))

    def _unwanted(self, tx: sa.Connection, payment: Payment) -> str | None:
        """Why the money is not to be taken any more, or ``None``."""
        if payment.expires_at is not None and self._db.clock.now() >= payment.expires_at:
            return "payment_expired"
        others = self._others(tx, payment)
        paid = any(each.status is PaymentStatus.SUCCEEDED for each in others)
        return "order_paid" if paid else None

    def _others(self, tx: sa.Connection, payment: Payment) -> list[Payment]:
        if payment.order_ref is None:
            return []
        return [each for each in store.payments_of_order(tx, payment) if each.id != payment.id]

    def _let_go(self, tx: sa.Connection, actor: Actor, approval: Approval, why: str) -> Applied:
        ended = Outcome.EXPIRED if why == "payment_expired" else Outcome.CANCELED
        answer = Answer(ended, code=why, message="approved by the customer, not taken")
        return self._outcomes.apply(
            tx, approval.attempt.id, answer, source=approval.source, call="evidence", actor=actor
        )
