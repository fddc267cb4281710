"""Random files, sound and broken rows mixed: verdicts and balances are those of a plain model."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payctl.ledger.periods import Periods
from payctl.money import EXPONENTS
from tests.payments.import_kit import Row, balances, codes, load, row, write
from tests.payments.kit import OPERATOR, Kit

pytestmark = pytest.mark.integration

#: What is done to a sound row, and the code that must come of it.
BREAKAGES: Mapping[str, tuple[Row, str]] = {
    "decimals": ({"amount": "12.3", "currency": "EUR"}, "amount.decimals"),
    "currency": ({"currency": "QQQ"}, "currency.unknown"),
    "negative": ({"amount": "-5.00", "currency": "EUR"}, "amount.not_positive"),
    "overflow": ({"amount": "1000000000000.01", "currency": "EUR"}, "amount.too_large"),
    "settled": ({"settled": ""}, "import.missing_value"),
    "card": ({"description": "card 4111-1111-1111-1111"}, "pan.refused"),
    "gateway": ({"gateway": "nobody"}, "gateway.not_configured"),
    "future": ({"captured_at": "2027-01-01T00:00:00Z"}, "import.in_the_future"),
}
VAT = {"EUR": ("FR", Fraction(20, 100)), "XOF": ("CI", Fraction(18, 100))}


@dataclass
class Model:
    """A book in a dictionary: what a file must have done to it, in the simplest words."""

    seen: dict[str, Row] = field(default_factory=dict)
    references: set[tuple[str, str]] = field(default_factory=set)
    sums: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def take(self, each: Row) -> str:
        """``recorded``, ``already`` or the code of the refusal."""
        for change, code in BREAKAGES.values():
            if all(each.get(name) == value for name, value in change.items()):
                return code
        if each["key"] in self.seen:
            return "already" if self.seen[each["key"]] == each else "key.reused"
        if (each["gateway"], each["provider_reference"]) in self.references:
            return "import.reference_taken"
        self.seen[each["key"]] = each
        self.references.add((each["gateway"], each["provider_reference"]))
        self.post(each)
        return "recorded"

    def post(self, each: Row) -> None:
        currency, gateway, owner = each["currency"], each["gateway"], each["organiser"]
        amount = minor(each["amount"], currency)
        country, rate = VAT[currency]
        commission = half_up(Fraction(amount * 5, 100))
        vat = half_up(commission * rate)
        if commission + vat > amount:
            commission = half_up(amount / (1 + rate))
            vat = amount - commission
        left, came = amount - commission - vat, f"gateway:{gateway}:collect"
        owed = f"wallet:{owner}:pending"
        if each["settled"] == "yes":
            came = owed = "opening:migration"
        fee = minor(each["fee"], currency) if each["fee"] else 0
        for account, value in (
            (came, amount - fee), (f"expense:gateway_fee:{gateway}", fee), (owed, -left),
            ("income:commission:ticket_sale", -commission), (f"vat:{country}", -vat),
        ):  # fmt: skip
            self.sums[account, currency] += value


def minor(text: str, currency: str) -> int:
    return int(Fraction(text) * 10 ** EXPONENTS[currency])


def half_up(value: Fraction | int) -> int:
    return int(Fraction(value) + Fraction(1, 2))


@st.composite
def rows(draw: st.DrawFn) -> Row:
    currency = draw(st.sampled_from(sorted(VAT)))
    units = draw(st.integers(1, 20) | st.integers(1, 10**9))
    fee = draw(st.integers(0, 300))
    digits = EXPONENTS[currency]
    made = row(
        draw(st.sampled_from("abcdefgh")),
        amount=human(units, digits),
        currency=currency,
        gateway=draw(st.sampled_from(["cards", "momo"])),
        provider_reference=f"r{draw(st.integers(1, 12))}",
        captured_at=draw(st.sampled_from(["2026-09-30T23:59:59Z", "2026-10-02T00:00:00+02:00"])),
        organiser=draw(st.sampled_from(["org-1", "org-2"])),
        settled=draw(st.sampled_from(["yes", "no"])),
        fee=human(fee, digits) if fee else "",
    )
    if draw(st.integers(0, 3)) == 0:
        made |= BREAKAGES[draw(st.sampled_from(sorted(BREAKAGES)))][0]
    return made


def human(units: int, digits: int) -> str:
    whole, rest = divmod(units, 10**digits)
    return f"{whole}.{rest:0{digits}d}" if digits else str(whole)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_random_files_do_what_the_model_does(data: st.DataObject, kit: Kit, tmp_path: Path) -> None:
    model: Model = kit.__dict__.setdefault("model", Model())
    run = kit.__dict__.setdefault("runs", itertools.count())
    prefix = f"{next(run)}-"
    if prefix == "3-":
        Periods(kit.app.db, kit.app.book).close(OPERATOR, 202609)
    made = [
        {**each, "key": prefix + each["key"],
         "provider_reference": prefix + each["provider_reference"]}
        for each in data.draw(st.lists(rows(), min_size=1, max_size=25))
    ]  # fmt: skip
    form = data.draw(st.sampled_from(["csv", "jsonl"]))
    path = write(tmp_path / f"{prefix}.{form}", made)
    expected = [model.take(each) for each in made]
    report, refused = load(kit.app, path)
    assert codes(refused) == [code for code in expected if code not in ("recorded", "already")]
    assert (report.recorded, report.already) == tuple(map(expected.count, ("recorded", "already")))
    assert balances(kit.app) == {key: amount for key, amount in model.sums.items() if amount}
    again, _ = load(kit.app, path)
    assert (again.recorded, again.already) == (0, report.recorded + report.already)
    kit.check()
