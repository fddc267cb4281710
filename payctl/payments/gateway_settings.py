"""What operators say about gateways: whether an account takes work, its limits, its expected fees.

Every change is a new row and an audit record; nothing is overwritten, so what counted at any past
decision can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.operators import require
from payctl.errors import InvalidInput, NotFound
from payctl.gateways.base import Gateway
from payctl.money import PPM, exponent
from payctl.payments.gateway_state import FeeRate, Limit, RouteState, Setting, load, setting_of
from payctl.payments.gateway_tables import (
    SETTING_STATES,
    gateway_fee,
    gateway_limit,
    gateway_setting,
)
from payctl.payments.requests import METHODS, check_reason

T = TypeVar("T")

#: Calls an account in this state still makes: ``follow`` is what goes on with a payment it has
#: (capture, confirmation, cancellation). Questions about open money are always asked.
_WORK = {
    "enabled": frozenset({"collect", "follow", "refund", "payout", "read"}),
    "draining": frozenset({"follow", "refund", "payout", "read"}),
    "disabled": frozenset({"read"}),
}


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One limit of the history, in minor units of ``currency``."""

    account: str
    currency: str
    min_minor: int | None
    max_minor: int | None
    valid_from: datetime | None
    actor: str


@dataclass(frozen=True, slots=True)
class FeeRow:
    """One expected fee of the history; ``method`` is empty for every method without its own."""

    account: str
    currency: str
    method: str
    ppm: int
    fixed_minor: int
    valid_from: datetime | None
    actor: str


