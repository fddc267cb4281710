"""Rows as JSON mean what they mean as rows, whichever library writes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import MappingProxyType
from uuid import UUID

import pytest

from payctl.db import rows
from payctl.payments.model import PaymentStatus

ID = UUID("018f3c5e-7a2b-7c3d-9e4f-0123456789ab")
AT = datetime(2026, 11, 26, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("number", [7, 2**63, -(2**64), 10**30])
def test_every_value_of_a_row_is_written_and_numbers_keep_all_digits(number: int) -> None:
    row = {
        "id": ID, "at": AT, "hash": b"\x00\xff", "status": PaymentStatus.SUCCEEDED, "none": None,
        "flag": True, "text": 'é "\\ \n\x01\u2028',
        "map": MappingProxyType({"n": number, "none": None}),
    }  # fmt: skip

    written = json.loads(rows.document({"payment": [row], "attempt": []}))

    assert written == {
        "payment": [
            {
                "id": str(ID), "at": "2026-11-26T12:00:00.123456+00:00", "hash": "\\x00ff",
                "status": "succeeded", "flag": True, "text": row["text"],
                "map": {"n": number, "none": None},
            }
        ],
        "attempt": [],
    }  # fmt: skip


def test_a_value_no_column_takes_is_a_bug() -> None:
    with pytest.raises(TypeError, match="a row holds a object"):
        rows.document({"payment": [{"id": object()}]})
