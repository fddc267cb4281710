"""Card numbers are found in every dress they come in; long references are left alone."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl import pan

pytestmark = pytest.mark.unit

#: Numbers the schemes and gateways publish for tests.
CARDS = (
    "4242424242424242", "4000056655665556", "4222222222222", "5555555555554444",
    "2223003122003222", "5200828282828210", "378282246310005", "371449635398431",
    "6011111111111117", "6011000990139424", "3056930009020004", "36227206271667",
    "6555900000604105", "3566002020360505", "6200000000000005", "6205500000000000004",
    "5060666666666666666", "6759649826438453",
)  # fmt: skip


def with_check_digit(body: str) -> str:
    return next(body + last for last in "0123456789" if pan.luhn(body + last))


cards = st.one_of(
    st.sampled_from(CARDS),
    st.from_regex(r"4[0-9]{14}", fullmatch=True)
    .map(with_check_digit)
    .filter(lambda n: len(set(n)) > 1),
    st.from_regex(r"5[1-5][0-9]{13}", fullmatch=True).map(with_check_digit),
    st.from_regex(r"3[47][0-9]{12}", fullmatch=True).map(with_check_digit),
)


@pytest.mark.parametrize("card", CARDS)
def test_published_test_cards_are_found(card: str) -> None:
    assert [span.digits for span in pan.find(f"card {card}, thanks")] == [card]


@given(cards, st.sampled_from([" ", "-", ".", "  ", "\u00a0", "+", "_", " - ", "%20"]))
def test_groups_of_four_are_found(card: str, separator: str) -> None:
    if separator == " - ":
        separator = "- "
    text = separator.join(card[at : at + 4] for at in range(0, len(card), 4))
    assert [span.digits for span in pan.find(f"number={text}&x=1")] == [card]
    assert pan.find(pan.scrub(text)) == []


@given(cards)
def test_dresses_of_one_card(card: str) -> None:
    for text in (
        json.dumps({"number": card}),
        json.dumps({"number": int(card)}),
        f"PAN{card}",
        f"{card}EUR",
        f"pm_{card}",
        f"n%3D{card}%26cvc%3D123",
        f"%20{card}",
        " ".join(card),
        card.translate({ord("0") + digit: 0x0660 + digit for digit in range(10)}),
        f"2026-11-02 {card}",
    ):
        assert pan.contains(text), text
        assert card not in pan.scrub(text)


@given(st.text(max_size=60), cards, st.text(max_size=60))
def test_scrubbing_leaves_no_card_and_the_rest_alone(left: str, card: str, right: str) -> None:
    text = f"{left} [{card}] {right}"
    clean = pan.scrub(text)
    assert card not in clean
    assert pan.find(clean) == []
    assert len(clean) <= len(text)
    assert f"[{'*' * (len(card) - 4)}{card[-4:]}]" in clean


@given(st.uuids(version=None))
def test_uuids_are_not_cards(value: UUID) -> None:
    assert pan.find(f'"id":"{value}"') == []
    assert pan.find(value.hex if any(c.isalpha() for c in value.hex) else "") == []


def test_a_uuid_of_digits_is_not_a_card() -> None:
    assert pan.find("x 00000042-4242-4242-4242-424242424242 y") == []


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424241",  # Luhn fails
        "1763888400000",  # milliseconds
        "1763888400000000",  # microseconds
        "0000000000000000",
        "4444444444444444",  # one digit only: a filler, not a card
        "42424242424242424242424242424242",  # too long to be one
        "+2250701020334",
        "+4915112345678",
        "a4242424242424242b",  # inside an id
        "9a4242424242424242",
        "2026-11-02T09:00:00.123456",
        "1 000 000 000 000 000",
    ],
)
def test_what_is_not_a_card(text: str) -> None:
    assert pan.find(text) == []
    assert pan.scrub(text) == text


def test_bodies_stay_readable_json() -> None:
    body = b'{"a":4242424242424242,"b":"4000 0566 5566 5556","id":"evt_1","n":"\xc3\xa9"}'
    clean, count = pan.scrub_body(body)
    assert count == 2
    assert json.loads(clean) == {"a": 9999999999999999, "b": "9" * 16, "id": "evt_1", "n": "é"}
    assert pan.scrub_body(clean) == (clean, 0)


@given(st.binary(max_size=300))
def test_any_bytes_survive(body: bytes) -> None:
    clean, count = pan.scrub_body(body)
    assert clean == body or count > 0


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        ("+225 07 01 02 03 34", "+225 07 ** ** 34"),
        ("+2250701020334", "+225 07 ** ** 34"),
        ("002250701020334", "+225 07 ** ** 34"),
        ("+33612345678", "+33 61 ** ** 78"),
        ("+15551234567", "+1 55 ** ** 67"),
        ("0701020334", "07 ** ** 34"),
        ("12345", "** **"),
        ("", "** **"),
    ],
)
def test_phone_numbers_are_masked(phone: str, masked: str) -> None:
    assert pan.mask_phone(phone) == masked


def test_phone_numbers_in_text() -> None:
    assert pan.mask_phones("from +2250701020334 to +33 6 12 34 56 78.") == (
        "from +225 07 ** ** 34 to +33 61 ** ** 78."
    )
    assert pan.mask_phones("amount 15000 XOF, order 0012") == "amount 15000 XOF, order 0012"