class GatewaySettings:
    """Settings of the gateways of a book.

    Args:
        gateways: the configured gateways by account.
        changed: called after each change, so that this process routes by it at once.
    """

    def __init__(
        self,
        db: Database,
        gateways: Mapping[str, Gateway],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._db = db
        self._gateways = gateways
        self._changed = changed

    # -- taking work ------------------------------------------------------------------------------

    def state(self) -> RouteState:
        """Everything set, as of now."""
        with self._db.read() as tx:
            return load(self._db, tx)

    def current(self, account: str) -> Setting:
        """The setting of one account as of now."""
        with self._db.read() as tx:
            return setting_of(tx, account, self._db.clock.now())

    def accepts(self, tx: sa.Connection, account: str, op_class: str) -> bool:
        """Whether *account* makes calls of *op_class* now.

        A draining account takes no new payment but finishes what it has; a disabled one only
        answers questions about what is open. One that is no longer configured makes no call at all.
        """
        if account not in self._gateways:
            return False
        setting = setting_of(tx, account, self._db.clock.now())
        return op_class in _WORK[setting.state]

    def set_state(
        self,
        actor: Actor,
        account: str,
        state: str,
        *,
        reason: str,
        until: datetime | None = None,
        dry_run: bool = False,
    ) -> Setting:
        """Enable, disable or drain an account, for good or until a time.

        Raises:
            Forbidden: ``operator.not_allowed``.
            NotFound: ``gateway.not_found``.
            InvalidInput: ``reason.missing``, ``gateway.until_past``, ``choice.unknown``.
        """
        require(actor, "gateway.control")
        self.known(account)
        why, now = check_reason(reason), self._db.clock.now()
        if state not in SETTING_STATES:
            allowed = ", ".join(SETTING_STATES)
            raise InvalidInput("choice.unknown", field="state", value=state[:40], allowed=allowed)
        if until is not None and (until <= now or state == "enabled"):
            raise InvalidInput("gateway.until_past", field="until", until=until.isoformat())
        new = Setting(state, until, why, actor.name, now)

        def work(tx: sa.Connection) -> Setting:
            before = setting_of(tx, account, now)
            tx.execute(
                gateway_setting.insert().values(
                    id=self._db.ids.new(),
                    account=account,
                    state=state,
                    until=until,
                    reason=why,
                    actor=actor.name,
                    at=now,
                )
            )
            data = {"account": account, "before": before.state, "state": state, "until": until}
            record(self._db, tx, actor, f"gateway.{state}", "gateway", None, data, why)
            return new

        return self._do(work, dry_run)

    def history(self, account: str, limit: int = 50) -> list[Setting]:
        """The latest settings of an account, newest first."""
        c = gateway_setting.c
        with self._db.read() as tx:
            rows = tx.execute(
                sa.select(c.state, c.until, c.reason, c.actor, c.at)
                .where(c.account == account)
                .order_by(c.id.desc())
                .limit(limit)
            ).all()
        return [Setting(*row) for row in rows]

    # -- limits -----------------------------------------------------------------------------------

    def limits(self, account: str | None = None) -> list[LimitRow]:
        """The limits in force, by account and currency."""
        found = self.state().limits
        return [
            LimitRow(
                each,
                currency,
                limit.min_minor,
                limit.max_minor,
                limit.valid_from,
                limit.actor,
            )
            for (each, currency), limit in sorted(found.items())
            if account in (None, each)
        ]

    def limit_history(self, account: str | None = None, limit: int = 200) -> list[LimitRow]:
        """Every limit that was ever set, those set last first; both amounts ``None``: lifted."""
        c = gateway_limit.c
        query = sa.select(
            c.account, c.currency, c.min_minor, c.max_minor, c.valid_from, c.actor
        ).order_by(c.id.desc())
        return [LimitRow(*row) for row in self._past(query, c.account, account, limit)]

    def set_limit(
        self,
        actor: Actor,
        account: str,
        currency: str,
        *,
        min_minor: int | None,
        max_minor: int | None,
        reason: str,
        valid_from: datetime | None = None,
        dry_run: bool = False,
    ) -> Limit:
        """Set the smallest and largest amount of one payment; ``None`` for both lifts the limit.

        What the adapter declares still counts; this can only narrow it.

        Raises:
            Forbidden: ``operator.not_allowed``.
            NotFound: ``gateway.not_found``.
            InvalidInput: ``currency.unknown``, ``gateway.limits_crossed``, ``reason.missing``,
                ``gateway.valid_from_past``.
        """
        require(actor, "gateway.manage")
        self.known(account)
        exponent(currency)
        why, start = check_reason(reason), self._start(valid_from)
        bad = any(each is not None and each <= 0 for each in (min_minor, max_minor))
        if bad or (min_minor is not None and max_minor is not None and min_minor > max_minor):
            raise InvalidInput("gateway.limits_crossed", field="max")
        values: dict[str, object] = {"account": account, "currency": currency}
        values |= {"min_minor": min_minor, "max_minor": max_minor, "valid_from": start}

        def work(tx: sa.Connection) -> Limit:
            self._insert(tx, gateway_limit, values, actor)
            record(self._db, tx, actor, "gateway.limit_set", "gateway", None, values, why)
            return Limit(min_minor, max_minor, start, actor.name)

        return self._do(work, dry_run)

    # -- fees -------------------------------------------------------------------------------------

    def fees(self, account: str | None = None) -> list[FeeRow]:
        """The expected fees in force, by account, currency and method."""
        found = self.state().fees
        return [
            FeeRow(each, currency, method, fee.ppm, fee.fixed_minor, fee.valid_from, fee.actor)
            for (each, currency, method), fee in sorted(found.items())
            if account in (None, each)
        ]

    def fee_history(self, account: str | None = None, limit: int = 200) -> list[FeeRow]:
        """Every fee that was ever set, those set last first."""
        c = gateway_fee.c
        query = sa.select(
            c.account, c.currency, c.method, c.ppm, c.fixed_minor, c.valid_from, c.actor
        ).order_by(c.id.desc())
        return [FeeRow(*row) for row in self._past(query, c.account, account, limit)]

    def set_fee(
        self,
        actor: Actor,
        account: str,
        currency: str,
        *,
        ppm: int,
        fixed_minor: int,
        reason: str,
        method: str = "",
        valid_from: datetime | None = None,
        dry_run: bool = False,
    ) -> FeeRate:
        """Set what a provider is expected to charge: *ppm* parts per million of the amount plus
        *fixed_minor* minor units. Used for ranking; the ledger posts what it really charged.

        Raises:
            Forbidden: ``operator.not_allowed``.
            NotFound: ``gateway.not_found``.
            InvalidInput: ``currency.unknown``, ``choice.unknown``, ``gateway.fee_malformed``,
                ``gateway.valid_from_past``, ``reason.missing``.
        """
        require(actor, "gateway.manage")
        self.known(account)
        exponent(currency)
        why, start = check_reason(reason), self._start(valid_from)
        if method and method not in METHODS:
            allowed = ", ".join(sorted(METHODS))
            raise InvalidInput("choice.unknown", field="method", value=method[:40], allowed=allowed)
        if not 0 <= ppm <= PPM or fixed_minor < 0:
            raise InvalidInput("gateway.fee_malformed", field="rate")
        values: dict[str, object] = {"account": account, "currency": currency, "method": method}
        values |= {"ppm": ppm, "fixed_minor": fixed_minor, "valid_from": start}

        def work(tx: sa.Connection) -> FeeRate:
            self._insert(tx, gateway_fee, values, actor)
            record(self._db, tx, actor, "gateway.fee_set", "gateway", None, values, why)
            return FeeRate(ppm, fixed_minor, start, actor.name)

        return self._do(work, dry_run)

    # -- shared -----------------------------------------------------------------------------------

    def known(self, account: str) -> Gateway:
        """The gateway of *account*.

        Raises:
            NotFound: ``gateway.not_found``, naming the accounts there are.
        """
        gateway = self._gateways.get(account)
        if gateway is None:
            raise NotFound(
                "gateway.not_found",
                field="gateway",
                gateway=account[:60],
                known=_words(self._gateways),
            )
        return gateway

    def _past(
        self, query: sa.Select[Any], column: sa.Column[str], account: str | None, limit: int
    ) -> Sequence[Any]:
        if account is not None:
            self.known(account)
            query = query.where(column == account)
        with self._db.read() as tx:
            return tx.execute(query.limit(limit)).all()

    def _start(self, valid_from: datetime | None) -> datetime:
        now = self._db.clock.now()
        if valid_from is not None and valid_from < now:
            at = valid_from.isoformat()
            raise InvalidInput("gateway.valid_from_past", field="valid-from", at=at)
        return valid_from or now

    def _insert(
        self, tx: sa.Connection, table: sa.Table, values: Mapping[str, object], actor: Actor
    ) -> None:
        at = self._db.clock.now()
        row = {**values, "id": self._db.ids.new(), "actor": actor.name, "at": at}
        tx.execute(table.insert().values(**row))

    def _do(self, work: Callable[[sa.Connection], T], dry_run: bool) -> T:
        if dry_run:
            with self._db.rehearsal() as tx:
                return work(tx)
        done = self._db.run(work)
        self._changed()
        return done


def _words(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "-"
