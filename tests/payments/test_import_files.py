"""Import files as files: what is read of them, and the rejected rows beside them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.errors import InvalidInput, Unavailable
from payctl.payments.import_files import (
    MAX_LINE,
    Raw,
    _bare,
    open_source,
    rejects_file,
    safe,
    survey,
)
from payctl.payments.whole_file import whole_file
from tests.payments.import_kit import row, write

pytestmark = pytest.mark.unit


def lines(path: Path) -> list[Raw]:
    return list(open_source(path).rows())


def broken(path: Path) -> list[tuple[int, str | None]]:
    return [(each.line, each.error and each.error.code) for each in lines(path)]


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_the_delimiter_is_read_off_the_header(tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path / "a.csv", [row(description="a,b;c")], delimiter)
    assert lines(path)[0].cells == row(description="a,b;c")
    assert open_source(path, delimiter).delimiter == delimiter
    with pytest.raises(InvalidInput, match=r"choice\.unknown"):
        open_source(path, "|")


def test_broken_lines_are_told_apart_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [row("a")])
    text = path.read_text()
    good = text.splitlines()[1]
    path.write_bytes(
        text.encode() + f'{good},more\n"{good}"x\n\nshort\n'.encode()
        + good.replace("o-a", "o-\xff").encode("latin-1") + b"\n" + good.encode() + b"\n"
    )  # fmt: skip
    assert broken(path) == [
        (2, None), (3, "import.cells"), (4, "import.bad_line"), (6, "import.cells"),
        (7, "import.bad_text"), (8, None),
    ]  # fmt: skip


def test_an_open_quote_spoils_what_it_swallows_and_never_the_whole_file(tmp_path: Path) -> None:
    rows = [row(f"k{number}", description="x" * 300) for number in range(1000)]
    path = write(tmp_path / "a.csv", rows)
    text = path.read_text().replace("x" * 300, '"' + "x" * 300, 1)
    path.write_text(text)
    read = lines(path)
    assert [each.error.code for each in read if each.error] == ["import.bad_line"]
    assert 500 < len(read) < 900


def test_a_json_line_names_each_value_once_and_is_flat(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    sound = json.dumps(row())
    path.write_text(
        sound + "\n[1]\n" + sound[:-1] + ', "amount": "1.00"}\n' + "[" * 30000 + "\n"
        + json.dumps({**row(), "order": ["a"]}) + "\n" + json.dumps({**row(), "order": True})
        + "\n" + json.dumps({**row(), "settled": True, "amount": None}) + "\n"
    )  # fmt: skip
    assert broken(path) == [
        (1, None), (2, "import.bad_line"), (3, "import.bad_line"), (4, "import.bad_line"),
        (5, "import.bad_value"), (6, "import.bad_value"), (7, None),
    ]  # fmt: skip
    assert lines(path)[-1].cells["settled"] == "yes"
    assert "amount" not in lines(path)[-1].cells


def test_a_line_without_end_is_cut_and_the_next_one_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    long = json.dumps(row(description="x" * MAX_LINE * 3))
    path.write_text(f"{long}\n{json.dumps(row())}\n")
    assert broken(path) == [(1, "import.bad_line"), (2, None)]


def test_the_survey_counts_rows_and_adds_up_what_it_can_read(tmp_path: Path) -> None:
    rows = [row("a"), row("b", amount="1.50"), row("c", amount="1"),
            row("d", amount="7", currency="XOF")]  # fmt: skip
    seen = survey(open_source(write(tmp_path / "a.csv", rows)))
    assert (seen.rows, seen.totals) == (4, {"EUR": (2, 10150), "XOF": (1, 7)})


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a.xlsx", "key", "import.unknown_format"),
        ("a.csv", "", "import.empty"),
        ("a.csv", "key,key\n", "import.repeated_column"),
        ("missing.csv", None, "import.unreadable"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why(
    tmp_path: Path, name: str, text: str | None, code: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput) as caught:
        open_source(tmp_path / name)
    assert caught.value.code == code


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_rejected_rows_can_be_corrected_and_read_again(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / f"a.{form}", [row(description="=1+1"), row("b", order="o\n2")])
    kept = tmp_path / f"rejects.{form}"
    source = open_source(path)
    with rejects_file(source, kept) as rejects:
        for raw in source.rows():
            rejects.add(raw, "x.y", "why, exactly")
    again = lines(kept)
    cells = [{k: v for k, v in each.cells.items() if v} for each in again]
    first = next(iter(source.rows())).line
    assert cells[0] == {
        **row(description="=1+1"), "line": str(first), "error": "x.y", "message": "why, exactly",
    }  # fmt: skip
    assert oct(kept.stat().st_mode)[-3:] == "600"
    with rejects_file(source, kept):
        pass
    assert not kept.exists(), "a run without rejected rows leaves no file of an earlier one"


def test_no_card_number_reaches_the_file_of_rejected_rows(tmp_path: Path) -> None:
    rows = [row(description="4242 4242 4242 4242")]
    for form in ("csv", "jsonl"):
        source = open_source(write(tmp_path / f"a.{form}", rows))
        if form == "jsonl":
            with source.path.open("a") as file:
                file.write("{4242424242424242\n")
        kept = tmp_path / f"r.{form}"
        with rejects_file(source, kept) as rejects:
            for raw in source.rows():
                rejects.add(raw, "pan.refused", "a card number")
        text = kept.read_text()
        assert "4242" in text and "4242424242424242" not in text.replace(" ", "")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_a_cell_made_safe_for_a_spreadsheet_is_read_back(text: str) -> None:
    assert _bare("description", safe("description", text)) == text
    assert not safe("description", text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("before")
    with pytest.raises(RuntimeError), whole_file(path) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    with whole_file(path) as file:
        csv.writer(file).writerow(["after"])
    assert path.read_bytes() == b"after\r\n"
    with pytest.raises(Unavailable), whole_file(tmp_path / "none" / "a.csv"):
        pass
