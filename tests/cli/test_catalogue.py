"""Every error has its sentences, in both languages, and none is left over."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import jobs
import payctl
from payctl.cli import codes
from payctl.cli.messages import catalogue, label, placeholders, render, say
from payctl.errors import InvalidInput, NotFound

pytestmark = pytest.mark.unit

SOURCE = Path(str(payctl.__file__)).parent
FOLDERS = (SOURCE, Path(str(jobs.__file__)).parent)
EN, FR = catalogue("en"), catalogue("fr")
PARTS = ("text", "money", "next")
#: Places where the code is a variable: the codes themselves stand in a table beside them.
VARIABLE = {"db/unavailable.py"}


USES = [use for folder in FOLDERS for use in codes.uses(folder)]
RAISED = {use.code for use in USES if use.code in EN}


def is_error(code: str) -> bool:
    """Entries of one part only are sentences; an error that is raised must have all three."""
    return code in RAISED or len(EN[code]) > 1


def test_both_languages_have_the_same_codes() -> None:
    # English headings are the keys themselves.
    assert set(EN) == {code for code in FR if not code.startswith("label.")}


@pytest.mark.parametrize("code", sorted(filter(is_error, EN)))
def test_an_error_says_all_three_things_in_both_languages(code: str) -> None:
    for part in PARTS:
        english, french = EN[code][part], FR[code][part]
        assert english.strip() and french.strip(), part
        assert placeholders(english) == placeholders(french), part


def test_sentences_that_are_no_errors_have_equal_placeholders() -> None:
    for code in EN:
        if not is_error(code):
            assert placeholders(EN[code]["text"]) == placeholders(FR[code]["text"]), code


def test_every_code_the_source_raises_has_an_entry() -> None:
    assert len(USES) > 100, "the walk sees the source"
    missing = sorted(
        {f"{use.code} ({use.file})" for use in USES if use.code and use.code not in EN}
    )
    assert missing == []


def test_codes_are_written_out_where_they_are_raised() -> None:
    hidden = {f"{use.file}:{use.line}" for use in USES if use.code is None}
    assert {place for place in hidden if place.partition(":")[0] not in VARIABLE} == set()


def test_no_entry_is_left_over() -> None:
    written = {
        node.value
        for folder in FOLDERS
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert sorted(code for code in EN if is_error(code) and code not in written) == []
    spoken = {code for code in EN if not is_error(code)}
    assert sorted(spoken - written - {f"ui.{word}" for word in written}) == []


def test_a_walk_finds_a_code_without_an_entry(tmp_path: Path) -> None:
    (tmp_path / "thing.py").write_text(
        "class Mine(PayctlError):\n    pass\n"
        "def a():\n    raise NotFound('no.entry', id=1)\n"
        "def b():\n    raise errors.Conflict('x.y' if a else 'x.z')\n"
        "def c():\n    raise Mine(code)\n"
    )
    found = [(use.code, use.kind, use.exit_code) for use in codes.uses(tmp_path)]
    assert set(found) == {
        (None, "Mine", 130),
        ("no.entry", "NotFound", 3),
        ("x.y", "Conflict", 5),
        ("x.z", "Conflict", 5),
    }


def test_parameters_and_field_are_filled_in() -> None:
    error = InvalidInput("amount.missing", field="amount", currency="EUR")
    assert "EUR" in render(error, "en").text
    assert "EUR" in render(error, "fr").text
    missing = render(NotFound("amount.missing"), "en").text
    assert "-" in missing and "{" not in missing


def test_an_unknown_code_still_says_what_it_is() -> None:
    message = render(NotFound("thing.unheard_of", id="x1"), "en")
    assert message.text == "thing.unheard_of (id=x1)"


def test_labels_are_the_keys_in_english_and_translated_where_known() -> None:
    assert label("refunded_minor", "en") == "refunded"
    assert label("created_at", "fr") == "créé le"
    assert label("something_else", "fr") == "something else"
    assert say("undo", "fr", command="x") == "pour annuler : x"
