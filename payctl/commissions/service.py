"""Commission rates and roles with their history, and the split of sales and refunds.

A rate is never edited: a new row counts from its moment on, so any past sale can be explained by
the rows that were valid then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from payctl.commissions import model
from payctl.commissions.model import OwnSale, Rate, Scope, Split
from payctl.commissions.rate_book import RateBook, rate_of
from payctl.commissions.tables import ROLES, SALE_TYPES, commission_rate, commission_role
from payctl.countries import COUNTRIES
from payctl.db.actor import Actor
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.errors import Conflict, InvalidInput, NotConfigured
from payctl.money import MAX_AMOUNT_MINOR, PPM, exponent

#: Longest organiser reference and reason.
MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a sale would give to whom; ``split`` as agent or ``own_sale`` as principal.

    ``given_back`` is what a refund of part of it would take back.
    """

    rate: Rate
    role: str
    split: Split | None
    own_sale: OwnSale | None
    given_back: Split | None


@dataclass(frozen=True, slots=True)
class RoleRow:
    """In whose name a sale type is sold from ``valid_from`` on: ``agent`` or ``principal``."""

    sale_type: str
    role: str
    valid_from: datetime
    set_by: str
    reason: str


class Commissions:
    """What the platform earns on a sale."""

    def __init__(self, db: Database) -> None:
        self._db = db
        #: for sales that must not wait for a query; at most a second old
        self.known = RateBook(db)

    # -- what a sale needs ----------------------------------------------------------------------

    def rate_for(
        self,
        tx: sa.Connection,
        *,
        sale_type: str,
        organiser: str,
        currency: str,
        country: str | None,
        at: datetime,
    ) -> Rate:
        """The rate of a sale: the most specific one valid at *at* (organiser, then country, then
        currency).

        Raises:
            NotConfigured: ``commission.no_rate``.
        """
        table = commission_rate
        rows = tx.execute(
            sa.select(table).where(
                table.c.sale_type == sale_type,
                table.c.organiser.in_(("", organiser)),
                table.c.currency.in_(("", currency)),
                table.c.country.in_(("", country or "")),
                table.c.valid_from <= at,
            )
        )
        found = model.choose([rate_of(row) for row in rows])
        if found is None:
            raise NotConfigured(
                "commission.no_rate", sale_type=sale_type, currency=currency, organiser=organiser
            )
        return found

    def split(self, rate: Rate, amount_minor: int, before_minor: int = 0) -> Split:
        """Commission, VAT on it and the owner's part of *amount_minor*; see :func:`model.split`."""
        return model.split(rate, amount_minor, before_minor)

    def give_back(
        self, rate: Rate, sale_minor: int, refunded_before_minor: int, refund_minor: int
    ) -> Split:
        """What a refund takes back, cumulatively; see :func:`model.give_back`."""
        return model.give_back(rate, sale_minor, refunded_before_minor, refund_minor)

    def role(self, tx: sa.Connection, sale_type: str, at: datetime) -> str:
        """Whether the platform sells *sale_type* as ``agent`` or as ``principal`` at *at*."""
        table = commission_role
        found: str = tx.execute(
            sa.select(table.c.role)
            .where(table.c.sale_type == sale_type, table.c.valid_from <= at)
            .order_by(table.c.valid_from.desc())
            .limit(1)
        ).scalar_one()
        return found

    def simulate(
        self,
        sale: Scope,
        amount_minor: int,
        *,
        refund_minor: int | None = None,
        at: datetime | None = None,
    ) -> Simulation:
        """What a sale of *amount_minor* by ``sale.organiser`` in ``sale.currency`` would give.

        Args:
            refund_minor: also what a refund of that much would take back.
            at: the moment of the sale; default now.

        Raises:
            InvalidInput: ``commission.unknown_sale_type``, ``commission.refund_too_large``,
                ``country.unknown``. NotConfigured: ``commission.no_rate``.
        """
        _check_scope(sale)
        if refund_minor is not None and refund_minor > amount_minor:
            raise InvalidInput("commission.refund_too_large", field="refund")
        moment = at or self._db.clock.now()
        with self._db.read() as tx:
            role = self.role(tx, sale.sale_type, moment)
            rate = self.rate_for(
                tx,
                sale_type=sale.sale_type,
                organiser=sale.organiser,
                currency=sale.currency,
                country=sale.country or None,
                at=moment,
            )
        if role == "principal":
            return Simulation(rate, role, None, model.split_own_sale(rate, amount_minor), None)
        back = (
            None if refund_minor is None else model.give_back(rate, amount_minor, 0, refund_minor)
        )
        return Simulation(rate, role, model.split(rate, amount_minor), None, back)

    # -- the table ------------------------------------------------------------------------------

    def rates(
        self,
        *,
        sale_type: str | None = None,
        organiser: str | None = None,
        at: datetime | None = None,
    ) -> Sequence[Rate]:
        """The rates that count at *at* (now), widest scope first; withdrawn ones are left out."""
        moment = at or self._db.clock.now()
        newest: dict[Scope, Rate] = {}
        for rate in reversed(self.history(sale_type=sale_type, organiser=organiser)):
            if rate.valid_from <= moment:
                newest[rate.scope] = rate
        standing = [rate for rate in newest.values() if not rate.withdrawn]
        return sorted(standing, key=lambda r: (r.scope.sale_type, r.scope.rank, _words(r.scope)))

    def history(
        self, *, sale_type: str | None = None, organiser: str | None = None
    ) -> Sequence[Rate]:
        """Every row ever set, future ones included, newest validity first."""
        table = commission_rate
        query = sa.select(table).order_by(table.c.valid_from.desc(), table.c.id.desc())
        if sale_type is not None:
            query = query.where(table.c.sale_type == _known_type(sale_type))
        if organiser is not None:
            query = query.where(table.c.organiser == organiser)
        with self._db.read() as tx:
            return [rate_of(row) for row in tx.execute(query)]

    def set_rate(
        self,
        actor: Actor,
        scope: Scope,
        *,
        rate_ppm: int,
        vat_country: str | None,
        vat_ppm: int,
        reason: str,
        minimum_minor: int | None = None,
        maximum_minor: int | None = None,
        valid_from: datetime | None = None,
        withdrawn: bool = False,
        dry_run: bool = False,
    ) -> Rate:
        """Add the row that counts for *scope* from *valid_from* (now) on.

        Args:
            rate_ppm, vat_ppm: parts per million; 5 % is 50 000.
            minimum_minor, maximum_minor: bounds of the commission without VAT, in minor units of
                the scope's currency.
            withdrawn: end the scope; from then on the next wider one counts.
            dry_run: check and roll back.

        Raises:
            Forbidden: ``operator.not_allowed``.
            InvalidInput: ``commission.bad_rate``, ``commission.bad_bounds``,
                ``commission.bad_vat``, ``commission.bounds_need_currency``,
                ``commission.in_the_past``, ``commission.unknown_sale_type``, ``country.unknown``,
                ``currency.unknown``, ``reason.missing``, ``text.too_long``.
            Conflict: ``commission.same_moment``.
        """
        require(actor, "commission.set")
        now = self._db.clock.now()
        moment = valid_from or now
        _check_scope(scope)
        _check_reason(reason)
        _check_money(scope, rate_ppm, minimum_minor, maximum_minor)
        _check_vat(vat_country, vat_ppm)
        if moment < now:
            raise InvalidInput("commission.in_the_past", field="from", at=moment.isoformat())
        rate = Rate(
            self._db.ids.new(), scope, moment, rate_ppm, vat_country, vat_ppm, minimum_minor,
            maximum_minor, withdrawn, actor.name, reason,
        )  # fmt: skip
        with self._db.rehearsal() if dry_run else self._db.transaction() as tx:
            self._insert(tx, actor, rate)
        self.known.forget()
        return rate

    def _insert(self, tx: sa.Connection, actor: Actor, rate: Rate) -> None:
        table, scope = commission_rate, rate.scope
        values: dict[str, Any] = {
            "id": rate.id,
            "sale_type": scope.sale_type,
            "organiser": scope.organiser,
            "currency": scope.currency,
            "country": scope.country,
            "valid_from": rate.valid_from,
            "rate_ppm": rate.rate_ppm,
            "minimum_minor": rate.minimum_minor,
            "maximum_minor": rate.maximum_minor,
            "vat_country": rate.vat_country,
            "vat_ppm": rate.vat_ppm,
            "withdrawn": rate.withdrawn,
            "set_by": rate.set_by,
            "reason": rate.reason,
            "created_at": self._db.clock.now(),
        }
        try:
            tx.execute(sa.insert(table).values(values))
        except sa.exc.IntegrityError:
            raise Conflict(
                "commission.same_moment", field="from", at=rate.valid_from.isoformat()
            ) from None
        data = {**rate.as_json(), "withdrawn": rate.withdrawn}
        record(
            self._db,
            tx,
            actor,
            "commission.rate_set",
            "commission_rate",
            rate.id,
            data,
            rate.reason,
        )

    # -- roles ----------------------------------------------------------------------------------

    def roles(self) -> Sequence[RoleRow]:
        """Every role ever set, newest first."""
        table = commission_role
        query = sa.select(
            table.c.sale_type, table.c.role, table.c.valid_from, table.c.set_by, table.c.reason
        ).order_by(table.c.sale_type, table.c.valid_from.desc())
        with self._db.read() as tx:
            return [RoleRow(**row) for row in tx.execute(query).mappings()]

    def set_role(
        self, actor: Actor, sale_type: str, role: str, reason: str, *, dry_run: bool = False
    ) -> RoleRow:
        """Let the platform sell *sale_type* as *role* (``agent`` or ``principal``) from now on.

        Raises:
            Forbidden: ``operator.not_allowed``.
            InvalidInput: ``commission.unknown_sale_type``, ``commission.unknown_role``,
                ``reason.missing``.
        """
        require(actor, "commission.set")
        _known_type(sale_type)
        _check_reason(reason)
        if role not in ROLES:
            raise InvalidInput("commission.unknown_role", field="role", role=role[:40])
        now = self._db.clock.now()
        row = RoleRow(sale_type, role, now, actor.name, reason)
        with self._db.rehearsal() if dry_run else self._db.transaction() as tx:
            new = self._db.ids.new()
            try:
                tx.execute(
                    sa.insert(commission_role).values(
                        id=new, sale_type=sale_type, valid_from=now, role=role,
                        set_by=actor.name, reason=reason, created_at=now,
                    )
                )  # fmt: skip
            except sa.exc.IntegrityError:
                raise Conflict("commission.same_moment", field="from", at=now.isoformat()) from None
            data = {"sale_type": sale_type, "role": role}
            record(self._db, tx, actor, "commission.role_set", "commission_role", new, data, reason)
        self.known.forget()
        return row


