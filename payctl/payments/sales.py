"""A sale: what of each capture is whose, and what a refund takes back from whom.

As an agent (tickets, and templates unless the book says otherwise) the price is the organiser's,
and ours is the commission with its VAT. As principal (a template sold in our own name) the price
is our income with its VAT, and the designer's share is an expense. Both are kept as running totals
on the payment, so that many captures share out exactly as one would, and any sequence of refunds
ends exactly at the sale (postings design, rule 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from payctl.commissions.model import Rate, give_back, split, split_own_sale
from payctl.ledger import accounts
from payctl.ledger.model import Leg, cr, dr
from payctl.payments.records import Payment


class Part(NamedTuple):
    """What one capture or refund moves, in minor units of the sale's currency.

    For an agent the three sum to the amount; for a principal income and VAT do, and the owner's
    part is the expense beside them.
    """

    owner_minor: int
    income_minor: int
    vat_minor: int


@dataclass(frozen=True, slots=True)
class Sale:
    """The terms a sale was made under; kept with the payment and used for its refunds."""

    rate: Rate
    principal: bool = False

    def as_json(self) -> dict[str, Any]:
        return {**self.rate.as_json(), "role": "principal" if self.principal else "agent"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sale:
        return cls(Rate.from_json(data), data["role"] == "principal")

    def captured(self, payment: Payment, amount_minor: int) -> Part:
        """This capture's part: the share-out of the running total less what was shared out."""
        before, total = payment.captured_minor, payment.captured_minor + amount_minor
        if self.principal:
            whole, done = split_own_sale(self.rate, total), split_own_sale(self.rate, before)
            vat = whole.vat_minor - payment.vat_minor
            owner = max(0, whole.owner_minor - done.owner_minor)
            return Part(owner, amount_minor - vat, vat)
        parts = split(self.rate, total)
        income = parts.commission_minor - payment.commission_minor
        vat = min(parts.vat_minor - payment.vat_minor, amount_minor)
        # Rounding of a capture of one or two minor units must not take from the owner.
        income = min(income, amount_minor - vat)
        return Part(amount_minor - income - vat, income, vat)

    def refunded(self, payment: Payment, before_minor: int, amount_minor: int) -> Part:
        """What a refund takes back: the reversal of everything refunded so far, of which
        *before_minor* was earlier, less what was reversed already.
        """
        total = before_minor + amount_minor
        if self.principal:
            return self._refunded_own(payment, before_minor, amount_minor)
        back = give_back(self.rate, payment.captured_minor, 0, total)
        income = max(0, back.commission_minor - payment.commission_returned_minor)
        income = min(income, amount_minor)
        vat = max(0, back.vat_minor - payment.vat_returned_minor)
        vat = min(vat, amount_minor - income)
        return Part(amount_minor - income - vat, income, vat)

    def _refunded_own(self, payment: Payment, before_minor: int, amount_minor: int) -> Part:
        whole, captured = split_own_sale(self.rate, payment.captured_minor), payment.captured_minor

        def back(part_minor: int, refunded_minor: int) -> int:
            return (2 * part_minor * refunded_minor + captured) // (2 * captured)

        total = before_minor + amount_minor
        vat = max(0, back(whole.vat_minor, total) - payment.vat_returned_minor)
        vat = min(vat, amount_minor)
        owner = back(whole.owner_minor, total) - back(whole.owner_minor, before_minor)
        return Part(owner, amount_minor - vat, vat)

    def amount_of(self, part: Part) -> int:
        """The amount that *part* shares out."""
        ours = part.income_minor + part.vat_minor
        return ours if self.principal else part.owner_minor + ours

    def kept(self, amount_minor: int) -> Part:
        """A refund that keeps our commission: the owner bears all of it."""
        return Part(amount_minor, 0, 0)

    def capture_legs(self, payment: Payment, part: Part, source: str) -> tuple[Leg, ...]:
        """Entries of a capture whose money comes from account *source*."""
        currency, pending = payment.currency, accounts.wallet(payment.organiser, "pending")
        legs = [dr(source, part.income_minor + part.vat_minor, currency)]
        income = accounts.commission_income(payment.sale_type)
        if self.principal:
            income = accounts.TEMPLATE_SALES
            legs.append(dr(accounts.DESIGNER_SHARE, part.owner_minor, currency))
        else:
            legs = [dr(source, part.owner_minor + part.income_minor + part.vat_minor, currency)]
        legs += [cr(pending, part.owner_minor, currency), cr(income, part.income_minor, currency)]
        return (*legs, *self._vat(-part.vat_minor, currency))

    def refund_legs(
        self, payment: Payment, part: Part, owner_legs: tuple[Leg, ...], target: str
    ) -> tuple[Leg, ...]:
        """Entries that set a refund aside on account *target*; *owner_legs* say where the owner's
        part comes from.
        """
        currency = payment.currency
        legs = list(owner_legs)
        amount = part.income_minor + part.vat_minor
        if self.principal:
            legs.append(dr(accounts.TEMPLATE_SALES, part.income_minor, currency))
            legs.append(cr(accounts.DESIGNER_SHARE, part.owner_minor, currency))
        else:
            income = accounts.commission_income(payment.sale_type)
            legs.append(dr(income, part.income_minor, currency))
            amount += part.owner_minor
        return (*legs, *self._vat(part.vat_minor, currency), cr(target, amount, currency))

    def _vat(self, amount_minor: int, currency: str) -> tuple[Leg, ...]:
        if not amount_minor or self.rate.vat_country is None:
            return ()
        return (Leg(accounts.vat(self.rate.vat_country), amount_minor, currency),)
