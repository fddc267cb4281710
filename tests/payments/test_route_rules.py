"""Rules: what they match, and how a mistake in a rule file is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.errors import InvalidInput
from payctl.payments.candidates import RouteRequest
from payctl.payments.route_rule_file import read_file
from payctl.payments.route_rules import WEEKDAYS, Rule, from_json

pytestmark = pytest.mark.unit
KNOWN = frozenset({"stripe", "stripe-eu", "mtn-ci", "orange-ci"})
MONDAY = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)

GOOD = """
# Comments and order are the author's.
[[rule]]
name = "mobile money in Abidjan"
prefer = ["mtn-ci", "orange-ci"]
countries = ["CI"]
currencies = ["XOF"]
methods = ["mobile_money"]
organisers = ["org-1"]
phone_prefixes = ["+22505"]
amount_min = "1000"
amount_max = "500000"

[[rule]]
name = "night"
exclude = ["mtn-ci"]
hours = "22:00-06:00"
weekdays = ["sat", "sun"]
timezone = "Africa/Abidjan"
valid_from = 2026-11-01
valid_until = 2027-01-01T00:00:00+01:00
enabled = false
"""


def request(**values: Any) -> RouteRequest:
    base: dict[str, Any] = {
        "amount_minor": 5000, "currency": "XOF", "at": MONDAY, "country": "CI",
        "method": "mobile_money", "organiser": "org-1", "phone": "+2250501020304",
    }  # fmt: skip
    return RouteRequest(**(base | values))


def load(tmp_path: Path, text: str) -> tuple[Rule, ...]:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return read_file(path, KNOWN)


def test_a_whole_file(tmp_path: Path) -> None:
    first, second = load(tmp_path, GOOD)
    assert first == Rule(
        name="mobile money in Abidjan", effect="prefer", gateways=("mtn-ci", "orange-ci"),
        countries=("CI",), currencies=("XOF",), methods=("mobile_money",), organisers=("org-1",),
        phone_prefixes=("+22505",), min_minor=1000, max_minor=500_000,
    )  # fmt: skip
    assert second.valid_from == datetime(2026, 11, 1, tzinfo=UTC)
    assert second.valid_until == datetime(2026, 12, 31, 23, tzinfo=UTC)
    assert not second.enabled
    assert [from_json(each.as_json()) for each in (first, second)] == [first, second]


@pytest.mark.parametrize(
    "other",
    [
        {"amount_minor": 999},
        {"amount_minor": 500_001},
        {"currency": "XAF"},
        {"country": "SN"},
        {"country": None},
        {"method": "card"},
        {"organiser": "org-2"},
        {"phone": "+2250701020304"},
        {"phone": None},
    ],
)
def test_every_condition_must_hold(tmp_path: Path, other: dict[str, Any]) -> None:
    rule = load(tmp_path, GOOD)[0]
    assert rule.matches(request())
    assert not rule.matches(request(**other))


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 13), st.booleans())
def test_hours_may_cross_midnight_and_their_end_is_excluded(
    hour: int, minute: int, day: int, wraps: bool
) -> None:
    at = MONDAY.replace(hour=hour, minute=minute) + timedelta(days=day)
    hours = "22:00-06:30" if wraps else "06:30-22:00"
    passed = hour * 60 + minute
    inside = 6 * 60 + 30 <= passed < 22 * 60
    rule = Rule("r", "only", ("x",), hours=hours, weekdays=(WEEKDAYS[day % 7],))
    assert rule.matches(request(at=at)) is (inside is not wraps)
    assert not rule.matches(request(at=at + timedelta(days=1)))


def test_hours_are_read_in_the_rules_zone_across_a_clock_change() -> None:
    rule = Rule("r", "only", ("x",), hours="08:00-09:00", timezone="Europe/Paris")
    assert rule.matches(request(at=datetime(2026, 7, 1, 6, 30, tzinfo=UTC)))
    assert rule.matches(request(at=datetime(2026, 12, 1, 7, 30, tzinfo=UTC)))
    assert not rule.matches(request(at=datetime(2026, 12, 1, 6, 30, tzinfo=UTC)))


def test_a_rule_is_valid_from_its_first_to_before_its_last_moment() -> None:
    rule = Rule("r", "only", ("x",), valid_from=MONDAY, valid_until=MONDAY + timedelta(hours=1))
    assert rule.matches(request(at=MONDAY))
    assert not rule.matches(request(at=MONDAY - timedelta(microseconds=1)))
    assert not rule.matches(request(at=MONDAY + timedelta(hours=1)))


BAD = [
    ('prefer = ["stripe"]', "route.rule_unnamed", 2),
    ('name = ""\nprefer = ["stripe"]', "route.rule_value", 3),
    ('name = "r"', "route.rule_effect", 2),
    ('name = "r"\nprefer = ["stripe"]\nonly = ["stripe"]', "route.rule_effect", 5),
    ('name = "r"\nprefer = []', "route.rule_effect", 4),
    ('name = "r"\nprefer = ["strype"]', "route.rule_gateway", 4),
    ('name = "r"\nprefer = "stripe"', "route.rule_value", 4),
    ('name = "r"\nprefer = ["stripe"]\ncountry = ["CI"]', "route.rule_key", 5),
    ('name = "r"\nprefer = ["stripe"]\ncountries = ["CIV"]', "route.rule_value", 5),
    ('name = "r"\nprefer = ["stripe"]\ncurrencies = ["CFA"]', "route.rule_value", 5),
    ('name = "r"\nprefer = ["stripe"]\nmethods = ["momo"]', "route.rule_value", 5),
    ('name = "r"\nprefer = ["stripe"]\norganisers = ["a b"]', "route.rule_value", 5),
    ('name = "r"\nprefer = ["stripe"]\nphone_prefixes = ["07"]', "route.rule_value", 5),
    ('name = "r"\nprefer = ["stripe"]\namount_min = "10"', "route.rule_band", 5),
    ('name = "r"\nprefer = ["stripe"]\ncurrencies = ["EUR", "USD"]\namount_max = "1.00"',
     "route.rule_band", 6),
    ('name = "r"\nprefer = ["stripe"]\ncurrencies = ["EUR"]\namount_max = "25"',
     "route.rule_value", 6),
    ('name = "r"\nprefer = ["stripe"]\ncurrencies = ["XOF"]\namount_max = 25',
     "route.rule_value", 6),
    ('name = "r"\nprefer = ["stripe"]\ncurrencies = ["XOF"]\namount_min = "9"\namount_max = "8"',
     "route.rule_empty_band", 7),
    ('name = "r"\nprefer = ["stripe"]\nhours = "6-22"', "route.rule_value", 5),
    ('name = "r"\nprefer = ["stripe"]\nhours = "06:00-06:00"', "route.rule_value", 5),
    ('name = "r"\nprefer = ["stripe"]\nweekdays = ["monday"]', "route.rule_value", 5),
    ('name = "r"\nprefer = ["stripe"]\ntimezone = "Abidjan"', "route.rule_value", 5),
    ('name = "r"\nprefer = ["stripe"]\ntimezone = "../../etc/passwd"', "route.rule_value", 5),
    ('name = "r"\nprefer = ["stripe"]\nvalid_from = "2026-11-01"', "route.rule_value", 5),
    ('name = "r"\nprefer = ["stripe"]\nvalid_from = 2026-11-01T10:00:00', "route.rule_value", 5),
    ('name = "r"\nprefer = ["stripe"]\nvalid_from = 2026-11-02\nvalid_until = 2026-11-01',
     "route.rule_empty_band", 6),
    ('name = "r"\nprefer = ["stripe"]\nenabled = "no"', "route.rule_value", 5),
    ('name = "r"\nprefer = ["stripe"]\n[[rule]]\nname = "r"\nonly = ["stripe"]',
     "route.rule_twice", 6),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code", "line"), BAD)
def test_a_mistake_is_named_with_its_rule_field_and_line(
    tmp_path: Path, body: str, code: str, line: int
) -> None:
    with pytest.raises(InvalidInput) as wrong:
        load(tmp_path, f"\n[[rule]]\n{body}\n")
    assert wrong.value.code == code
    assert wrong.value.params["where"] == f"rules.toml:{line}"
    assert (wrong.value.field or "").startswith("rule")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[[rule]\n", "route.file_syntax"),
        ('[[rules]]\nname = "r"\n', "route.file_shape"),
        ('rule = "r"\n', "route.file_shape"),
        ("[rule]\nname = 'r'\n", "route.file_shape"),
    ],
)
def test_a_file_that_is_no_rule_file(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        load(tmp_path, text)
    assert wrong.value.code == code


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(InvalidInput) as wrong:
            read_file(path, KNOWN)
        assert wrong.value.code == "route.file_unreadable"
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput) as wrong:
        read_file(binary, KNOWN)
    assert wrong.value.code == "route.file_unreadable"


def test_an_empty_file_is_an_empty_list(tmp_path: Path) -> None:
    assert load(tmp_path, "# nothing yet\n") == ()


def test_no_more_rules_than_a_person_can_read(tmp_path: Path) -> None:
    many = "".join(f'[[rule]]\nname = "r{n}"\nonly = ["stripe"]\n' for n in range(201))
    with pytest.raises(InvalidInput) as wrong:
        load(tmp_path, many)
    assert wrong.value.code == "route.too_many"
