"""Where the money is, for every state an attempt can be in and every way entries can lie."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.insight.whereabouts import Booked, Live, Part, Verdict, Whereabouts, locate
from payctl.payments.model import LIVE_ATTEMPT_STATES, AttemptState, Operation

pytestmark = pytest.mark.unit

CAPTURE = [
    Booked("capture", "gateway:cards:collect", "EUR", 10_000),
    Booked("capture", "wallet:org-1:pending", "EUR", -9_400),
    Booked("capture", "income:commission:ticket_sale", "EUR", -500),
    Booked("capture", "vat:FR", "EUR", -100),
]
FEE = [
    Booked("gateway_fee", "expense:gateway_fee:cards", "EUR", 165),
    Booked("gateway_fee", "gateway:cards:collect", "EUR", -165),
]
RESERVED = [
    Booked("refund_reserved", "wallet:org-1:pending", "EUR", 9_400),
    Booked("refund_reserved", "income:commission:ticket_sale", "EUR", 500),
    Booked("refund_reserved", "vat:FR", "EUR", 100),
    Booked("refund_reserved", "refund:cards:outgoing", "EUR", -10_000),
]
PAID = [
    Booked("refund_paid", "refund:cards:outgoing", "EUR", 10_000),
    Booked("refund_paid", "gateway:cards:collect", "EUR", -10_000),
]
RETURNED = [
    Booked("refund_returned", "gateway:cards:collect", "EUR", 10_000),
    Booked("refund_returned", "refund:cards:outgoing", "EUR", -10_000),
]


def live(
    state: AttemptState, operation: Operation = Operation.COLLECT, amount: int = 10_000
) -> Live:
    return Live(operation, "cards", state, amount, "EUR")


def said(where: Whereabouts) -> list[tuple[str, str, int]]:
    return [(str(p.part), p.account, p.amount_minor) for p in where.places]


def test_a_capture_is_shared_out_and_lies_at_the_gateway() -> None:
    where = locate([*CAPTURE, *FEE], [])
    assert where.verdict is Verdict.HELD
    assert said(where) == [
        ("belongs_to", "wallet:org-1:pending", 9_400),
        ("belongs_to", "income:commission:ticket_sale", 500),
        ("belongs_to", "vat:FR", 100),
        ("held_at", "gateway:cards:collect", 9_835),
        ("cost", "expense:gateway_fee:cards", 165),
    ]
    assert {place.gateway for place in where.of(Part.HELD, Part.COST)} == {"cards"}


def test_nothing_happened_nothing_moved() -> None:
    assert locate([], []) == Whereabouts(Verdict.NOWHERE, ())


@pytest.mark.parametrize("state", sorted(LIVE_ATTEMPT_STATES))
def test_every_open_collection_names_the_gateway_it_may_be_at(state: AttemptState) -> None:
    where = locate([], [live(state)], authorized_left_minor=10_000)
    expected = {
        AttemptState.AUTHORIZED: (Part.AUTHORIZED, Verdict.AUTHORIZED),
        AttemptState.REQUIRES_ACTION: (Part.WAITING, Verdict.WAITING),
        AttemptState.PENDING: (Part.WAITING, Verdict.WAITING),
    }.get(state, (Part.UNKNOWN, Verdict.UNKNOWN))
    assert (where.places[0].part, where.verdict) == expected
    assert where.accounts() == {"gateway:cards:collect"}
    assert where.places[0].amount_minor == 10_000


def test_a_refund_from_reservation_to_return() -> None:
    reserved = locate([*CAPTURE, *FEE, *RESERVED], [live(AttemptState.UNKNOWN, Operation.REFUND)])
    assert reserved.verdict is Verdict.HELD, "what is set aside is in the books, sent or not"
    assert ("belongs_to", "refund:cards:outgoing", 10_000) in said(reserved)
    assert ("unknown", "refund:cards:outgoing", 10_000) in said(reserved)
    paid = locate([*CAPTURE, *FEE, *RESERVED, *PAID], [])
    assert paid.verdict is Verdict.RETURNED
    assert said(paid) == [
        ("cost", "expense:gateway_fee:cards", 165),
        ("returned", "gateway:cards:collect", 10_000),
    ]
    back = locate([*CAPTURE, *RESERVED, *PAID, *RETURNED], [])
    assert said(back) == [
        ("belongs_to", "refund:cards:outgoing", 10_000),
        ("held_at", "gateway:cards:collect", 10_000),
    ]


def test_what_the_sale_could_not_bear_is_said_to_be_borne_by_somebody() -> None:
    entries = [
        *CAPTURE,
        Booked("refund_reserved", "wallet:org-1:pending", "EUR", 9_400),
        Booked("refund_reserved", "owed:org-1", "EUR", 600),
        Booked("refund_reserved", "refund:cards:outgoing", "EUR", -10_000),
        *PAID,
    ]
    where = locate(entries, [])
    assert ("borne_by", "owed:org-1", 600) in said(where)
    assert ("returned", "gateway:cards:collect", 10_000) in said(where)
    assert where.verdict is Verdict.HELD, "commission and VAT were kept"


def test_an_unknown_capture_is_apart_from_what_stays_authorised() -> None:
    attempts = [
        live(AttemptState.AUTHORIZED),
        live(AttemptState.UNKNOWN, Operation.CAPTURE, 4_000),
    ]
    where = locate([], attempts, authorized_left_minor=10_000)
    assert said(where) == [
        ("unknown", "gateway:cards:collect", 4_000),
        ("authorized", "gateway:cards:collect", 6_000),
    ]
    assert where.verdict is Verdict.UNKNOWN


def test_an_unknown_cancellation_leaves_the_authorisation() -> None:
    attempts = [live(AttemptState.AUTHORIZED), live(AttemptState.UNKNOWN, Operation.VOID)]
    assert said(locate([], attempts, 10_000)) == [("authorized", "gateway:cards:collect", 10_000)]


@pytest.mark.parametrize("account", ["unapplied:cards", "suspense:cards"])
def test_money_nobody_ordered_is_named_where_it_waits(account: str) -> None:
    entries = [
        Booked("orphan_receipt", "gateway:cards:collect", "XOF", 5_000),
        Booked("orphan_receipt", account, "XOF", -5_000),
    ]
    where = locate(entries, [])
    assert said(where) == [
        ("belongs_to", account, 5_000),
        ("held_at", "gateway:cards:collect", 5_000),
    ]
    assert where.verdict is Verdict.HELD


def test_a_refund_that_had_to_go_through_suspense_is_still_seen_as_paid_back() -> None:
    entries = [
        *CAPTURE,
        Booked("refund_paid", "suspense:cards", "EUR", 10_000),
        Booked("refund_paid", "gateway:cards:collect", "EUR", -10_000),
    ]
    where = locate(entries, [])
    assert ("returned", "gateway:cards:collect", 10_000) in said(where)
    assert ("borne_by", "suspense:cards", 10_000) in said(where)


def test_currencies_are_never_added() -> None:
    other = [Booked(e.kind, e.account, "XOF", e.amount_minor) for e in CAPTURE]
    where = locate([*CAPTURE, *other], [])
    assert {p.currency: p.amount_minor for p in where.of(Part.HELD)} == {
        "EUR": 10_000,
        "XOF": 10_000,
    }


_ACCOUNTS = st.sampled_from(
    ["gateway:a:collect", "gateway:b:collect", "wallet:o:pending", "wallet:o:available", "owed:o",
     "vat:FR", "income:commission:ticket_sale", "unapplied:a", "suspense:a", "refund:a:outgoing",
     "expense:gateway_fee:a"]
)  # fmt: skip


@given(
    st.lists(
        st.tuples(_ACCOUNTS, _ACCOUNTS, st.integers(1, 10**9), st.sampled_from(["EUR", "XOF"]))
    )
)
def test_the_answer_agrees_with_the_entries_to_the_last_unit(
    moves: list[tuple[str, str, int, str]],
) -> None:
    booked, sums = [], defaultdict(int)
    for debit, credit, amount, currency in moves:
        booked += [
            Booked("x", debit, currency, amount),
            Booked("x", credit, currency, -amount),
        ]
        sums[debit, currency] += amount
        sums[credit, currency] -= amount
    where = locate(booked, [])
    signs = {Part.BELONGS: -1, Part.HELD: 1, Part.BORNE: 1, Part.COST: 1}
    told = {(p.account, p.currency): signs[p.part] * p.amount_minor for p in where.places}
    overdrawn = {
        key: amount for key, amount in sums.items() if key[0].startswith("gateway:") and amount < 0
    }
    assert told | overdrawn == {key: amount for key, amount in sums.items() if amount}
