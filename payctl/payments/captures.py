"""Captures, confirmations and cancellations of payments that are open, not yet taken.

Each is an attempt of its own with key, lease and unknown state, one at a time per payment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable
from uuid import UUID

import sqlalchemy as sa

from payctl.db import audit, idempotency
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.errors import Conflict, Refused
from payctl.gateways.base import Answer
from payctl.ids import encode
from payctl.money import check_amount_minor, format_money
from payctl.payments import store
from payctl.payments.dispatch import Dispatch, once_sent
from payctl.payments.gateway_settings import GatewaySettings
from payctl.payments.model import DEADLINE_S, AttemptState, Operation, PaymentStatus
from payctl.payments.provider_requests import Target
from payctl.payments.records import Attempt, Payment
from payctl.payments.requests import check_key, check_reason, check_token
from payctl.payments.results import PaymentResult, view

SCOPE = "capture"
CONFIRM_SCOPE = "confirm"
#: Prepares an attempt in a transaction; ``None`` when it has been done before.
_Begin = Callable[[sa.Connection], "tuple[Attempt, Target] | None"]


@runtime_checkable
class Confirms(Protocol):
    """A gateway whose open payments can be given a means of payment afterwards."""

    def confirm_payment(
        self,
        intent_id: str,
        payment_token: str,
        idempotency_key: str,
        *,
        return_url: str | None = None,
        deadline_s: float = 10.0,
    ) -> Answer: ...


class Captures:
    """Use cases of authorised and open payments; each owns its transactions."""

    def __init__(self, db: Database, dispatch: Dispatch, settings: GatewaySettings) -> None:
        self._db = db
        self._dispatch = dispatch
        self._settings = settings

    def capture(
        self,
        actor: Actor,
        payment_id: UUID,
        *,
        key: str,
        amount_minor: int | None = None,
        final: bool = True,
        dry_run: bool = False,
    ) -> PaymentResult:
        """Take (part of) an authorised amount; ``final=False`` keeps the rest for later captures.

        With *dry_run* the same code runs as if the provider had agreed, and is rolled back.

        Raises:
            Conflict: ``payment.not_authorized``, ``capture.too_much``, ``capture.in_progress``,
                ``gateway.disabled``.
        """
        require(actor, "payment.capture")
        check_key(key)

        def begin(tx: sa.Connection) -> tuple[Attempt, Target] | None:
            return self._begin_capture(tx, actor, payment_id, key, amount_minor, final)

        return self._act(actor, payment_id, begin, dry_run)

    def _act(self, actor: Actor, payment_id: UUID, begin: _Begin, dry_run: bool) -> PaymentResult:
        """Prepare an attempt, send it, and say where the payment stands then."""
        if dry_run:
            with self._db.rehearsal() as tx:
                prepared = begin(tx)
                if prepared is None:
                    return view(self._db, payment_id, replayed=True)
                rehearsed = self._dispatch.rehearse(tx, prepared[0], actor)
                parts = tuple(store.captures(tx, payment_id))
                return PaymentResult(
                    rehearsed.payment, (rehearsed.attempt,), journals=rehearsed.journals,
                    captures=parts,
                )  # fmt: skip
        begun = self._db.run(begin)
        if begun is None:
            return view(self._db, payment_id, replayed=True)
        applied, _answer = self._dispatch.send(begun[0], begun[1], actor=actor)
        with once_sent(payment_id):
            return view(self._db, payment_id, journals=applied.journals)

    def _begin_capture(
        self,
        tx: sa.Connection,
        actor: Actor,
        payment_id: UUID,
        key: str,
        amount_minor: int | None,
        final: bool,
    ) -> tuple[Attempt, Target] | None:
        body = {"payment": str(payment_id), "amount_minor": amount_minor, "final": final}
        claim = idempotency.claim(self._db, tx, SCOPE, key, idempotency.fingerprint(body))
        if not claim.new:
            return None
        payment = store.payment(tx, payment_id, lock=True)
        held = store.live_attempt(tx, payment_id, Operation.COLLECT)
        if payment.status is not PaymentStatus.AUTHORIZED or held is None:
            raise Conflict(
                "payment.not_authorized",
                id=encode("payment", payment_id),
                status=str(payment.status),
            )
        self._check_enabled(tx, held)
        left = payment.authorized_minor - payment.captured_minor
        amount = left if amount_minor is None else amount_minor
        check_amount_minor(amount, payment.currency)
        if amount > left:
            raise Conflict(
                "capture.too_much",
                field="amount",
                left=format_money(left, payment.currency),
                asked=format_money(amount, payment.currency),
            )
        for busy in (Operation.CAPTURE, Operation.VOID):
            if store.live_attempt(tx, payment_id, busy) is not None:
                raise Conflict("capture.in_progress", id=encode("payment", payment_id))
        now, capture_id = self._db.clock.now(), self._db.ids.new()
        idempotency.settle(tx, SCOPE, key, "created", capture_id)
        part = store.insert_capture(
            tx,
            {
                "id": capture_id,
                "payment_id": payment_id,
                "no": len(store.captures(tx, payment_id)) + 1,
                "amount_minor": amount,
                "final": final or amount == left,
                "state": "open",
                "captured_before_minor": payment.captured_minor,
                "created_by": actor.name,
                "created_at": now,
                "updated_at": now,
            },
        )
        target = Target(payment, capture=part, collected=held)
        attempt = self._dispatch.prepare(
            tx, target, Operation.CAPTURE, held.gateway_account, amount
        )
        data = {"amount_minor": amount, "currency": payment.currency, "final": part.final}
        audit.record(self._db, tx, actor, "payment.capture", "payment", payment_id, data)
        return attempt, target

    def confirm(
        self,
        actor: Actor,
        payment_id: UUID,
        *,
        payment_token: str,
        key: str,
        dry_run: bool = False,
    ) -> PaymentResult:
        """Give a payment that waits for its customer the means of payment it was made without.

        The provider's key is stored before it is sent, so a repeat with the same *key* can only
        confirm once. With *dry_run* the same code runs as if the provider had agreed.

        Raises:
            Conflict: ``payment.not_confirmable``, ``payment.being_asked``, ``key.reused``,
                ``gateway.disabled``.
            Refused: ``payment.gateway_confirms_not``.
        """
        require(actor, "payment.process")
        check_key(key)
        check_token(payment_token)
        stored: list[str] = []

        def begin(tx: sa.Connection) -> tuple[Attempt, Target] | None:
            payment = store.payment(tx, payment_id, lock=True)
            body = {"payment": str(payment_id), "token": payment_token}
            print_of = idempotency.fingerprint(body)
            claim = idempotency.claim(self._db, tx, CONFIRM_SCOPE, key, print_of)
            held = store.live_attempt(tx, payment_id, Operation.COLLECT)
            if held is None or held.state is not AttemptState.REQUIRES_ACTION:
                if not claim.new:
                    return None
                raise Conflict(
                    "payment.not_confirmable",
                    id=encode("payment", payment_id),
                    status=str(payment.status),
                )
            self._confirming(held)
            if claim.new:
                self._check_enabled(tx, held)
                secret = {"key": self._db.ids.token(16)}
                idempotency.settle(tx, CONFIRM_SCOPE, key, "sent", payment_id, secret)
                data = {"gateway": held.gateway_account}
                audit.record(self._db, tx, actor, "payment.confirm", "payment", payment_id, data)
            else:
                secret = claim.response
            stored[:] = [secret["key"]]
            leased = self._dispatch.lease(tx, held)
            if leased is None:
                raise Conflict("payment.being_asked", id=encode("payment", payment_id))
            return leased, Target(payment)

        if dry_run:
            return self._act(actor, payment_id, begin, dry_run)
        begun = self._db.run(begin)
        if begun is None:
            return view(self._db, payment_id, replayed=True)
        attempt, target = begun
        gateway = self._confirming(attempt)
        answer = gateway.confirm_payment(
            str(attempt.provider_reference), payment_token, stored[0],
            return_url=target.payment.return_url, deadline_s=DEADLINE_S,
        )  # fmt: skip
        applied = self._dispatch.apply(attempt, answer, "confirm", actor)
        return view(self._db, payment_id, journals=applied.journals, action=answer.next_action)

    def _confirming(self, attempt: Attempt) -> Confirms:
        gateway = self._dispatch.gateway(attempt.gateway_account)
        if not isinstance(gateway, Confirms) or attempt.provider_reference is None:
            raise Refused("payment.gateway_confirms_not", gateway=attempt.gateway_account)
        return gateway

    def cancel(
        self, actor: Actor, payment_id: UUID, *, reason: str, dry_run: bool = False
    ) -> PaymentResult:
        """End a payment without (more) money: release an authorisation, revoke an open one.

        With *dry_run* the same code runs as if the provider had agreed, and is rolled back.

        Raises:
            Conflict: ``payment.not_cancelable`` for one that has ended, ``payment.not_revocable``
                where the provider cannot take an open payment back, ``gateway.disabled``.
        """
        require(actor, "payment.cancel")
        reason = check_reason(reason)

        def begin(tx: sa.Connection) -> tuple[Attempt, Target] | None:
            payment = store.payment(tx, payment_id, lock=True)
            if payment.status is PaymentStatus.CANCELED:
                return None
            held = store.live_attempt(tx, payment_id, Operation.COLLECT)
            if payment.status.terminal or held is None:
                raise Conflict(
                    "payment.not_cancelable",
                    id=encode("payment", payment_id),
                    status=str(payment.status),
                )
            self._check_revocable(tx, payment, held)
            self._check_enabled(tx, held)
            target = Target(payment, collected=held)
            attempt = self._dispatch.prepare(
                tx, target, Operation.VOID, held.gateway_account, payment.amount_minor
            )
            data = {"status": str(payment.status)}
            audit.record(self._db, tx, actor, "payment.cancel", "payment", payment_id, data, reason)
            return attempt, target

        return self._act(actor, payment_id, begin, dry_run)

    def _check_enabled(self, tx: sa.Connection, held: Attempt) -> None:
        """A disabled account is sent nothing, not even what would end a payment it has; a draining
        one is.
        """
        account = held.gateway_account
        if self._dispatch.configured(account) and not self._settings.accepts(tx, account, "follow"):
            raise Conflict("gateway.disabled", gateway=account)

    def _check_revocable(self, tx: sa.Connection, payment: Payment, held: Attempt) -> None:
        public = encode("payment", payment.id)
        for busy in (Operation.CAPTURE, Operation.VOID):
            if store.live_attempt(tx, payment.id, busy) is not None:
                raise Conflict("capture.in_progress", id=public)
        capabilities = self._dispatch.gateway(held.gateway_account).capabilities
        if held.state is AttemptState.AUTHORIZED and capabilities.manual_capture:
            return
        if held.completion_at is not None:
            raise Conflict("payment.being_taken", id=public, gateway=held.gateway_account)
        if held.state is AttemptState.SENDING or not capabilities.revocable:
            raise Conflict(
                "payment.not_revocable", id=public, status=str(payment.status),
                gateway=held.gateway_account,
            )  # fmt: skip
