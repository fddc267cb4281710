"""The chart of accounts and the bytes that are hashed: pure rules."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.errors import InvalidInput
from payctl.ledger import accounts
from payctl.ledger.content import content_hash, fingerprint
from payctl.ledger.model import Draft, Journal, Leg, PostedEntry
from payctl.ledger.reversals import part_of

pytestmark = pytest.mark.unit

CODES = {
    accounts.collect("stripe"): ("gateway:{g}:collect", "asset", False),
    accounts.float_("mtn"): ("gateway:{g}:float", "asset", False),
    accounts.transit("stripe"): ("transit:{g}", "asset", False),
    accounts.bank("eur"): ("bank:{bank}", "asset", False),
    accounts.dispute("stripe"): ("dispute:{g}", "asset", False),
    accounts.owed("org-1"): ("owed:{o}", "asset", True),
    accounts.suspense("stripe"): ("suspense:{g}", "asset", False),
    accounts.FX: ("fx", "equity", False),
    **{
        accounts.wallet("org-1", part): ("wallet:{o}:{part}", "liability", True)
        for part in accounts.WALLET_PARTS
    },
    accounts.refund_outgoing("stripe"): ("refund:{g}:outgoing", "liability", False),
    accounts.unapplied("stripe"): ("unapplied:{g}", "liability", False),
    accounts.vat("FR"): ("vat:{c}", "liability", False),
    accounts.commission_income("ticket_sale"): ("income:commission:{type}", "income", False),
    accounts.FEE_RECHARGE: ("income:fee_recharge", "income", False),
    accounts.TEMPLATE_SALES: ("income:template_sales", "income", False),
    accounts.FX_GAIN: ("income:fx_gain", "income", False),
    accounts.DIFFERENCE: ("income:difference", "income", False),
    accounts.gateway_fee("stripe"): ("expense:gateway_fee:{g}", "expense", False),
    accounts.payout_fee("mtn"): ("expense:payout_fee:{g}", "expense", False),
    accounts.dispute_fee("stripe"): ("expense:dispute_fee:{g}", "expense", False),
    accounts.BANK_FEE: ("expense:bank_fee", "expense", False),
    accounts.DESIGNER_SHARE: ("expense:designer_share", "expense", False),
    accounts.FX_LOSS: ("expense:fx_loss", "expense", False),
    accounts.WRITE_OFF: ("expense:write_off", "expense", False),
    accounts.BAD_DEBT: ("expense:bad_debt", "expense", False),
    accounts.GOODWILL: ("expense:goodwill", "expense", False),
    accounts.OPENING_MIGRATION: ("opening:migration", "equity", False),
}


@pytest.mark.parametrize("code", CODES)
def test_every_helper_makes_a_code_of_the_chart(code: str) -> None:
    line = accounts.line_of(code)
    assert (line.pattern, line.kind, line.guarded) == CODES[code]
    assert line.normal_side == (1 if line.kind in ("asset", "expense") else -1)
    assert accounts.split_full(accounts.full_code(code, "XOF")) == (code, "XOF")


def test_every_line_of_the_chart_has_a_helper_and_both_numbers() -> None:
    assert {pattern for pattern, _, _ in CODES.values()} == {x.pattern for x in accounts.CHART}
    assert all(line.pcg.isdigit() and line.syscohada.isdigit() for line in accounts.CHART)


@pytest.mark.parametrize(
    "code",
    ["", "gateway", "gateway::collect", "gateway:a b:collect", "gateway:a:other", "wallet:o:gone",
     "wallet:o", "vat:fr", "vat:FRA", "income:other", "fx:EUR", "bank:a:b", "owed:-x", "bank:a\n"],
)  # fmt: skip
def test_other_codes_are_none(code: str) -> None:
    with pytest.raises(InvalidInput, match="unknown_account"):
        accounts.line_of(code)


@pytest.mark.parametrize("text", ["bank:a", "bank:a:eur", "EUR", ":EUR", "bank:a:EURO"])
def test_a_full_code_ends_in_a_currency(text: str) -> None:
    with pytest.raises(InvalidInput, match="account_needs_currency"):
        accounts.split_full(text)


def test_owners_and_mirrors() -> None:
    assert accounts.owner_of("wallet:org-1:pending") == "org-1"
    assert accounts.owner_of("owed:org-1") == "org-1"
    assert accounts.owner_of("bank:org-1") is None
    codes = ("gateway:g:float", "bank:a", "fx")
    assert [accounts.mirrors_another_book(code) for code in codes] == [True, True, False]


# -- what is hashed -------------------------------------------------------------------------------

JOURNAL = Journal(
    UUID("01a19b7c-a680-76c6-91b7-584c04c1a4fa"), "capture", "k1",
    datetime(2026, 11, 2, 9, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), 202611, "awa", None,
    None, None, {"b": 1, "a": "é"}, b"",
    (PostedEntry(1, "bank:a", "EUR", 5, 5, 1, 3), PostedEntry(2, "bank:b", "EUR", -5, -5, 1, 3)),
)  # fmt: skip


def test_the_content_hash_is_the_documented_format() -> None:
    """Recomputed here from the words of the documentation, so that an auditor can do it too."""

    def field(value: bytes | str | int | None) -> bytes:
        if value is None:
            return b"\xff\xff\xff\xff"
        raw = value if isinstance(value, bytes) else str(value).encode()
        return len(raw).to_bytes(4, "big") + raw

    fields: list[bytes | str | int | None] = [
        "payctl.journal/1", JOURNAL.id.bytes, "capture", "k1", 1793610000000000, 1793491200000000,
        202611, None, None, "awa", None, '{"a":"é","b":1}', 2,
        1, "bank:a:EUR", 3, 5, 5, 1, 2, "bank:b:EUR", 3, -5, -5, 1,
    ]  # fmt: skip
    expected = hashlib.sha256(b"".join(field(each) for each in fields)).digest()
    assert content_hash(JOURNAL) == expected


CHANGES = {
    "id": UUID(int=JOURNAL.id.int + 1), "kind": "captur", "posting_key": "k2",
    "posted_at": datetime(2026, 11, 2, 9, 0, 0, 1, tzinfo=UTC),
    "effective_at": datetime(2026, 11, 1, 0, 0, 0, 1, tzinfo=UTC), "period": 202610,
    "actor": "ada", "reason": "", "payment_id": UUID(int=1), "reverses_id": UUID(int=1),
    "meta": {"b": 2, "a": "é"}, "entries": JOURNAL.entries[::-1],
}  # fmt: skip


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_is_in_the_hash(field: str) -> None:
    assert content_hash(replace(JOURNAL, **{field: CHANGES[field]})) != content_hash(JOURNAL)


def test_the_fingerprint_leaves_out_who_and_how_it_was_told() -> None:
    legs = (Leg("bank:a", 1, "EUR"), Leg("bank:b", -1, "EUR"))
    draft = Draft("fact", "k", legs, "awa", meta={"seen": 1})
    told = replace(draft, actor="job:sync", meta={})
    assert fingerprint(told) == fingerprint(draft)
    assert fingerprint(replace(draft, kind="other")) != fingerprint(draft)
    dated = replace(draft, effective_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert fingerprint(dated) != fingerprint(draft)
    assert fingerprint(dated, with_time=False) == fingerprint(draft)


# -- parts of a journal ---------------------------------------------------------------------------


@given(
    debits=st.lists(st.integers(1, 10**9), min_size=1, max_size=6),
    cuts=st.lists(st.integers(1, 10**9), max_size=8),
)
def test_parts_are_fair_and_end_exactly(debits: list[int], cuts: list[int]) -> None:
    """Any sequence of parts takes each side exactly, no share beyond its leg, down to nothing."""
    total = sum(debits)
    legs = [Leg(f"bank:d{n}", amount, "EUR") for n, amount in enumerate(debits)]
    credits = [total - total // 3, total // 3]
    legs += [Leg(f"bank:c{n}", -amount, "EUR") for n, amount in enumerate(credits) if amount]
    journal = UUID(int=1)
    left = total
    for cut in [*cuts, total]:
        amount = min(cut, left)
        if not amount:
            break
        part = part_of(legs, amount, {"EUR": left}, journal)
        assert sum(x.amount_minor for x in part if x.amount_minor > 0) == amount
        assert sum(x.amount_minor for x in part) == 0
        rest = []
        for leg, share in zip(legs, part, strict=True):
            assert leg.account == share.account
            assert 0 <= share.amount_minor / leg.amount_minor <= 1
            assert abs(share.amount_minor * left - leg.amount_minor * amount) < left
            if leg.amount_minor != share.amount_minor:
                rest.append(Leg(leg.account, leg.amount_minor - share.amount_minor, "EUR"))
        legs, left = rest, left - amount
    assert left == 0 and legs == []
