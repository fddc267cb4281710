"""Writing decided journals: all of them at once, in one call to the database on PostgreSQL.

Nothing is decided here. The caller has checked the drafts and locked what may be refused; balances
are moved in the one order of locks (guarded ones first, then striped ones, each by account id), so
that two postings never wait for each other in a circle. These are the hottest statements of the
book, so they go to the driver as they are, without SQLAlchemy's statement objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from payctl.db.driver import driver_execute, driver_executemany
from payctl.db.types import canonical, to_micros
from payctl.ledger import content
from payctl.ledger.accounts import full_code
from payctl.ledger.model import Draft, Posted, PostedEntry
from payctl.ledger.store import Account, AccountKey, stripe_of


class Decided(NamedTuple):
    """A draft that will be posted: sound, in an open month, on open accounts, covered."""

    draft: Draft
    id: UUID
    fingerprint: bytes
    posted_at: datetime
    effective_at: datetime
    period: int
    meta: Mapping[str, Any]
    accounts: Mapping[AccountKey, Account]


@dataclass(slots=True)
class _Slot:
    """One balance row that the batch moves: what is added to it, debits positive."""

    account: Account
    stripe: int
    place: int = 0
    delta_minor: int = 0
    entries: int = 0


@dataclass(slots=True)
class Batch:
    """Decided journals laid out for the database.

    ``slots`` are in the order of locks; ``legs`` holds for each entry, in order, the number of its
    journal, its slot, and what the content hash covers of it before its running balance.
    """

    journals: Sequence[Decided]
    slots: list[_Slot]
    legs: list[tuple[int, int, _Slot, str, int, bytes]]
    metas: list[str]
    heads: list[bytes]

    def posted(self, after_minor: Sequence[int], versions: Sequence[int]) -> list[Posted]:
        """The results, from the running balance and the version of each entry."""
        entries: list[list[PostedEntry]] = [[] for _ in self.journals]
        for leg, after, version in zip(self.legs, after_minor, versions, strict=True):
            number, place, slot, currency, amount_minor, _ = leg
            entry = PostedEntry(
                place, slot.account.code, currency, amount_minor, after, version, slot.stripe
            )
            entries[number - 1].append(entry)
        return [
            Posted(
                each.id, each.draft.kind, tuple(posted),
                suspense_reason=each.meta.get("suspense_reason"),
            )
            for each, posted in zip(self.journals, entries, strict=True)
        ]  # fmt: skip


def batch(tx: sa.Connection, journals: Sequence[Decided]) -> Batch:
    """Lay out *journals* for :func:`write` or for another function that posts on the way."""
    slots: dict[AccountKey, _Slot] = {}
    legs: list[tuple[int, int, _Slot, str, int, bytes]] = []
    metas = [canonical(each.meta) for each in journals]
    heads = [
        content.head(
            each.id, each.draft, each.posted_at, each.effective_at, each.period, meta,
            legs=len(each.draft.legs),
        )
        for each, meta in zip(journals, metas, strict=True)
    ]  # fmt: skip
    for number, each in enumerate(journals, start=1):
        for place, (code, amount_minor, currency) in enumerate(each.draft.legs, start=1):
            key = (code, currency)
            slot = slots.get(key)
            if slot is None:
                account = each.accounts[key]
                slot = slots[key] = _Slot(account, stripe_of(tx, account.stripes))
            slot.delta_minor += amount_minor
            slot.entries += 1
            covered = content.leg_head(place, full_code(code, currency), slot.stripe, amount_minor)
            legs.append((number, place, slot, currency, amount_minor, covered))
    ordered = sorted(slots.values(), key=_in_order_of_locks)
    for place, slot in enumerate(ordered, start=1):
        slot.place = place
    return Batch(journals, ordered, legs, metas, heads)


def _in_order_of_locks(slot: _Slot) -> tuple[bool, int]:
    return not slot.account.guarded, slot.account.id.int


class Unwritten(Enum):
    """Why nothing was written."""

    TAKEN = "taken"  # one of the keys is there already
    STALE = "stale"  # an account or a month was closed since it was last read


def write(tx: sa.Connection, journals: Sequence[Decided]) -> list[Posted] | Unwritten:
    """Post all of *journals*, or none of them and say why."""
    laid_out = batch(tx, journals)
    if tx.dialect.name == "sqlite":
        return _write_sqlite(tx, laid_out)
    state, after_minor, versions = driver_execute(tx, POST, parameters(laid_out)).fetchone()
    return laid_out.posted(after_minor, versions) if state == "posted" else Unwritten(state)


# -- PostgreSQL ------------------------------------------------------------------------------------

#: How many parameters ``ledger_post`` takes.
PARAMETERS = 25
POST = "SELECT state, balances, versions FROM ledger_post(%s)" % ", ".join(  # noqa: S608, UP031
    [f"${place}" for place in range(1, PARAMETERS + 1)]
)


def parameters(laid_out: Batch) -> list[str]:
    """The arguments of ``ledger_post``, as array literals: the driver has nothing to convert."""
    journals, slots, legs = laid_out.journals, laid_out.slots, laid_out.legs
    drafts = [each.draft for each in journals]
    return [
        plain_array([each.id.hex for each in journals]),
        text_array([draft.kind for draft in drafts]),
        text_array([draft.posting_key for draft in drafts]),
        bytes_array([each.fingerprint for each in journals]),
        plain_array([each.posted_at.isoformat() for each in journals]),
        plain_array([each.effective_at.isoformat() for each in journals]),
        plain_array([str(each.period) for each in journals]),
        plain_array([_hex(draft.payment_id) for draft in drafts]),
        plain_array([_hex(draft.reverses_id) for draft in drafts]),
        text_array([draft.actor for draft in drafts]),
        text_array([draft.reason for draft in drafts]),
        text_array(laid_out.metas),
        plain_array([str(len(draft.legs)) for draft in drafts]),
        bytes_array(laid_out.heads),
        plain_array([slot.account.id.hex for slot in slots]),
        plain_array([str(slot.stripe) for slot in slots]),
        plain_array([str(slot.account.side) for slot in slots]),
        plain_array([str(slot.delta_minor) for slot in slots]),
        plain_array([str(slot.entries) for slot in slots]),
        plain_array([str(leg[0]) for leg in legs]),
        plain_array([str(leg[1]) for leg in legs]),
        plain_array([str(leg[2].place) for leg in legs]),
        plain_array([leg[3] for leg in legs]),
        plain_array([str(leg[4]) for leg in legs]),
        bytes_array([leg[5] for leg in legs]),
    ]


def plain_array(values: Iterable[str]) -> str:
    """An array literal of values that need no quotes: numbers, ids, moments, NULL."""
    return "{" + ",".join(values) + "}"


def text_array(values: Iterable[str | None]) -> str:
    """An array literal of any texts."""
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def bytes_array(values: Iterable[bytes]) -> str:
    """An array literal of byte strings."""
    return "{" + ",".join([f'"\\\\x{value.hex()}"' for value in values]) + "}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _hex(value: UUID | None) -> str:
    return "NULL" if value is None else value.hex


# -- SQLite ----------------------------------------------------------------------------------------

#: By the index of closed accounts, which is small and mostly empty: SQLite would read the account.
_CLOSED_ACCOUNT = (
    "SELECT 1 FROM account INDEXED BY ix_account_closed WHERE id = ? AND status = 'closed'"
)
_CLOSED_MONTH = "SELECT 1 FROM period WHERE yyyymm >= ? AND state <> 'open'"
_CLAIM = (
    "INSERT INTO idempotency (scope, key, fingerprint, outcome, subject_id, created_at)"
    " VALUES ('journal', ?, ?, 'posted', ?, ?) ON CONFLICT DO NOTHING"
)
_UNCLAIM = "DELETE FROM idempotency WHERE scope = 'journal' AND key = ? AND subject_id = ?"
# Nobody writes between the two: the transaction began with SQLite's one write lock. RETURNING would
# fill a table of its own.
_BALANCE = "SELECT posted_minor, version FROM balance WHERE account_id = ? AND stripe = ?"
_MOVE = (
    "UPDATE balance SET posted_minor = posted_minor + ?, version = version + ?"
    " WHERE account_id = ? AND stripe = ?"
)
_ENTRY = (
    "INSERT INTO entry (journal_id, leg, account_id, stripe, currency, amount_minor,"
    " balance_after_minor, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_JOURNAL = (
    "INSERT INTO journal (id, kind, posting_key, posted_at, effective_at, period, legs,"
    " reverses_id, payment_id, actor, reason, meta, content_hash)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _write_sqlite(tx: sa.Connection, laid_out: Batch) -> list[Posted] | Unwritten:
    """The same in single statements; the journals come last, because they seal their entries."""
    journals = laid_out.journals
    looks: list[tuple[str, int | bytes]] = [(_CLOSED_MONTH, min(each.period for each in journals))]
    looks += [
        (_CLOSED_ACCOUNT, slot.account.id.bytes) for slot in laid_out.slots if slot.account.closable
    ]
    if any(driver_execute(tx, sql, (value,)).fetchone() for sql, value in looks):
        return Unwritten.STALE
    ids = [each.id.bytes for each in journals]
    claims = [
        (each.draft.posting_key, each.fingerprint, id_, to_micros(each.posted_at))
        for each, id_ in zip(journals, ids, strict=True)
    ]
    if driver_executemany(tx, _CLAIM, claims) != len(claims):
        driver_executemany(tx, _UNCLAIM, [(claim[0], claim[2]) for claim in claims])
        return Unwritten.TAKEN
    places = [(slot.account.id.bytes, slot.stripe) for slot in laid_out.slots]
    running = []
    for slot, place in zip(laid_out.slots, places, strict=True):
        posted_minor, version = driver_execute(tx, _BALANCE, place).fetchone()
        running.append((slot.account.side * posted_minor, version))
    moves = [
        (slot.account.side * slot.delta_minor, slot.entries, *place)
        for slot, place in zip(laid_out.slots, places, strict=True)
    ]
    driver_executemany(tx, _MOVE, moves)
    after_minor, versions, entries, contents = [], [], [], list(laid_out.heads)
    for number, leg, slot, currency, amount_minor, covered in laid_out.legs:
        at = slot.place - 1
        minor, version = running[at]
        minor, version = running[at] = minor + amount_minor, version + 1
        after_minor.append(minor)
        versions.append(version)
        entries.append((ids[number - 1], leg, *places[at], currency, amount_minor, minor, version))
        contents[number - 1] += covered + content.leg_tail(minor, version)
    driver_executemany(tx, _ENTRY, entries)
    driver_executemany(
        tx, _JOURNAL,
        [
            (id_, each.draft.kind, each.draft.posting_key, to_micros(each.posted_at),
             to_micros(each.effective_at), each.period, len(each.draft.legs),
             _bytes(each.draft.reverses_id), _bytes(each.draft.payment_id), each.draft.actor,
             each.draft.reason, meta, content.digest(bytes_))
            for id_, each, meta, bytes_ in zip(
                ids, journals, laid_out.metas, contents, strict=True
            )
        ],
    )  # fmt: skip
    return laid_out.posted(after_minor, versions)


def _bytes(value: UUID | None) -> bytes | None:
    return None if value is None else value.bytes
