"""How a refund reaches its customer: the provider's own refund, or a payout to whoever paid.

Where the provider has no refund but pays out, money goes back as a *reverse payout*: only to the
account the provider itself named as the payer, only in amounts it pays out, and only from a float
that covers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.errors import Conflict, Refused
from payctl.gateways.base import Capabilities
from payctl.ids import encode
from payctl.ledger import accounts
from payctl.ledger.sums import balance_of
from payctl.money import check_amount_minor, format_money
from payctl.payments import store
from payctl.payments.dispatch import Dispatch
from payctl.payments.gateway_state import Limit, load
from payctl.payments.model import RefundState, Way
from payctl.payments.records import Payment, Refund


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a refund of a payment will be; the amount in minor units of the payment's currency."""

    amount_minor: int
    way: Way
    destination: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class _Payable:
    """Amounts an account pays out in one currency, in minor units; ``largest`` ``None``: any."""

    smallest: int
    largest: int | None
    step: int


class RefundWays:
    """Chooses ways and checks what each needs."""

    def __init__(self, db: Database, dispatch: Dispatch) -> None:
        self._db = db
        self._dispatch = dispatch

    def choose(self, tx: sa.Connection, payment: Payment, amount_minor: int | None) -> Chosen:
        """The way of a refund of *payment*, in full when *amount_minor* is ``None``.

        Raises:
            Conflict: ``refund.nothing_captured``, ``refund.too_much``.
            Refused: ``refund.not_supported``, ``refund.only_full``, and as :meth:`settle`.
        """
        public = encode("payment", payment.id)
        account, receipt = payment.gateway_account, payment.attempt_id
        if not payment.captured_minor or account is None or receipt is None:
            raise Conflict("refund.nothing_captured", id=public, status=str(payment.status))
        left = payment.refundable_minor
        amount = left if amount_minor is None else amount_minor
        if amount_minor is not None:
            check_amount_minor(amount, payment.currency)
        if amount <= 0 or amount > left:
            raise Conflict(
                "refund.too_much",
                field="amount",
                id=public,
                left=format_money(left, payment.currency),
                asked=format_money(amount, payment.currency),
            )
        can = self._dispatch.gateway(account).capabilities
        if can.refunds == "full" and amount != payment.captured_minor:
            raise Refused("refund.only_full", gateway=account)
        if can.refunds != "none":
            return Chosen(amount, Way.REFUND, None)
        self._check_payable(tx, account, can, amount, payment.currency, left)
        return Chosen(amount, Way.PAYOUT, self._payer(tx, account, can, payment.id, receipt))

    def settle(self, tx: sa.Connection, refund: Refund) -> Refund:
        """The refund with its way and destination: a proposed one has none until it is sent.

        Raises:
            Refused: ``refund.not_supported``, ``refund.payer_unknown``, ``refund.payer_unpayable``,
                ``refund.payout_too_small``, ``refund.payout_too_large``, ``refund.payout_off_step``
        """
        account = refund.gateway_account
        if refund.state is not RefundState.PROPOSED or not self._dispatch.configured(account):
            return refund
        can = self._dispatch.gateway(account).capabilities
        if can.refunds != "none":
            return refund
        amount, receipt = refund.amount_minor, refund.receipt_attempt_id
        self._check_payable(tx, account, can, amount, refund.currency, amount)
        payer = self._payer(tx, account, can, refund.payment_id, receipt)
        return store.update_refund(
            tx, refund, self._db.clock.now(), way=Way.PAYOUT, destination=payer
        )

    def covered(self, tx: sa.Connection, refund: Refund) -> bool:
        """Whether the float covers a payout, beside those that may be leaving it already."""
        if refund.way is not Way.PAYOUT:
            return True
        account, currency = refund.gateway_account, refund.currency
        booked = balance_of(tx, accounts.float_(account), currency)
        return booked - store.leaving_minor(tx, account, currency) >= refund.amount_minor

    def _payer(
        self, tx: sa.Connection, account: str, can: Capabilities, payment_id: UUID, receipt: UUID
    ) -> Mapping[str, Any]:
        """Whom the provider named as the one who paid: nobody else is ever paid out to."""
        payer, public = store.attempt(tx, receipt).paid_by(), encode("payment", payment_id)
        if payer is None:
            raise Refused("refund.payer_unknown", gateway=account, id=public)
        if payer.kind not in can.payouts:
            raise Refused("refund.payer_unpayable", gateway=account, id=public, kind=payer.kind)
        return asdict(payer)

    def _check_payable(
        self,
        tx: sa.Connection,
        account: str,
        can: Capabilities,
        amount_minor: int,
        currency: str,
        most_minor: int,
    ) -> None:
        if not can.payouts:
            raise Refused("refund.not_supported", gateway=account)
        limit = load(self._db, tx).limit(account, currency)
        payable = _payable(can, limit, currency)
        told = {"gateway": account, "asked": format_money(amount_minor, currency)}
        if amount_minor < payable.smallest:
            smallest = format_money(payable.smallest, currency)
            raise Refused("refund.payout_too_small", field="amount", smallest=smallest, **told)
        if payable.largest is not None and amount_minor > payable.largest:
            largest = format_money(payable.largest, currency)
            raise Refused("refund.payout_too_large", field="amount", largest=largest, **told)
        if below := amount_minor % payable.step:
            lower = amount_minor - below
            most = min(most_minor, payable.largest or most_minor)
            nearest = [
                format_money(each, currency)
                for each in (lower, lower + payable.step)
                if payable.smallest <= each <= most
            ]
            step = format_money(payable.step, currency)
            raise Refused(
                "refund.payout_off_step", field="amount", nearest=nearest, step=step, **told
            )


def _payable(can: Capabilities, limit: Limit, currency: str) -> _Payable:
    """What the provider's limits and ours leave, rounded to its steps."""
    step = can.payout_steps.get(currency, 1)
    low, high = can.payout_limits.get(currency, (1, None))
    smallest = max(low, limit.min_minor or 1)
    most = [each for each in (high, limit.max_minor) if each is not None]
    largest = min(most) // step * step if most else None
    return _Payable(-(-smallest // step) * step, largest, step)
