"""Lines and metadata of a payment as people write them."""

from __future__ import annotations

import pytest

from payctl.cli.payment_input import lines_of, metadata_of
from payctl.errors import InvalidInput
from payctl.payments.requests import Line

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Entry;2;12.50;20", Line("Entry", 2, 1250, 200_000)),
        ("Entry; 2 ;12.50; 5.5 %", Line("Entry", 2, 1250, 55_000)),
        ("Entry;1;12.50", Line("Entry", 1, 1250, 0)),
        ("Programme;1;0.00;19,25", Line("Programme", 1, 0, 192_500)),
    ],
)
def test_lines_are_read_exactly(text: str, line: Line) -> None:
    assert lines_of([text], "EUR") == (line,)


@pytest.mark.parametrize(
    "text",
    ["", "Entry", "Entry;x;1.00;20", "Entry;1;1.00;20;x", "Entry;-1;1.00;20", "E;1;1.00;a",
     "E;1;1.00;9999", "E;1;1;20", "E;1;0;20"],
)  # fmt: skip
def test_lines_with_a_mistake_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as error:
        lines_of([text], "EUR")
    assert error.value.field == "lines.1"


def test_metadata_names_stand_once() -> None:
    assert metadata_of(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for bad in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(InvalidInput):
            metadata_of(bad)
