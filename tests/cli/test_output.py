"""The five formats, from the same data."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.cli import output, session
from payctl.cli.cells import Column, Section, escaped, human, machine_columns, sparkline, to_json
from payctl.cli.entries import emit_entries, entries_json
from payctl.cli.flags import Flags
from payctl.cli.session import Session
from payctl.cli.tables import Strip, fitted, widths
from payctl.errors import InvalidInput
from payctl.ledger.model import Draft, cr, dr
from tests.cli.schemas import check

pytestmark = pytest.mark.unit

AT = datetime(2026, 11, 2, 9, 0, 5, tzinfo=UTC)
ITEMS: list[dict[str, Any]] = [
    {
        "id": f"pay_{n:026}",
        "status": "succeeded",
        "amount_minor": 123456 + n,
        "currency": currency,
        "refunded_minor": 100,
        "description": text,
        "created_at": AT,
        "gateway": None,
    }
    for n, (currency, text) in enumerate([("EUR", "=SUM(A1)"), ("XOF", "tab\there\nand [bold]")])
]
COLUMNS = (
    Column("id", "id", rank=0),
    Column("status", "state"),
    Column("amount_minor", "money", rank=0),
    Column("refunded_minor", "money", rank=4),
    Column("description", rank=2),
    Column("created_at", "time", rank=3),
    Column("gateway", rank=1),
)


@pytest.fixture
def use() -> Iterator[Any]:
    def chosen(**flags: Any) -> Session:
        environ = {"HOME": "/nonexistent", "LANG": "C"}
        run = Session(flags=Flags(**flags), environ=environ)
        session.use(run)
        return run

    yield chosen
    session.use(None)


def listed(capsys: pytest.CaptureFixture[str], **more: Any) -> tuple[str, str]:
    output.emit_list(ITEMS, "payctl.payments/1", COLUMNS, **more)
    return capsys.readouterr()


def test_plain_is_the_default_when_piped_and_escapes_what_breaks_lines(
    use: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    use()
    out, err = listed(capsys)
    first, second = out.splitlines()
    assert first.split("\t")[:6] == [
        ITEMS[0]["id"], "succeeded", "1234.56", "EUR", "1.00", "=SUM(A1)",
    ]  # fmt: skip
    assert second.split("\t")[2:6] == ["123457", "XOF", "100", "tab\\there\\nand [bold]"]
    assert first.split("\t")[6] == "2026-11-02T09:00:05.000Z"
    assert err == ""


def test_json_is_one_document_with_schema_items_and_next(
    use: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    use(output="json")
    out, err = listed(capsys, next_cursor="c1", extra={"totals": [{"currency": "EUR"}]})
    document = json.loads(out)
    assert list(document) == ["schema", "items", "totals", "next"]
    assert document["next"] == "c1"
    assert document["items"][0] == {**ITEMS[0], "created_at": "2026-11-02T09:00:05.000Z"}
    assert "--after c1" in err


def test_an_empty_json_list_is_still_a_document(
    use: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    use(output="json")
    output.emit_list([], "payctl.payments/1", COLUMNS)
    assert json.loads(capsys.readouterr().out) == {
        "schema": "payctl.payments/1", "items": [], "next": None,
    }  # fmt: skip


def test_jsonl_streams_one_object_a_line(use: Any, capsys: pytest.CaptureFixture[str]) -> None:
    use(output="jsonl")
    seen: list[str] = []

    def items() -> Iterator[dict[str, Any]]:
        for item in ITEMS:
            seen.append(capsys.readouterr().out)
            yield item

    output.emit_list(items(), "payctl.payments/1", COLUMNS)
    assert json.loads(seen[1])["id"] == ITEMS[0]["id"], "printed before the second was made"
    assert json.loads(capsys.readouterr().out)["id"] == ITEMS[1]["id"]


def test_csv_splits_money_from_currency_and_disarms_formulas(
    use: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    use(output="csv")
    out, _ = listed(capsys)
    heading, first, second = csv.reader(io.StringIO(out, newline=""))
    assert heading == [
        "id", "status", "amount", "currency", "refunded", "description", "created_at", "gateway",
    ]  # fmt: skip
    assert first[2:6] == ["1234.56", "EUR", "1.00", "'=SUM(A1)"]
    assert second[5] == "tab\there\nand [bold]"


def test_a_negative_amount_in_csv_stays_a_number(
    use: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    use(output="csv")
    item = {"id": "x", "amount_minor": -250, "currency": "EUR"}
    output.emit(item, "s/1", (Column("id"), Column("amount_minor", "money")))
    assert capsys.readouterr().out.splitlines()[1] == "x,-2.50,EUR"


def test_french_csv_opens_in_a_french_spreadsheet(
    use: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    use(output="csv", csv_dialect="fr")
    out, _ = listed(capsys)
    assert out.startswith("\ufeffid;status;amount;")
    assert ";1234,56;EUR;1,00;" in out


@pytest.mark.parametrize("columns", ["80", "60", "200"])
def test_a_table_fits_and_never_cuts_ids_or_money(
    use: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    use(output="table", tz="Africa/Abidjan")
    out, err = listed(capsys)
    assert max(map(len, out.splitlines())) <= int(columns)
    assert ITEMS[0]["id"] in out
    assert "1 234.56 EUR" in out and "123 457 XOF" in out
    if columns == "200":
        assert "2026-11-02 09:00:05" in out and "[bold]" in out
    else:
        assert "not shown" in err and "refunded" in err


def test_quiet_prints_ids_only(use: Any, capsys: pytest.CaptureFixture[str]) -> None:
    use(quiet=True)
    out, err = listed(capsys, next_cursor="c2")
    assert out.split() == [item["id"] for item in ITEMS]
    assert "c2" in err, "a cut list says so even then"
    output.emit(ITEMS[0], "payctl.payment/1")
    assert capsys.readouterr().out.strip() == ITEMS[0]["id"]


def test_fields_choose_and_order(use: Any, capsys: pytest.CaptureFixture[str]) -> None:
    use(fields=("currency", "id"))
    assert listed(capsys)[0].splitlines()[0] == f"EUR\t{ITEMS[0]['id']}"
    use(fields=("currency", "id"), output="json")
    assert json.loads(listed(capsys)[0])["items"][0] == {"currency": "EUR", "id": ITEMS[0]["id"]}
    output.emit(ITEMS[0], "payctl.payment/1")
    assert list(json.loads(capsys.readouterr().out)) == ["currency", "id"]


@pytest.mark.parametrize("chosen", ["plain", "json", "jsonl", "csv", "table"])
def test_an_unknown_field_is_refused_with_the_known_ones(use: Any, chosen: str) -> None:
    use(fields=("nonsense",), output=chosen)
    with pytest.raises(InvalidInput) as caught:
        output.emit_list(ITEMS, "payctl.payments/1", COLUMNS)
    assert caught.value.code == "output.unknown_field"
    assert "amount_minor" in str(caught.value.params["available"])


def test_one_object_for_people_shows_its_lines_and_its_lists(
    use: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    use(output="table", tz="Africa/Abidjan", lang="fr")
    view = (Column("id", "id"), Column("amount_minor", "money"), Section("lines", (Column("n"),)))
    output.emit({**ITEMS[0], "lines": [{"n": "first"}, {"n": "second"}]}, "p/1", view)
    out = capsys.readouterr().out
    assert "montant" in out and "1 234.56 EUR" in out and "second" in out


def test_entries_show_debits_first_and_balance(
    use: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = Draft(
        "refund",
        "k",
        (cr("collect:stripe", 2500, "EUR"), dr("wallet:org-1:pending", 2500, "EUR")),
        "a",
    )
    lines = entries_json([draft])
    assert [(line["side"], line["amount_minor"]) for line in lines] == [("Dr", 2500), ("Cr", 2500)]
    use(output="json")
    emit_entries([draft])
    check(json.loads(capsys.readouterr().out))


def test_a_uuid_or_a_float_has_no_form_in_json() -> None:
    for value in (uuid4(), 1.5, float("nan"), {"x": [0.1]}):
        with pytest.raises(TypeError):
            to_json(value)


def test_money_of_an_unknown_currency_key_is_left_as_it_is() -> None:
    from zoneinfo import ZoneInfo

    assert human({"x_minor": 5}, Column("x_minor", "money"), ZoneInfo("UTC")) == "5"


def test_each_currency_column_is_named_once() -> None:
    named = [name for name, _ in machine_columns(COLUMNS)]
    assert len(named) == len(set(named))


STRIPS = st.lists(
    st.builds(
        Strip,
        st.text("abc", min_size=1, max_size=12),
        st.lists(st.text("xyz ", max_size=40), min_size=2, max_size=2),
        st.sampled_from(["text", "id", "money", "long"]),
        st.integers(1, 4),
    ),
    min_size=1,
    max_size=8,
)


@given(strips=STRIPS, width=st.integers(60, 200))
def test_what_is_kept_fits_and_the_rest_went_by_rank(strips: list[Strip], width: int) -> None:
    kept = fitted(strips, width)
    sizes = widths(kept, width)
    assert sum(sizes) + 2 * (len(kept) - 1) <= width
    for strip, size in zip(kept, sizes, strict=True):
        assert strip.least <= size <= strip.natural
    dropped = [strip for strip in strips if strip not in kept]
    if dropped and kept:
        assert min(s.rank for s in dropped) >= max(s.rank for s in kept) or len(kept) == 0


@given(text=st.text(st.characters(codec="utf-8"), max_size=30))
def test_no_text_steers_the_terminal_or_breaks_a_line(text: str) -> None:
    from zoneinfo import ZoneInfo

    shown = human({"text": text}, Column("text"), ZoneInfo("UTC"))
    for form in (shown, escaped(text)):
        assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in form)
    assert len(escaped(text).split("\t")) == 1


@pytest.mark.parametrize(
    ("numbers", "bars"),
    [
        ([], "-"), ([0, 0], "  "), ([0, 1, 1], " ██"), ([1, 800, 400], "▁█▄"), ([8, 7, 1], "█▇▁"),
    ],
)  # fmt: skip
def test_a_trend_is_drawn_against_its_greatest_number(numbers: list[int], bars: str) -> None:
    """Something is never drawn as nothing."""
    assert sparkline(numbers) == bars
