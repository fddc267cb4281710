"""What a superuser can do to a sealed book.

The attacker may drop triggers and put them back, and compute any hash again; what is out of reach
are the anchors. Each attack names a kind of break that must be among those found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.ids import IdSource
from payctl.ledger import blocks, journals, merkle
from payctl.ledger.blocks import ZERO
from payctl.ledger.content import content_hash
from payctl.ledger.model import Journal
from payctl.ledger.proof_tables import anchor, block, block_item
from payctl.ledger.tables import account, balance, entry, journal
from tests.ledger.proof_kit import Proven

Attack = Callable[[sa.Connection, Proven], None]

# -- tools of the attacker -------------------------------------------------------------------------


def id_of(tx: sa.Connection, key: str) -> UUID:
    found: UUID = tx.execute(
        sa.select(journal.c.id).where(journal.c.posting_key == key)
    ).scalar_one()
    return found


def edit_entries(tx: sa.Connection, key: str, leg: int | None = None, **values: Any) -> None:
    where = [entry.c.journal_id == id_of(tx, key)]
    where += [] if leg is None else [entry.c.leg == leg]
    assert tx.execute(sa.update(entry).where(*where).values(**values)).rowcount


def edit_journal(tx: sa.Connection, key: str, **values: Any) -> None:
    mine = journal.c.posting_key == key
    assert tx.execute(sa.update(journal).where(mine).values(**values)).rowcount == 1


def shift(tx: sa.Connection, key: str, leg: int, by: int) -> None:
    """Change an amount and carry the difference through every later balance of the account."""
    id_ = id_of(tx, key)
    row = tx.execute(sa.select(entry).where(entry.c.journal_id == id_, entry.c.leg == leg)).one()
    mine = (entry.c.account_id == row.account_id, entry.c.stripe == row.stripe)
    tx.execute(
        sa.update(entry)
        .where(*mine, entry.c.version >= row.version)
        .values(balance_after_minor=entry.c.balance_after_minor + by)
    )
    edit_entries(tx, key, leg, amount_minor=row.amount_minor + by)
    side = tx.scalar(sa.select(account.c.normal_side).where(account.c.id == row.account_id)) or 1
    tx.execute(
        sa.update(balance)
        .where(balance.c.account_id == row.account_id, balance.c.stripe == row.stripe)
        .values(posted_minor=balance.c.posted_minor + side * by)
    )


def rehash(tx: sa.Connection, *keys: str) -> None:
    """Give journals the content hash of what they say now."""
    chosen = [journal.c.posting_key.in_(keys)] if keys else []
    for found in list(journals.stream(tx, *chosen)):
        mine = journal.c.id == found.id
        tx.execute(sa.update(journal).where(mine).values(content_hash=content_hash(found)))


def reseal(tx: sa.Connection, first: int) -> None:
    """Compute all blocks from *first* on again from what the journals say now."""
    previous = blocks.get(tx, first - 1)
    for each in list(blocks.stream(tx, first=first)):
        items = blocks.items(tx, each.number)
        hashes = []
        for item in items:
            now = tx.scalar(
                sa.select(journal.c.content_hash).where(journal.c.id == item.journal_id)
            )
            mine = block_item.c.journal_id == item.journal_id
            hashes.append(now or item.content_hash)
            tx.execute(sa.update(block_item).where(mine).values(content_hash=hashes[-1]))
        new = dataclasses.replace(
            each, prev_hash=previous.hash if previous else ZERO, root=merkle.root(hashes)
        ).hashed()
        values = {"prev_hash": new.prev_hash, "root": new.root, "hash": new.hash}
        tx.execute(sa.update(block).where(block.c.number == each.number).values(**values))
        previous = new


def remove(tx: sa.Connection, *keys: str) -> None:
    ids = [id_of(tx, key) for key in keys]
    tx.execute(sa.delete(entry).where(entry.c.journal_id.in_(ids)))
    tx.execute(sa.delete(journal).where(journal.c.id.in_(ids)))


def undo_balances(tx: sa.Connection) -> None:
    """Make balances, versions and running balances what the entries that are left give."""
    for row in tx.execute(sa.select(balance)).all():
        mine = (entry.c.account_id == row.account_id, entry.c.stripe == row.stripe)
        running = 0
        left = tx.execute(sa.select(entry).where(*mine).order_by(entry.c.version)).all()
        for version, each in enumerate(left, start=1):
            running += each.amount_minor
            this = (entry.c.journal_id == each.journal_id, entry.c.leg == each.leg)
            values = {"version": version, "balance_after_minor": running}
            tx.execute(sa.update(entry).where(*this).values(**values))
        side = tx.scalar(sa.select(account.c.normal_side).where(account.c.id == row.account_id))
        tx.execute(
            sa.update(balance)
            .where(balance.c.account_id == row.account_id, balance.c.stripe == row.stripe)
            .values(posted_minor=running * (side or 1), version=len(left))
        )


def insert_copy(tx: sa.Connection, key: str, new_id: UUID, table_suffix: str = "") -> None:
    """Put a copy of a journal and its entries in, as the next of its accounts, well hashed."""
    old = journals.get(tx, id_of(tx, key))
    entries = []
    for each in old.entries:
        last = tx.execute(
            sa.select(entry).join(account, account.c.id == entry.c.account_id)
            .where(account.c.code == each.account, account.c.currency == each.currency)
            .order_by(entry.c.stripe, entry.c.version.desc()).limit(1)
        ).one()  # fmt: skip
        entries.append(
            (last.account_id, each._replace(
                version=last.version + 1, stripe=last.stripe,
                balance_after_minor=last.balance_after_minor + each.amount_minor,
            ))
        )  # fmt: skip
    new = dataclasses.replace(
        old, id=new_id, posting_key=f"copy of {key}", entries=tuple(each for _, each in entries)
    )
    insert(tx, new, [id_ for id_, _ in entries], table_suffix)
    undo_balances(tx)


def insert(tx: sa.Connection, new: Journal, accounts: list[UUID], suffix: str = "") -> None:
    row = {
        name: getattr(new, name)
        for name in ("id", "kind", "posting_key", "posted_at", "effective_at", "period", "actor",
                     "reason", "payment_id", "reverses_id", "meta")
    }  # fmt: skip
    row |= {"legs": len(new.entries), "content_hash": content_hash(new)}
    into_journal = _named(journal, suffix)
    into_entry = _named(entry, suffix)
    for each, id_ in zip(new.entries, accounts, strict=True):
        values = {
            "journal_id": new.id, "leg": each.leg, "account_id": id_, "stripe": each.stripe,
            "currency": each.currency, "amount_minor": each.amount_minor,
            "balance_after_minor": each.balance_after_minor, "version": each.version,
        }  # fmt: skip
        tx.execute(sa.insert(into_entry).values(values))
    tx.execute(sa.insert(into_journal).values(row))


def _named(table: sa.Table, suffix: str) -> sa.Table:
    return table if not suffix else table.to_metadata(sa.MetaData(), name=f"{table.name}{suffix}")


# -- the attacks -----------------------------------------------------------------------------------


def amount_of_one_leg(tx: sa.Connection, book: Proven) -> None:
    edit_entries(tx, "s3", 2, amount_minor=-9_500)


def amounts_of_two_legs(tx: sa.Connection, book: Proven) -> None:
    shift(tx, "s3", 2, -100)
    shift(tx, "s3", 3, 100)


def amounts_and_the_hash(tx: sa.Connection, book: Proven) -> None:
    amounts_of_two_legs(tx, book)
    rehash(tx)


def swapped_legs(tx: sa.Connection, book: Proven) -> None:
    mine = entry.c.journal_id == id_of(tx, "s3")
    for old, new in ((2, 9), (3, 2), (9, 3)):
        tx.execute(sa.update(entry).where(mine, entry.c.leg == old).values(leg=new))


def another_account(tx: sa.Connection, book: Proven) -> None:
    other = tx.scalar(sa.select(account.c.id).where(account.c.code == "vat:FR"))
    edit_entries(tx, "s3", 2, account_id=other)
    undo_balances(tx)


def deleted_tail(tx: sa.Connection, book: Proven) -> None:
    remove(tx, "tail1", "tail2", "later")
    tx.execute(sa.delete(block_item).where(block_item.c.block == 4))
    tx.execute(sa.delete(block).where(block.c.number == 4))
    undo_balances(tx)


def deleted_last_sealed_journal(tx: sa.Connection, book: Proven) -> None:
    remove(tx, "later")
    undo_balances(tx)
    rehash(tx, "tail1", "tail2")


def deleted_middle(tx: sa.Connection, book: Proven) -> None:
    remove(tx, "s6")
    undo_balances(tx)


def deleted_middle_and_all_hashes(tx: sa.Connection, book: Proven) -> None:
    remove(tx, "s6")
    undo_balances(tx)
    rehash(tx)
    reseal(tx, 1)


def deleted_unsealed_journal(tx: sa.Connection, book: Proven) -> None:
    remove(tx, "tail1")


def renumbered_versions(tx: sa.Connection, book: Proven) -> None:
    tx.execute(sa.update(entry).values(version=entry.c.version + 1))
    tx.execute(sa.update(balance).values(version=balance.c.version + 1))


def reordered_entries(tx: sa.Connection, book: Proven) -> None:
    """Two sales change places on every account, with all balances recomputed."""
    one, two = id_of(tx, "s3"), id_of(tx, "s4")
    rows = tx.execute(sa.select(entry).where(entry.c.journal_id.in_([one, two]))).all()
    other = {(row.journal_id, row.leg): row.version for row in rows}
    for row in rows:
        twin = two if row.journal_id == one else one
        mine = (entry.c.journal_id == row.journal_id, entry.c.leg == row.leg)
        tx.execute(sa.update(entry).where(*mine).values(version=other[twin, row.leg]))
    undo_balances(tx)


def edited_meta(tx: sa.Connection, book: Proven) -> None:
    edit_journal(tx, "s3", meta={"provider": "y", "fee_minor": 7})


def edited_reason(tx: sa.Connection, book: Proven) -> None:
    edit_journal(tx, "s3", reason="as agreed")


def edited_actor(tx: sa.Connection, book: Proven) -> None:
    edit_journal(tx, "s3", actor="kofi")


def edited_kind(tx: sa.Connection, book: Proven) -> None:
    edit_journal(tx, "s3", kind="gift")


def edited_posting_key(tx: sa.Connection, book: Proven) -> None:
    edit_journal(tx, "s3", posting_key="s3b")


def edited_content_hash(tx: sa.Connection, book: Proven) -> None:
    edit_journal(tx, "s3", content_hash=bytes(32))


def edited_unsealed_reason(tx: sa.Connection, book: Proven) -> None:
    edit_journal(tx, "tail1", reason="as agreed")


def back_dated_effect(tx: sa.Connection, book: Proven) -> None:
    at = tx.scalar(sa.select(journal.c.effective_at).where(journal.c.posting_key == "s3"))
    edit_journal(tx, "s3", effective_at=at - timedelta(days=40), period=202609)


def back_dated_record(tx: sa.Connection, book: Proven) -> None:
    at = tx.scalar(sa.select(journal.c.posted_at).where(journal.c.posting_key == "s3"))
    edit_journal(tx, "s3", posted_at=at - timedelta(minutes=1))


def moved_id(tx: sa.Connection, book: Proven) -> None:
    old, new = id_of(tx, "s3"), book.db.ids.new()
    tx.execute(sa.update(journal).where(journal.c.id == old).values(id=new))
    tx.execute(sa.update(entry).where(entry.c.journal_id == old).values(journal_id=new))


def moved_id_with_its_item(tx: sa.Connection, book: Proven) -> None:
    old, new = id_of(tx, "s3"), book.db.ids.new()
    moved_id(tx, book)
    new = id_of(tx, "s3")
    tx.execute(sa.update(block_item).where(block_item.c.journal_id == old).values(journal_id=new))
    rehash(tx, "s3")


def inserted_journal(tx: sa.Connection, book: Proven) -> None:
    """Balanced, well numbered and well hashed, dated into time that is sealed already."""
    past = ManualClock(book.db.clock.now() - timedelta(hours=3))
    insert_copy(tx, "s3", IdSource(past).new())


def inserted_and_sealed(tx: sa.Connection, book: Proven) -> None:
    """The same, and the sealer takes it for one of ours."""
    inserted_journal(tx, book)


def inserted_into_a_partition(tx: sa.Connection, book: Proven) -> None:
    past = ManualClock(book.db.clock.now() - timedelta(hours=3))
    insert_copy(tx, "s3", IdSource(past).new(), "" if book.db.is_sqlite else "_default")


def inserted_without_balance(tx: sa.Connection, book: Proven) -> None:
    """Of today and balanced in itself, but the accounts do not know of it."""
    old = journals.get(tx, id_of(tx, "s3"))
    rows = tx.execute(sa.select(entry.c.account_id).where(entry.c.journal_id == old.id)
                      .order_by(entry.c.leg))  # fmt: skip
    accounts = [row.account_id for row in rows]
    entries = tuple(each._replace(version=99) for each in old.entries)
    new = dataclasses.replace(old, id=book.db.ids.new(), posting_key="extra", entries=entries)
    insert(tx, new, accounts)


def rewritten_head(tx: sa.Connection, book: Proven) -> None:
    edit_journal(tx, "later", reason="as agreed")
    rehash(tx, "later")
    reseal(tx, 4)


def rewritten_head_without_its_hash(tx: sa.Connection, book: Proven) -> None:
    tx.execute(sa.update(block).where(block.c.number == 4).values(root=bytes(32)))


def rewritten_chain(tx: sa.Connection, book: Proven) -> None:
    amounts_and_the_hash(tx, book)
    reseal(tx, 1)


def rewritten_head_and_cursor(tx: sa.Connection, book: Proven) -> None:
    """The book claims that nothing was ever anchored."""
    rewritten_chain(tx, book)
    tx.execute(sa.delete(anchor))


def rewritten_promise(tx: sa.Connection, book: Proven) -> None:
    later = book.db.clock.now() - timedelta(days=30)
    tx.execute(sa.update(block).where(block.c.number == 4).values(complete_until=later))


def rewritten_watermark(tx: sa.Connection, book: Proven) -> None:
    tx.execute(sa.update(block).where(block.c.number == 4).values(watermark="00"))


def deleted_block(tx: sa.Connection, book: Proven) -> None:
    tx.execute(sa.delete(block_item).where(block_item.c.block == 2))
    tx.execute(sa.delete(block).where(block.c.number == 2))


def deleted_block_and_renumbered(tx: sa.Connection, book: Proven) -> None:
    deleted_block(tx, book)
    for number in (3, 4):
        of = block_item.c.block == number
        tx.execute(sa.update(block_item).where(of).values(block=number - 1))
        tx.execute(sa.update(block).where(block.c.number == number).values(number=number - 1))
    reseal(tx, 1)


def deleted_head_block(tx: sa.Connection, book: Proven) -> None:
    tx.execute(sa.delete(block_item).where(block_item.c.block == 4))
    tx.execute(sa.delete(block).where(block.c.number == 4))


def deleted_head_block_only(tx: sa.Connection, book: Proven) -> None:
    tx.execute(sa.delete(block).where(block.c.number == 4))


def deleted_items(tx: sa.Connection, book: Proven) -> None:
    tx.execute(sa.delete(block_item).where(block_item.c.journal_id == id_of(tx, "s3")))


def deleted_all_blocks(tx: sa.Connection, book: Proven) -> None:
    tx.execute(sa.delete(block_item))
    tx.execute(sa.delete(block))


def exchanged_items(tx: sa.Connection, book: Proven) -> None:
    one, two = (block_item.c.journal_id == id_of(tx, key) for key in ("s3", "s4"))
    for condition, position in ((one, 90), (two, 3), (one, 4)):
        tx.execute(sa.update(block_item).where(condition).values(position=position))


def edited_balance(tx: sa.Connection, book: Proven) -> None:
    wallet = sa.select(account.c.id).where(account.c.code == "wallet:o:pending").scalar_subquery()
    tx.execute(sa.update(balance).where(balance.c.account_id == wallet).values(posted_minor=1))


def edited_balances_that_offset(tx: sa.Connection, book: Proven) -> None:
    for code, by in (("wallet:o:pending", -100), ("vat:FR", 100)):
        mine = sa.select(account.c.id).where(account.c.code == code).scalar_subquery()
        tx.execute(
            sa.update(balance)
            .where(balance.c.account_id == mine, balance.c.version > 0)
            .values(posted_minor=balance.c.posted_minor + by)
        )


def deleted_entry(tx: sa.Connection, book: Proven) -> None:
    mine = (entry.c.journal_id == id_of(tx, "s3"), entry.c.leg == 4)
    tx.execute(sa.delete(entry).where(*mine))


def edited_while_a_trigger_was_gone(tx: sa.Connection, book: Proven) -> None:
    """The one trigger that is in the way is dropped, and made again as it was."""
    if not book.db.is_sqlite:
        tx.exec_driver_sql("SET LOCAL session_replication_role = origin")
        find = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'append_only'"
        made = tx.exec_driver_sql(f"{find} AND tgrelid = 'journal'::regclass").scalar_one()
        tx.exec_driver_sql("DROP TRIGGER append_only ON journal")
    edit_journal(tx, "s3", reason="as agreed")
    if not book.db.is_sqlite:
        tx.exec_driver_sql(made)


def renamed_account(tx: sa.Connection, book: Proven) -> None:
    mine = account.c.code == "wallet:o:pending"
    tx.execute(sa.update(account).where(mine).values(code="wallet:thief:pending"))


#: Attack and a kind of break that must be among those found.
ATTACKS: dict[Attack, str] = {
    amount_of_one_leg: "journal.changed",
    amounts_of_two_legs: "journal.changed",
    amounts_and_the_hash: "journal.changed",
    swapped_legs: "journal.changed",
    another_account: "journal.changed",
    deleted_tail: "anchor.differs",
    deleted_last_sealed_journal: "journal.missing",
    deleted_middle: "journal.missing",
    deleted_middle_and_all_hashes: "anchor.differs",
    deleted_unsealed_journal: "I2.balance_is_sum",
    deleted_entry: "journal.changed",
    renumbered_versions: "journal.changed",
    reordered_entries: "journal.changed",
    edited_meta: "journal.changed",
    edited_reason: "journal.changed",
    edited_actor: "journal.changed",
    edited_kind: "journal.changed",
    edited_posting_key: "journal.changed",
    edited_content_hash: "journal.changed",
    edited_unsealed_reason: "journal.changed",
    back_dated_effect: "journal.changed",
    back_dated_record: "journal.changed",
    moved_id: "journal.missing",
    moved_id_with_its_item: "journal.changed",
    renamed_account: "journal.changed",
    edited_while_a_trigger_was_gone: "journal.changed",
    inserted_journal: "journal.late",
    inserted_and_sealed: "journal.late",
    inserted_into_a_partition: "journal.late",
    inserted_without_balance: "I2.balance_is_sum",
    rewritten_head: "anchor.differs",
    rewritten_head_without_its_hash: "block.header",
    rewritten_chain: "anchor.differs",
    rewritten_head_and_cursor: "anchor.differs",
    rewritten_promise: "block.header",
    rewritten_watermark: "block.header",
    deleted_block: "block.missing",
    deleted_block_and_renumbered: "anchor.differs",
    deleted_head_block: "anchor.differs",
    deleted_head_block_only: "block.missing",
    deleted_items: "block.items",
    deleted_all_blocks: "anchor.differs",
    exchanged_items: "block.root",
    edited_balance: "I2.balance_is_sum",
    edited_balances_that_offset: "I2.balance_is_sum",
}  # fmt: skip
