"""Sending: the second commit (T2), the call itself, and its retries.

The attempt row is committed before the first byte leaves. No transaction is open while a provider
is called. Only a call that provably did not leave is repeated, with the same key, at most three
times within one deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.errors import Conflict, NotConfigured, OutcomeOpen, Unavailable
from payctl.gateways.base import (
    Answer,
    Gateway,
    Outcome,
)
from payctl.ids import encode
from payctl.payments import store
from payctl.payments.breaker import Breakers
from payctl.payments.model import (
    CLASS_OF,
    DEADLINE_S,
    LEASE,
    PAYOUT_DEADLINE_S,
    PAYOUT_HORIZON_S,
    AttemptState,
    Operation,
)
from payctl.payments.outcomes import Applied, FailOver, Outcomes
from payctl.payments.provider_requests import (
    Target,
    capture_request,
    collected_reference,
    payment_request,
    payout_request,
    refund_request,
    request_hash,
)
from payctl.payments.records import Attempt
from payctl.payments.retry import LEAST_S, TRIES, Retries, backoff

#: The word for each operation's request in the record of calls.
CALLS = {
    Operation.COLLECT: "create",
    Operation.CAPTURE: "capture",
    Operation.VOID: "cancel",
    Operation.REFUND: "refund",
    Operation.PAYOUT: "payout",
}


class Dispatch:
    """Makes attempts and sends them.

    Args:
        owner: names this process in leases.
    """

    def __init__(
        self,
        db: Database,
        gateways: Mapping[str, Gateway],
        outcomes: Outcomes,
        breakers: Breakers,
        retries: Retries,
        random: Random | None = None,
    ) -> None:
        self._db = db
        self._gateways = gateways
        self._outcomes = outcomes
        self._breakers = breakers
        self._retries = retries
        self._random = random or Random()  # noqa: S311 - jitter
        self.owner = db.ids.token(8)

    def gateway(self, account: str) -> Gateway:
        """The configured gateway of *account*.

        Raises:
            NotConfigured: ``gateway.not_configured``.
        """
        try:
            return self._gateways[account]
        except KeyError:
            raise NotConfigured("gateway.not_configured", gateway=account) from None

    def configured(self, account: str) -> bool:
        """Whether *account* is in the configuration of this process."""
        return account in self._gateways

    def accounts(self) -> list[str]:
        """Names of all configured accounts, in order."""
        return sorted(self._gateways)

    def prepare(
        self,
        tx: sa.Connection,
        target: Target,
        operation: Operation,
        account: str,
        amount_minor: int,
    ) -> Attempt:
        """Insert an attempt in state ``sending`` (T2) beside what *target* has already.

        Raises:
            Conflict: ``attempt.live_exists`` when the database sees another live attempt of the
            same
                subject: whatever the reason, sending now could move money twice.
        """
        refund, part = target.refund, target.capture
        subject = refund.id if refund is not None else target.payment.id
        now = self._db.clock.now()
        drafted = self.draft(
            self._db.ids.new(now), now, target.payment.id, operation, account, amount_minor,
            refund.currency if refund is not None else target.payment.currency,
            refund_id=refund.id if refund is not None else None,
            capture_id=part.id if part is not None else None,
            no=store.next_attempt_no(tx, subject, operation),
        )  # fmt: skip
        try:
            with tx.begin_nested():
                store.insert_attempt(tx, drafted)
                return drafted
        except sa.exc.IntegrityError as error:
            if store.live_attempt(tx, subject, operation) is None:
                raise
            raise Conflict(
                "attempt.live_exists", id=encode("payment", target.payment.id), operation=operation
            ) from error

    def draft(
        self,
        attempt_id: UUID,
        now: datetime,
        payment_id: UUID,
        operation: Operation,
        account: str,
        amount_minor: int,
        currency: str,
        *,
        refund_id: UUID | None = None,
        capture_id: UUID | None = None,
        no: int = 1,
    ) -> Attempt:
        """An attempt in state ``sending`` as it will be written: key and reference in the adapter's
        format, random and stored, never derived; lease and due time set.
        """
        form = self.gateway(account).capabilities.reference_format
        subject_id = refund_id or payment_id
        reference = self._new_reference(form, attempt_id)
        key = self._new_reference(form, self._db.ids.new(now))
        return Attempt(
            id=attempt_id,
            payment_id=payment_id,
            operation=operation,
            subject_id=subject_id,
            refund_id=refund_id,
            capture_id=capture_id,
            no=no,
            gateway_account=account,
            our_reference=reference,
            idempotency_key=key,
            request_hash=request_hash(
                operation, subject_id, account, reference, key, amount_minor, currency
            ),
            amount_minor=amount_minor,
            currency=currency,
            state=AttemptState.SENDING,
            lease_owner=self.owner,
            lease_until=now + LEASE,
            next_check_at=now + LEASE,
            quarantine_until=self.quarantine(account, operation, now),
            created_at=now,
            updated_at=now,
        )

    def send(
        self,
        attempt: Attempt,
        target: Target,
        *,
        actor: Actor,
        probe: str = "",
    ) -> tuple[Applied, Answer]:
        """Call the provider for an attempt prepared just before, and apply its answer (T3).

        Raises:
            Conflict: ``attempt.lease_lost``; nothing was sent.
            OutcomeOpen: ``database.lost_after_send``; the janitor finds out what happened.
        """
        answer = self.call(attempt, target)
        with once_sent(target.payment.id):
            applied = self.apply(attempt, answer, CALLS[attempt.operation], actor, probe=probe)
        return applied, answer

    def call(self, attempt: Attempt, target: Target) -> Answer:
        """Call the provider for an attempt that was written just before.

        Raises:
            Conflict: ``attempt.lease_lost``; nothing was sent.
        """
        held = self._still_ours(attempt)
        if held is None:
            raise Conflict("attempt.lease_lost", id=encode("attempt", attempt.id))
        return self._call(held, target)

    def apply(
        self,
        attempt: Attempt,
        answer: Answer,
        call: str,
        actor: Actor,
        *,
        fail_over: FailOver | None = None,
        probe: str = "",
    ) -> Applied:
        """Apply the answer to a request about an attempt (T3)."""
        return self._db.run(
            lambda tx: self._outcomes.apply(
                tx, attempt.id, answer, source="process", call=call, actor=actor,
                fail_over=fail_over, probe=probe,
            )
        )  # fmt: skip

    def new_key(self, account: str) -> str:
        """A fresh random key in the format the adapter declares."""
        form = self.gateway(account).capabilities.reference_format
        return self._new_reference(form, self._db.ids.new())

    def lease(self, tx: sa.Connection, attempt: Attempt) -> Attempt | None:
        """Take an open attempt for this process; ``None`` while another one looks at it."""
        now = self._db.clock.now()
        return store.claim_attempt(tx, attempt.id, self.owner, now, now + LEASE)

    def rehearse(self, tx: sa.Connection, attempt: Attempt, actor: Actor) -> Applied:
        """What the provider's success would do to a prepared attempt, without calling anybody; for
        transactions that are rolled back.
        """
        answer = Answer(
            Outcome.SUCCEEDED, amount_minor=attempt.amount_minor, currency=attempt.currency
        )
        return self._outcomes.apply(
            tx, attempt.id, answer, source="rehearsal", call=CALLS[attempt.operation], actor=actor
        )

    def resend(self, attempt: Attempt, target: Target) -> Answer:
        """The same request once more, with the same key; see :meth:`may_resend`. It may have a late
        effect like the first, so the quarantine is prolonged before it is sent.
        """
        until = self.quarantine(attempt.gateway_account, attempt.operation, self._db.clock.now())
        self._db.run(lambda tx: store.prolong_quarantine(tx, attempt.id, until))
        return self._exchange(attempt, target, deadline_s(attempt.operation))

    def complete(self, attempt: Attempt) -> Answer:
        """Ask the provider to take what the customer approved; key and lease are stored."""
        if attempt.completion_key is None:
            raise AssertionError("the key is stored before it is sent")
        gateway, key = self.gateway(attempt.gateway_account), attempt.completion_key
        reference = attempt.reference()
        return self._tries(
            attempt, lambda left: gateway.complete_payment(replace(reference, deadline_s=left), key)
        )

    # -- the call -------------------------------------------------------------------------------

    def _call(self, attempt: Attempt, target: Target) -> Answer:
        return self._tries(attempt, lambda left: self._exchange(attempt, target, left))

    def _tries(self, attempt: Attempt, exchange: Callable[[float], Answer]) -> Answer:
        deadline = self._db.clock.monotonic() + deadline_s(attempt.operation)
        for number in range(1, TRIES + 1):
            answer = exchange(max(deadline - self._db.clock.monotonic(), 0.1))
            if answer.outcome is not Outcome.NOT_SENT or number == TRIES:
                return answer
            pause = backoff(number, self._random)
            # A try with little time left would make "not sent" into "unknown" at a slow provider.
            if self._db.clock.monotonic() + pause > deadline - LEAST_S:
                return answer
            if not self._retries.allowed(attempt.gateway_account, CLASS_OF[attempt.operation]):
                return answer
            self._db.clock.sleep(pause)
            if self._db.clock.monotonic() > deadline - LEAST_S:
                return answer  # the process has overslept
        raise AssertionError("unreachable")

    def quarantine(self, account: str, operation: Operation, now: datetime) -> datetime:
        """Until when "not found" about a request that may go out from *now* on proves nothing: the
        provider's horizon begins when the last byte can have left, which is the lease's end.
        """
        horizon_s = self.gateway(account).capabilities.late_horizon_s
        if operation is Operation.PAYOUT:
            horizon_s = max(horizon_s, PAYOUT_HORIZON_S)
        return now + LEASE + timedelta(seconds=horizon_s)

    def _exchange(self, attempt: Attempt, target: Target, left: float) -> Answer:
        """One exchange, within *left* seconds."""
        gateway = self.gateway(attempt.gateway_account)
        call: Callable[[], Answer] = {
            Operation.COLLECT: lambda: gateway.create_payment(
                payment_request(attempt, target, left)
            ),
            Operation.CAPTURE: lambda: gateway.capture_payment(
                capture_request(attempt, target, left)
            ),
            Operation.VOID: lambda: gateway.cancel_payment(
                collected_reference(target, left), attempt.idempotency_key
            ),
            Operation.REFUND: lambda: gateway.refund_payment(refund_request(attempt, target, left)),
            Operation.PAYOUT: lambda: gateway.create_payout(payout_request(attempt, target, left)),
        }[attempt.operation]
        return call()

    def _still_ours(self, attempt: Attempt) -> Attempt | None:
        """Before the first byte: a process that slept past its lease must not send any more. The
        lease lasts longer than the deadline, so a holder who finds enough of it left may go on.
        """
        now = self._db.clock.now()
        enough = timedelta(seconds=deadline_s(attempt.operation))
        if attempt.lease_until is not None and now + enough < attempt.lease_until:
            return attempt
        quarantine = self.quarantine(attempt.gateway_account, attempt.operation, now)

        def again(tx: sa.Connection) -> Attempt | None:
            held = store.claim_attempt(
                tx, attempt.id, self.owner, now, now + LEASE, sending_only=True
            )
            if held is not None:
                store.prolong_quarantine(tx, attempt.id, quarantine)
            return held

        return self._db.run(again)

    def _new_reference(self, form: str, fresh: UUID) -> str:
        if form == "uuid4":
            return str(UUID(int=int(self._db.ids.token(16), 16), version=4))
        if form == "plain30":
            return self._db.ids.token(15)
        return encode("attempt", fresh)


def deadline_s(operation: Operation) -> float:
    """How long a request of this operation may take in all."""
    return PAYOUT_DEADLINE_S if operation is Operation.PAYOUT else DEADLINE_S


class once_sent:
    """Around everything after a call: a database that is lost then must not be reported as "nothing
    was sent".

    Raises:
        OutcomeOpen: ``database.lost_after_send``.
    """

    __slots__ = ("_payment_id",)

    def __init__(self, payment_id: UUID) -> None:
        self._payment_id = payment_id

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, Unavailable):
            raise OutcomeOpen(
                "database.lost_after_send", id=encode("payment", self._payment_id), cause=error.code
            ) from error
