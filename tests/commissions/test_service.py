"""The rate table on both engines: seeds, dated history, refusals, audit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.commissions.model import Rate, Scope
from payctl.commissions.service import Commissions
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.tables import audit
from payctl.errors import Conflict, Forbidden, InvalidInput, NotConfigured

pytestmark = pytest.mark.integration

FINANCE = Actor("fatou", frozenset({"finance"}))
EUR = Scope("ticket_sale", currency="EUR")


@pytest.fixture
def commissions(db: Database) -> Commissions:
    return Commissions(db)


def found(
    db: Database,
    currency: str = "EUR",
    organiser: str = "org-1",
    country: str | None = None,
    at: datetime | None = None,
    sale_type: str = "ticket_sale",
) -> Rate:
    with db.read() as tx:
        return Commissions(db).rate_for(
            tx, sale_type=sale_type, organiser=organiser, currency=currency, country=country,
            at=at or db.clock.now(),
        )  # fmt: skip


def set_rate(commissions: Commissions, scope: Scope = EUR, **given: object) -> Rate:
    values: dict[str, object] = {
        "rate_ppm": 40_000, "vat_country": "FR", "vat_ppm": 200_000, "reason": "new price list",
        **given,
    }  # fmt: skip
    return commissions.set_rate(FINANCE, scope, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sale_type", "currency", "expected"),
    [
        ("ticket_sale", "EUR", (50_000, "FR", 200_000)),
        ("ticket_sale", "XOF", (50_000, "CI", 180_000)),
        ("ticket_sale", "XAF", (50_000, "CM", 192_500)),
        ("template_sale", "EUR", (300_000, "FR", 200_000)),
        ("template_sale", "XOF", (300_000, "CI", 180_000)),
        ("template_sale", "XAF", (300_000, "CM", 192_500)),
    ],
)
def test_a_fresh_book_has_rates(
    db: Database, sale_type: str, currency: str, expected: tuple[int, str, int]
) -> None:
    rate = found(db, currency, sale_type=sale_type)
    assert (rate.rate_ppm, rate.vat_country, rate.vat_ppm) == expected


def test_other_currencies_have_none_until_set(db: Database, commissions: Commissions) -> None:
    with pytest.raises(NotConfigured) as error:
        found(db, "TND")
    assert error.value.code == "commission.no_rate"
    set_rate(commissions, Scope("ticket_sale", currency="TND"), vat_country="TN", vat_ppm=190_000)
    assert found(db, "TND").vat_ppm == 190_000


def test_the_most_specific_wins(db: Database, commissions: Commissions) -> None:
    set_rate(commissions, Scope("ticket_sale", country="SN"), rate_ppm=1)
    set_rate(commissions, Scope("ticket_sale", currency="EUR", country="SN"), rate_ppm=2)
    set_rate(commissions, Scope("ticket_sale", "org-1"), rate_ppm=3)
    assert found(db, organiser="org-2").rate_ppm == 50_000
    assert found(db, "XOF", "org-2", "SN").rate_ppm == 1
    assert found(db, "EUR", "org-2", "SN").rate_ppm == 2
    assert found(db, "EUR", "org-1", "SN").rate_ppm == 3
    assert found(db, sale_type="template_sale").rate_ppm == 300_000


def test_history_supersedes_and_never_rewrites(
    db: Database, commissions: Commissions, clock: ManualClock
) -> None:
    start = clock.now()
    clock.advance(timedelta(days=1))
    set_rate(commissions, rate_ppm=40_000)
    set_rate(commissions, rate_ppm=30_000, valid_from=clock.now() + timedelta(days=30))
    assert found(db).rate_ppm == 40_000
    assert found(db, at=start).rate_ppm == 50_000
    assert found(db, at=clock.now() + timedelta(days=31)).rate_ppm == 30_000
    rows = commissions.history(sale_type="ticket_sale")
    assert [row.rate_ppm for row in rows if row.scope == EUR] == [30_000, 40_000, 50_000]
    assert [row.rate_ppm for row in commissions.rates() if row.scope == EUR] == [40_000]


def test_a_withdrawn_scope_falls_back(
    db: Database, commissions: Commissions, clock: ManualClock
) -> None:
    scope = Scope("ticket_sale", "org-1")
    set_rate(commissions, scope, rate_ppm=10_000)
    assert found(db).rate_ppm == 10_000
    clock.advance(timedelta(seconds=1))
    set_rate(commissions, scope, withdrawn=True)
    assert found(db).rate_ppm == 50_000
    assert scope not in [rate.scope for rate in commissions.rates()]


def test_bounds_reach_the_split(db: Database, commissions: Commissions) -> None:
    set_rate(commissions, minimum_minor=100, maximum_minor=2_000)
    rate = found(db)
    assert commissions.split(rate, 1_000).commission_minor == 100
    assert commissions.split(rate, 1_000_000).commission_minor == 2_000
    assert commissions.give_back(rate, 1_000, 0, 1_000) == commissions.split(rate, 1_000)


def test_one_moment_has_one_rate(commissions: Commissions, clock: ManualClock) -> None:
    at = clock.now() + timedelta(days=1)
    set_rate(commissions, valid_from=at)
    with pytest.raises(Conflict) as error:
        set_rate(commissions, valid_from=at, rate_ppm=1)
    assert error.value.code == "commission.same_moment"


@pytest.mark.parametrize(
    ("scope", "given", "code"),
    [
        (EUR, {"rate_ppm": -1}, "commission.bad_rate"),
        (EUR, {"rate_ppm": 1_000_001}, "commission.bad_rate"),
        (EUR, {"vat_ppm": -1}, "commission.bad_vat"),
        (EUR, {"vat_country": None}, "commission.bad_vat"),
        (EUR, {"vat_country": "XX"}, "country.unknown"),
        (EUR, {"minimum_minor": 2, "maximum_minor": 1}, "commission.bad_bounds"),
        (EUR, {"minimum_minor": -1}, "commission.bad_bounds"),
        (Scope("ticket_sale"), {"minimum_minor": 1}, "commission.bounds_need_currency"),
        (Scope("other"), {}, "commission.unknown_sale_type"),
        (Scope("ticket_sale", currency="EURO"), {}, "currency.unknown"),
        (Scope("ticket_sale", country="France"), {}, "country.unknown"),
        (Scope("ticket_sale", "o" * 201), {}, "text.too_long"),
        (EUR, {"reason": "  "}, "reason.missing"),
        (EUR, {"reason": "x" * 201}, "text.too_long"),
        (EUR, {"valid_from": datetime(2026, 11, 1, tzinfo=UTC)}, "commission.in_the_past"),
    ],
)
def test_bad_rates_are_refused(
    commissions: Commissions, scope: Scope, given: dict[str, object], code: str
) -> None:
    before = commissions.history()
    with pytest.raises(InvalidInput) as error:
        set_rate(commissions, scope, **given)
    assert error.value.code == code
    assert commissions.history() == before


def test_who_may_set(commissions: Commissions) -> None:
    with pytest.raises(Forbidden):
        commissions.set_rate(
            Actor("sam", frozenset({"support"})), EUR, rate_ppm=1, vat_country=None, vat_ppm=0,
            reason="x",
        )  # fmt: skip
    with pytest.raises(Forbidden):
        commissions.set_role(Actor("sam", frozenset({"viewer"})), "ticket_sale", "agent", "x")


def test_setting_is_audited_and_a_dry_run_leaves_nothing(
    db: Database, commissions: Commissions
) -> None:
    shown = set_rate(commissions, dry_run=True)
    assert shown.rate_ppm == 40_000
    assert found(db).rate_ppm == 50_000
    rate = set_rate(commissions)
    with db.read() as tx:
        rows = tx.execute(sa.select(audit.c.action, audit.c.subject_id, audit.c.reason)).all()
    assert [tuple(row) for row in rows] == [("commission.rate_set", rate.id, "new price list")]


def test_rows_cannot_be_changed(db: Database) -> None:
    for table in ("commission_rate", "commission_role"):
        for statement in (f"UPDATE {table} SET reason = 'x'", f"DELETE FROM {table}"):
            with pytest.raises(sa.exc.DatabaseError, match="append-only"), db.transaction() as tx:
                tx.execute(sa.text(statement))


def test_roles(db: Database, commissions: Commissions, clock: ManualClock) -> None:
    start = clock.now()
    clock.advance(timedelta(days=1))
    commissions.set_role(FINANCE, "template_sale", "principal", "tax ruling")
    with db.read() as tx:
        assert commissions.role(tx, "template_sale", start) == "agent"
        assert commissions.role(tx, "template_sale", clock.now()) == "principal"
        assert commissions.role(tx, "ticket_sale", clock.now()) == "agent"
    assert [row.role for row in commissions.roles() if row.sale_type == "template_sale"] == [
        "principal",
        "agent",
    ]
    with pytest.raises(InvalidInput) as error:
        commissions.set_role(FINANCE, "template_sale", "owner", "x")
    assert error.value.code == "commission.unknown_role"
    with pytest.raises(Conflict):
        commissions.set_role(FINANCE, "template_sale", "agent", "at the same moment")
