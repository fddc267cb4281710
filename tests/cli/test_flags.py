"""Global flags mean the same wherever they stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.cli.flags import NAMES, Flags, hoist
from payctl.errors import InvalidInput

pytestmark = pytest.mark.unit

#: Each as it is typed, and the field it fills.
TYPED = [
    (["--profile", "live"], "profile", "live"),
    (["--profile=live"], "profile", "live"),
    (["-o", "csv"], "output", "csv"),
    (["-ocsv"], "output", "csv"),
    (["--output=csv"], "output", "csv"),
    (["--json"], "output", "json"),
    (["--fields", "id, status"], "fields", ("id", "status")),
    (["-q"], "quiet", True),
    (["--quiet"], "quiet", True),
    (["-v"], "verbose", 1),
    (["-vv"], "verbose", 2),
    (["--debug"], "debug", True),
    (["--no-color"], "no_color", True),
    (["--no-input"], "no_input", True),
    (["--lang", "fr"], "lang", "fr"),
    (["--tz", "Europe/Paris"], "tz", "Europe/Paris"),
    (["--config", "x.toml"], "config", "x.toml"),
    (["--csv-dialect", "fr"], "csv_dialect", "fr"),
]
WORDS = st.sampled_from(
    ["payments", "list", "--status", "failed", "pay_1", "-", "--amount", "-5", "--description=-q"]
)


@given(
    words=st.lists(WORDS, max_size=6),
    chosen=st.lists(st.sampled_from(TYPED), max_size=5, unique_by=lambda each: each[1]),
    seed=st.randoms(use_true_random=False),
)
def test_any_position_gives_the_same_flags_and_rest(words, chosen, seed) -> None:  # type: ignore[no-untyped-def]
    line: list[list[str]] = [[word] for word in words]
    for typed, _, _ in chosen:
        line.insert(seed.randint(0, len(line)), typed)
    flags, rest = hoist([word for group in line for word in group])
    assert rest == words
    for _, name, value in chosen:
        assert getattr(flags, name) == value
    untouched = {name for _, name, _ in TYPED} - {name for _, name, _ in chosen}
    assert all(getattr(flags, name) == getattr(Flags(), name) for name in untouched)


def test_after_a_lone_dash_dash_nothing_is_taken() -> None:
    assert hoist(["trace", "--", "--json", "-q"]) == (Flags(), ["trace", "--", "--json", "-q"])


def test_every_known_name_is_typed_in_this_test() -> None:
    seen = {word.partition("=")[0] for typed, _, _ in TYPED for word in typed}
    assert NAMES - seen <= {"--verbose"}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (["--profile"], "flag.needs_value"),
        (["--profile="], "flag.needs_value"),
        (["-o", "xml"], "flag.bad_choice"),
        (["--lang", "de"], "flag.bad_choice"),
        (["--csv-dialect=us"], "flag.bad_choice"),
    ],
)
def test_a_bad_global_flag_is_named(line: list[str], code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        hoist(line)
    assert caught.value.code == code
