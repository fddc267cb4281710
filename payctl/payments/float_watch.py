"""Watches payout floats: an alarm per account and currency, and a case while a float is low.

The alarm is data with a history. What counts is what the provider says is available for payouts:
its float, or, where payouts leave from what was collected, that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from payctl.cases.service import Cases
from payctl.db.actor import Actor
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.errors import InvalidInput, NotFound
from payctl.gateways.base import Gateway
from payctl.money import exponent
from payctl.payments.float_tables import float_alarm
from payctl.payments.provider_readings import Answered, Reading, balances, keep, kept
from payctl.payments.requests import check_reason

CASE_KIND = "low_float"
_c = float_alarm.c


@dataclass(frozen=True, slots=True)
class Alarm:
    """Below ``below_minor`` a float is low; ``None``: the alarm was lifted."""

    account: str
    currency: str
    below_minor: int | None
    reason: str
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class FloatLevel:
    """A float beside its alarm, in minor units. ``available_minor`` and ``read_at`` are ``None``
    while its provider has told nothing.
    """

    account: str
    currency: str
    below_minor: int
    available_minor: int | None = None
    read_at: datetime | None = None

    @property
    def missing_minor(self) -> int:
        """What it takes to silence the alarm; zero when it is silent or nothing is known."""
        if self.available_minor is None:
            return 0
        return max(self.below_minor - self.available_minor, 0)


@dataclass(frozen=True, slots=True)
class WatchReport:
    """What one look at all floats found."""

    levels: tuple[FloatLevel, ...]
    opened: int
    closed: int
    unreachable: tuple[str, ...]


class FloatWatch:
    """Alarms of floats.

    Args:
        gateways: the configured gateways by account.
        cases: built late, because only the watch itself needs them.
    """

    def __init__(
        self, db: Database, gateways: Mapping[str, Gateway], cases: Callable[[], Cases]
    ) -> None:
        self._db = db
        self._gateways = gateways
        self._cases = cases

    # -- alarms ---------------------------------------------------------------------------------

    def set_alarm(
        self,
        actor: Actor,
        account: str,
        currency: str,
        *,
        below_minor: int | None,
        reason: str,
        dry_run: bool = False,
    ) -> Alarm:
        """Call a float low below so many minor units; ``None`` lifts the alarm.

        Raises:
            Forbidden: ``operator.not_allowed``. NotFound: ``gateway.not_found``.
            InvalidInput: ``currency.unknown``, ``amount.not_positive``, ``reason.missing``,
                ``float.tells_no_balance``: nobody would ever learn that it is low.
        """
        require(actor, "float.alarm")
        gateway = self._gateways.get(account)
        if gateway is None:
            known = ", ".join(sorted(self._gateways)) or "-"
            raise NotFound("gateway.not_found", field="gateway", gateway=account[:60], known=known)
        if not gateway.capabilities.balance:
            raise InvalidInput("float.tells_no_balance", field="gateway", gateway=account)
        exponent(currency)
        if below_minor is not None and below_minor <= 0:
            raise InvalidInput("amount.not_positive", field="below")
        new = Alarm(account, currency, below_minor, check_reason(reason), actor.name,
                    self._db.clock.now())  # fmt: skip
        with self._db.writing(dry_run) as tx:
            values = {name: getattr(new, name) for name in Alarm.__dataclass_fields__}
            tx.execute(float_alarm.insert().values(id=self._db.ids.new(), **values))
            about = {"account": account, "currency": currency, "below_minor": below_minor}
            record(self._db, tx, actor, "float.alarm_set", "gateway", None, about, new.reason)
        return new

    def alarms(self, account: str | None = None, *, history: bool = False) -> Sequence[Alarm]:
        """The alarms in force, or with *history* all that were ever set, newest first."""
        with self._db.read() as tx:
            found = _alarms(tx, account)
        if history:
            return found
        return sorted(_in_force(found), key=lambda each: (each.account, each.currency))

    # -- levels ---------------------------------------------------------------------------------

    def read(self, gateways: Mapping[str, Gateway] | None = None) -> list[Answered]:
        """Ask the providers (default: all) for their balances and keep what they say."""
        answers = balances(self._gateways if gateways is None else gateways)
        keep(self._db, answers)
        return answers

    def levels(self) -> list[FloatLevel]:
        """Every float that has an alarm, as its provider last told; nobody is asked."""
        with self._db.read() as tx:
            return levels(tx)

    def last_told(self, account: str, currency: str) -> Reading | None:
        """What payouts of *account* leave from, as its provider last told; nobody is asked."""
        with self._db.read() as tx:
            read = {(each.account, each.part, each.currency): each for each in kept(tx)}
        return _of(read, account, currency)

    def watch(self, actor: Actor) -> WatchReport:
        """Ask the providers, open a case for each float that is low and close those of floats that
        were filled. A provider that does not answer changes nothing.

        Raises:
            Forbidden: ``operator.not_allowed``.
        """
        require(actor, "float.watch")
        unreachable = tuple(each.account for each in self.read() if each.error is not None)
        opened = closed = 0
        with self._db.transaction() as tx:
            seen = levels(tx)
            watched = {_key(each.account, each.currency): each for each in seen}
            for each in seen:
                if each.account in unreachable or each.available_minor is None:
                    continue
                if each.missing_minor:
                    opened += self._open(tx, actor, each)
                else:
                    closed += self._close(tx, actor, each.account, each.currency, "filled")
            for alarm in _alarms(tx, None):
                if alarm.below_minor is None and _key(alarm.account, alarm.currency) not in watched:
                    closed += self._close(tx, actor, alarm.account, alarm.currency, "alarm lifted")
        return WatchReport(tuple(seen), opened, closed, unreachable)

    def _open(self, tx: sa.Connection, actor: Actor, level: FloatLevel) -> int:
        cases, key = self._cases(), _key(level.account, level.currency)
        if cases.is_open(tx, key):
            return 0
        cases.open(
            tx, kind=CASE_KIND, subject_kind="gateway", subject_id=None, dedupe_key=key,
            actor=actor, gateway=level.account, amount_minor=level.missing_minor,
            currency=level.currency,
            detail={
                "available_minor": level.available_minor,
                "below_minor": level.below_minor,
                "read_at": level.read_at.isoformat() if level.read_at else None,
            },
        )  # fmt: skip
        return 1

    def _close(self, tx: sa.Connection, actor: Actor, account: str, currency: str, why: str) -> int:
        key = _key(account, currency)
        done = self._cases().close(tx, key, resolution="handled", evidence=why, actor=actor)
        return int(done)


def levels(tx: sa.Connection) -> list[FloatLevel]:
    """Every float with an alarm beside its last reading, by account and currency."""
    read = {(each.account, each.part, each.currency): each for each in kept(tx)}
    out = []
    for alarm in _in_force(_alarms(tx, None)):
        told = _of(read, alarm.account, alarm.currency)
        known = (told.available_minor, told.read_at) if told is not None else (None, None)
        if alarm.below_minor is not None:
            out.append(FloatLevel(alarm.account, alarm.currency, alarm.below_minor, *known))
    return sorted(out, key=lambda each: (each.account, each.currency))


def _of(
    read: Mapping[tuple[str, str, str], Reading], account: str, currency: str
) -> Reading | None:
    """What payouts leave from: the float, else what was collected."""
    return read.get((account, "float", currency)) or read.get((account, "collect", currency))


def _alarms(tx: sa.Connection, account: str | None) -> list[Alarm]:
    query = sa.select(_c.account, _c.currency, _c.below_minor, _c.reason, _c.actor, _c.at)
    if account is not None:
        query = query.where(_c.account == account)
    return [Alarm(*row) for row in tx.execute(query.order_by(_c.id.desc()))]


def _in_force(newest_first: Iterable[Alarm]) -> list[Alarm]:
    last: dict[tuple[str, str], Alarm] = {}
    for each in newest_first:
        last.setdefault((each.account, each.currency), each)
    return [each for each in last.values() if each.below_minor is not None]


def _key(account: str, currency: str) -> str:
    return f"{CASE_KIND}:{account}:{currency}"