def _words(scope: Scope) -> tuple[str, str, str]:
    return (scope.organiser, scope.country, scope.currency)


def _known_type(sale_type: str) -> str:
    if sale_type not in SALE_TYPES:
        known = ", ".join(SALE_TYPES)
        raise InvalidInput(
            "commission.unknown_sale_type", field="type", type=sale_type[:40], known=known
        )
    return sale_type


def _check_scope(scope: Scope) -> None:
    _known_type(scope.sale_type)
    if len(scope.organiser) > MAX_TEXT:
        raise InvalidInput("text.too_long", field="organiser", limit=MAX_TEXT)
    if scope.currency:
        exponent(scope.currency)
    if scope.country:
        _check_country(scope.country, "country")


def _check_country(country: str, field: str) -> None:
    if country not in COUNTRIES:
        raise InvalidInput("country.unknown", field=field, country=country[:40])


def _check_money(scope: Scope, rate_ppm: int, minimum: int | None, maximum: int | None) -> None:
    if not 0 <= rate_ppm <= PPM:
        raise InvalidInput("commission.bad_rate", field="rate")
    bounds = [bound for bound in (minimum, maximum) if bound is not None]
    if bounds and not scope.currency:
        raise InvalidInput("commission.bounds_need_currency", field="currency")
    if any(not 0 <= bound <= MAX_AMOUNT_MINOR for bound in bounds) or bounds != sorted(bounds):
        raise InvalidInput("commission.bad_bounds", field="minimum")


def _check_vat(vat_country: str | None, vat_ppm: int) -> None:
    if not 0 <= vat_ppm <= PPM or (vat_ppm and vat_country is None):
        raise InvalidInput("commission.bad_vat", field="vat")
    if vat_country is not None:
        _check_country(vat_country, "vat_country")


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise InvalidInput("reason.missing", field="reason")
    if len(reason) > MAX_TEXT:
        raise InvalidInput("text.too_long", field="reason", limit=MAX_TEXT)
