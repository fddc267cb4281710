"""The janitor: looks again at everything whose outcome is open, and listens to hints.

It asks, it never guesses. What it may send again is only the same key to a provider that promises
to answer it with the first effect (the fence). It is run by hand, by ``jobs/payment_sync.py``, and
for one object by a webhook.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from payctl.cases.service import Cases
from payctl.db.actor import Actor
from payctl.db.approvals import Approvals
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.gateways.base import Answer, Event, Outcome
from payctl.ledger.book import Book
from payctl.notifications.outbox import Outbox
from payctl.payments import payers, questions, store
from payctl.payments import tables as t
from payctl.payments.announcements import announce
from payctl.payments.breaker import Breakers
from payctl.payments.completions import Approval, Completions
from payctl.payments.dispatch import Dispatch
from payctl.payments.disputes import Disputes
from payctl.payments.meaning import meaning
from payctl.payments.model import (
    CANNOT_BE_ASKED,
    LEASE,
    AttemptState,
    Operation,
    PaymentStatus,
    RefundState,
)
from payctl.payments.outcomes import Applied, Outcomes
from payctl.payments.provider_requests import Target
from payctl.payments.records import Attempt
from payctl.payments.refunds import Refunds
from payctl.payments.removed_accounts import RemovedAccounts
from payctl.payments.strangers import Strangers
from payctl.payments.subjects import OPERATION_OF, attempt_of, target_of

#: Rows looked at in one run unless told otherwise.
DEFAULT_LIMIT = 500
#: How long an attempt waits when asking is not possible now (breaker of reads open).
ASK_LATER = timedelta(seconds=60)
_UNANSWERED = (Outcome.NOT_SENT, Outcome.UNKNOWN, Outcome.REJECTED)


@dataclass
class SyncReport:
    """What a run found: counts by result, and the payments that changed."""

    counts: Counter[str] = field(default_factory=Counter)
    changed: list[UUID] = field(default_factory=list)

    def add(self, result: str, payment_id: UUID | None = None) -> None:
        self.counts[result] += 1
        if payment_id is not None:
            self.changed.append(payment_id)


class Sync:
    """Resolves open outcomes."""

    def __init__(
        self,
        db: Database,
        book: Book,
        dispatch: Dispatch,
        outcomes: Outcomes,
        refunds: Refunds,
        approvals: Approvals,
        breakers: Breakers,
        cases: Cases,
        outbox: Outbox,
        disputes: Disputes,
        completions: Completions,
    ) -> None:
        self._db = db
        self._dispatch = dispatch
        self._outcomes = outcomes
        self._refunds = refunds
        self._approvals = approvals
        self._breakers = breakers
        self._outbox = outbox
        self._disputes = disputes
        self._completions = completions
        self._strangers = Strangers(db, book, cases)
        self._removed = RemovedAccounts(db, dispatch, cases)

    def run(
        self,
        actor: Actor,
        *,
        limit: int = DEFAULT_LIMIT,
        tick: Callable[[], None] | None = None,
    ) -> SyncReport:
        """Look at everything that is due now, oldest first. Several runs share the work: an attempt
        is looked at by whoever gets its lease. ``tick`` is called after each object. What is open
        on an account that is no longer configured waits, is counted as ``not_configured`` and has a
        case; it keeps nothing else from being looked at.
        """
        require(actor, "payment.sync")
        self._removed.close_cases(actor)
        report, now = SyncReport(), self._db.clock.now()
        with self._db.transaction() as tx:
            due = store.due_attempts(tx, now, limit)
        for attempt_id in due:
            self._one(actor, attempt_id, report)
            if tick:
                tick()
        self._interrupted(actor, now, limit, report)
        self._refund_queue(actor, now, limit, report)
        return report

    def payment(self, actor: Actor, payment_id: UUID) -> SyncReport:
        """Look at one payment now, whether it is due or not; refunds of it too."""
        require(actor, "payment.sync")
        report = SyncReport()
        with self._db.read() as tx:
            store.payment(tx, payment_id)
            found = store.attempts(tx, payment_id)
        for attempt in found:
            asks = attempt.state.live or (
                attempt.operation not in (Operation.CAPTURE, Operation.VOID)
                and attempt.state is not AttemptState.NOT_SENT
            )
            if asks:
                self._one(actor, attempt.id, report, forced=True)
        return report

    def since(self, actor: Actor, start: datetime) -> SyncReport:
        """Compare with what the providers list from *start* on: finds what we do not know (a
        database restored from a backup, a reply and all webhooks lost) and books it to suspense
        with a case. Refunds that have ended are asked about once more. An account that took
        payments since *start* and is no longer configured is counted as ``not_configured``.
        """
        require(actor, "payment.sync")
        report, until = SyncReport(), self._db.clock.now() + timedelta(seconds=1)
        with self._db.read() as tx:
            used = store.accounts_since(tx, start)
        for account in used:
            if self._removed.meets(actor, account):
                report.add("not_configured")
        for account in self._dispatch.accounts():
            gateway = self._dispatch.gateway(account)
            if not gateway.capabilities.lists_payments:
                report.add("not_listable")
                continue
            for answer in gateway.list_payments(start, until):
                if answer.provider_reference is None and answer.our_reference is None:
                    report.add("list_cut")
                    break
                self._listed(actor, account, answer, report)
        self._refunds_again(actor, start, report)
        return report

    def _refunds_again(self, actor: Actor, start: datetime, report: SyncReport) -> None:
        """No provider lists refunds, so each is asked about once more: one that succeeded may have
        failed since, one that was not found may have been paid late, and the webhook may be lost.
        """
        ended = (AttemptState.SUCCEEDED, AttemptState.NOT_FOUND)
        with self._db.read() as tx:
            found = store.refund_attempts(tx, start, ended)
        for attempt_id, account in found:
            asked = self._dispatch.configured(account)
            can = self._dispatch.gateway(account).capabilities if asked else None
            if can is not None and (can.query_refunds or can.payouts):
                self._one(actor, attempt_id, report, forced=True)

    def apply_event(
        self, actor: Actor, account: str, event: Event, token_hash: bytes | None = None
    ) -> str:
        """A webhook is a hint: fetch the object it names and apply what the provider says now. One
        that proves itself by a token (*token_hash*) is about the attempt the token was given for.

        Returns:
            ``applied``, ``nothing_new``, ``orphan`` (no attempt of ours) or ``unreachable``.
        """
        if event.object_kind == "dispute" and event.reference.provider_reference:
            return self._disputes.ask(actor, account, event.reference.provider_reference)
        if event.object_kind not in OPERATION_OF:
            return "nothing_new"
        with self._db.read() as tx:
            attempt = attempt_of(tx, account, event, token_hash)
        if attempt is None:
            return self._orphan_event(actor, account, event)
        results = [self._ask(actor, attempt, "webhook")]
        if attempt.operation is Operation.COLLECT:
            for follower in self._followers(attempt):
                results.append(self._ask(actor, follower, "webhook"))
            if payers.remember(self._db, actor, attempt.id, event):
                results.append("applied")
        return next((word for word in ("unreachable", "applied") if word in results), "nothing_new")

    # -- one attempt ----------------------------------------------------------------------------

    def _one(
        self, actor: Actor, attempt_id: UUID, report: SyncReport, *, forced: bool = False
    ) -> None:
        now = self._db.clock.now()
        until = now + LEASE
        owner = self._dispatch.owner
        attempt = self._db.run(lambda tx: store.claim_attempt(tx, attempt_id, owner, now, until))
        if attempt is None and forced:
            with self._db.read() as tx:
                found = store.attempt(tx, attempt_id)
            attempt = None if found.state.live else found
        if attempt is None:
            report.add("held_by_another")
            return
        removed = self._removed.meets(actor, attempt.gateway_account)
        word = self._ask(actor, attempt, "sync")
        changed = attempt.payment_id if word == "applied" else None
        report.add("not_configured" if removed else word, changed)

    def _ask(self, actor: Actor, attempt: Attempt, source: str) -> str:
        verdict = self._breakers.decide(None, attempt.gateway_account, "read")
        if not verdict.allow:
            self._later(attempt, verdict.next_probe_at)
            return "unreachable"
        target, asked_at = self._target(attempt), self._db.clock.now()
        account = attempt.gateway_account
        known = self._dispatch.configured(account)
        gateway = self._dispatch.gateway(account) if known else None
        call, answer = questions.ask(gateway, attempt, target)
        meant = meaning(attempt.operation, answer, target.capture, about=True)
        absent = meant.outcome is Outcome.NOT_FOUND and attempt.state.live
        now = self._db.clock.now()
        if (
            absent
            and gateway is not None
            and questions.may_resend(gateway, attempt, target.payment, now)
        ):
            call, answer = "resend", self._dispatch.resend(attempt, target)
        applied: Applied = self._db.run(
            lambda tx: self._outcomes.apply(
                tx, attempt.id, answer, source=source, call=call, actor=actor, probe=verdict.probe
            )
        )
        changed = applied.changed
        if answer.outcome is Outcome.APPROVED and attempt.operation is Operation.COLLECT:
            approval = Approval(applied.attempt, asked_at, source)
            taken = self._completions.take(actor, approval)
            changed = changed or (taken is not None and taken.changed)
        if changed:
            return "applied"
        # Where nobody can be asked, waiting for an answer would never end; a case is open.
        mute = answer.code == CANNOT_BE_ASKED
        return "unreachable" if answer.outcome in _UNANSWERED and not mute else "nothing_new"

    def _target(self, attempt: Attempt) -> Target:
        with self._db.read() as tx:
            return target_of(tx, attempt)

    def _followers(self, attempt: Attempt) -> list[Attempt]:
        """Open captures and cancellations, which a question about the payment answers too."""
        with self._db.read() as tx:
            found = store.attempts(tx, attempt.payment_id)
        wanted = (Operation.CAPTURE, Operation.VOID)
        return [each for each in found if each.state.live and each.operation in wanted]

    def _later(self, attempt: Attempt, probe_at: datetime | None) -> None:
        """Asking is no use now; look again when the gateway is probed. Nothing is counted."""

        def move(tx: sa.Connection) -> None:
            store.payment(tx, attempt.payment_id, lock=True)
            fresh, now = store.attempt(tx, attempt.id), self._db.clock.now()
            if fresh.state.live:
                due = max(probe_at or now, now + ASK_LATER)
                store.update_attempt(
                    tx, fresh, now, next_check_at=due, lease_owner=None, lease_until=None
                )

        self._db.run(move)

    # -- what has no live attempt ---------------------------------------------------------------

    def _interrupted(self, actor: Actor, now: datetime, limit: int, report: SyncReport) -> None:
        """Payments that were begun and never sent: no attempt is live, so paying again is safe."""
        with self._db.read() as tx:
            due = store.due_payments(tx, now, limit)
        for payment_id in due:
            self._db.run(lambda tx, each=payment_id: self._end(tx, actor, each))  # type: ignore[misc]
            report.add("interrupted", payment_id)

    def _end(self, tx: sa.Connection, actor: Actor, payment_id: UUID) -> None:
        payment = store.payment(tx, payment_id, lock=True)
        live = [a for a in store.attempts(tx, payment_id) if a.state.live]
        if payment.status.terminal or live:
            return
        ended = store.update_payment(
            tx, payment, self._db.clock.now(), status=PaymentStatus.FAILED,
            failure_code="interrupted", next_check_at=None,
        )  # fmt: skip
        announce(self._db, self._outbox, tx, ended, actor)

    def _refund_queue(self, actor: Actor, now: datetime, limit: int, report: SyncReport) -> None:
        """Send refunds that may go; free the amounts of those nobody approved in time."""
        r = t.refund.c
        with self._db.read() as tx:
            ready = tx.execute(
                sa.select(r.id, r.gateway_account)
                .where(r.state == RefundState.APPROVED, r.next_check_at <= now)
                .order_by(r.next_check_at)
                .limit(limit)
            ).all()
            waiting = tx.execute(
                sa.select(r.id, r.gateway_account, r.approval_id)
                .where(r.state == RefundState.AWAITING_APPROVAL)
                .limit(limit)
            ).all()
        for refund_id, account in ready:
            self._send_refund(actor, refund_id, account, report)
        for refund_id, account, approval_id in waiting:
            decided = self._approvals.get(approval_id).state
            if decided in ("rejected", "expired"):
                result = self._refunds.rejected(actor, refund_id, decided)
                report.add("refund_released", result.refund.payment_id)
            elif decided == "approved":
                self._send_refund(actor, refund_id, account, report)

    def _send_refund(self, actor: Actor, refund_id: UUID, account: str, report: SyncReport) -> None:
        removed = self._removed.meets(actor, account)
        refund = self._refunds.send(actor, refund_id).refund
        if refund.state is RefundState.APPROVED:
            report.add("not_configured" if removed else "refund_waiting")
        else:
            report.add("refund_sent", refund.payment_id)

    # -- strangers ------------------------------------------------------------------------------

    def _listed(self, actor: Actor, account: str, answer: Answer, report: SyncReport) -> None:
        with self._db.read() as tx:
            attempt = store.attempt_by_reference(
                tx, account, (Operation.COLLECT,), answer.our_reference, answer.provider_reference
            )
        if attempt is None:
            taken = self._strangers.receive(actor, account, answer)
            report.add("orphan" if taken else "foreign_unpaid")
            return
        applied: Applied = self._db.run(
            lambda tx: self._outcomes.apply(
                tx, attempt.id, answer, source="list", call="query", actor=actor
            )
        )
        report.add(
            "applied" if applied.changed else "nothing_new",
            attempt.payment_id if applied.changed else None,
        )

    def _orphan_event(self, actor: Actor, account: str, event: Event) -> str:
        gateway = self._dispatch.gateway(account)
        can_ask = event.object_kind == "payment" and gateway.capabilities.query_by
        if not can_ask or event.proof == "token":
            return "orphan"
        answer = gateway.query_payment(event.reference)
        if answer.outcome in _UNANSWERED:
            return "unreachable"
        taken = self._strangers.receive(actor, account, answer, event.reference)
        return "applied" if taken else "orphan"
