"""The audit trail: complete, unbroken, and every attack on it found."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.db.actor import Actor
from payctl.db.audit import record
from payctl.db.audit_trail import AuditTrail, Head
from payctl.db.engine import Database
from payctl.db.tables import audit, audit_head
from payctl.errors import Forbidden, NotFound
from tests.db.people import ADMIN, SUPPORT

pytestmark = pytest.mark.integration


def fill(db: Database, records: int = 6) -> None:
    """Records in one chain, two to a transaction."""
    for number in range(0, records, 2):
        with db.transaction() as tx:
            tx.info["payctl_audit_chain"] = 0
            for each in (number, number + 1):
                data = {"amount_minor": each, "currency": "XOF"}
                record(db, tx, SUPPORT, "test.act", "payment", db.ids.new(), data, "why")


def attack(db: Database, work: Callable[[sa.Connection], object]) -> None:
    """Change rows as a superuser who removed the guards would."""
    with db.transaction() as tx:
        if db.is_sqlite:
            for (name,) in tx.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE 'audit%'"
            ).all():
                tx.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            tx.exec_driver_sql("SET LOCAL session_replication_role = replica")
        work(tx)


def damages(db: Database) -> list[tuple[str, int]]:
    return [(each.what, each.seq) for each in AuditTrail(db).verify(ADMIN).damages]


def at(seq: int) -> sa.ColumnElement[bool]:
    return audit.c.seq == seq


def test_an_untouched_trail_verifies(db: Database) -> None:
    fill(db)
    report = AuditTrail(db).verify(ADMIN)
    assert report.ok and report.records == 6
    assert [(head.chain, head.seq) for head in report.heads] == [(0, 6)]


ATTACKS: dict[str, tuple[Callable[[sa.Connection], object], list[tuple[str, int]]]] = {
    "edit a field": (
        lambda tx: tx.execute(sa.update(audit).where(at(3)).values(actor="nobody")),
        [("edited", 3)],
    ),
    "edit the data": (
        lambda tx: tx.execute(sa.update(audit).where(at(3)).values(data={"amount_minor": 9})),
        [("edited", 3)],
    ),
    "edit the reason": (
        lambda tx: tx.execute(sa.update(audit).where(at(6)).values(reason=None)),
        [("edited", 6)],
    ),
    "edit the time": (
        lambda tx: tx.execute(
            sa.update(audit).where(at(1)).values(at=tx.execute(
                sa.select(audit.c.at).where(at(1))).scalar_one() + timedelta(microseconds=1))
        ),
        [("edited", 1)],
    ),
    "delete from the middle": (
        lambda tx: tx.execute(sa.delete(audit).where(at(3))),
        [("missing", 3)],
    ),
    "delete the first": (
        lambda tx: tx.execute(sa.delete(audit).where(at(1))),
        [("missing", 1)],
    ),
    "delete the tail": (
        lambda tx: tx.execute(sa.delete(audit).where(audit.c.seq > 4)),
        [("tail_missing", 5)],
    ),
    "delete and renumber": (
        lambda tx: [
            tx.execute(sa.delete(audit).where(at(3))),
            *(tx.execute(sa.update(audit).where(at(n)).values(seq=n - 1)) for n in (4, 5, 6)),
            tx.execute(sa.update(audit_head).values(seq=5)),
        ],
        [("broken_link", 3), ("edited", 3), ("edited", 4), ("edited", 5)],
    ),
    "set the head back": (
        lambda tx: tx.execute(sa.update(audit_head).values(seq=5)),
        [("head_rewritten", 6)],
    ),
    "another head hash": (
        lambda tx: tx.execute(sa.update(audit_head).values(hash=bytes(32))),
        [("head_rewritten", 6)],
    ),
    "delete the head": (lambda tx: tx.execute(sa.delete(audit_head)), [("head_missing", 6)]),
    "delete all records": (lambda tx: tx.execute(sa.delete(audit)), [("tail_missing", 1)]),
    "recompute one hash": (
        lambda tx: tx.execute(sa.update(audit).where(at(2)).values(hash=bytes(32))),
        [("edited", 2), ("broken_link", 3)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_found_where_it_happened(db: Database, name: str) -> None:
    fill(db)
    work, expected = ATTACKS[name]
    attack(db, work)
    assert damages(db) == expected


def test_a_trail_cut_with_its_head_is_found_by_an_export(db: Database) -> None:
    """Whoever rewrites rows and head alike leaves no trace inside: the export outside shows it."""
    fill(db)
    trail = AuditTrail(db)
    kept = [item for item in trail.export(ADMIN) if isinstance(item, Head)]
    hash_4 = next(row.hash for row in trail.list(ADMIN) if row.seq == 4)

    def cut(tx: sa.Connection) -> None:
        tx.execute(sa.delete(audit).where(audit.c.seq > 4))
        tx.execute(sa.update(audit_head).values(seq=4, hash=hash_4))

    attack(db, cut)
    assert trail.verify(ADMIN).ok
    found = trail.verify(ADMIN, kept).damages
    assert [(each.what, each.seq) for each in found] == [("anchor_differs", 6)]
    fill(db, 4)  # the forger goes on until the chain is as long as before
    assert trail.verify(ADMIN).ok
    assert [each.what for each in trail.verify(ADMIN, kept).damages] == ["anchor_differs"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'x'",
        "DELETE FROM audit",
        "UPDATE audit_head SET seq = seq - 1",
        "UPDATE audit_head SET seq = seq",
        "DELETE FROM audit_head",
    ],
)
def test_the_database_itself_refuses_changes(db: Database, statement: str) -> None:
    fill(db)
    with pytest.raises(sa.exc.IntegrityError), db.transaction() as tx:
        tx.exec_driver_sql(statement)
    assert AuditTrail(db).verify(ADMIN).ok


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize("table", ["audit", "audit_head"])
def test_truncate_is_refused(db: Database, table: str) -> None:
    with pytest.raises(sa.exc.IntegrityError), db.transaction() as tx:
        tx.exec_driver_sql(f"TRUNCATE {table}")


def test_a_rolled_back_act_leaves_no_record(db: Database) -> None:
    with pytest.raises(KeyError), db.transaction() as tx:
        record(db, tx, SUPPORT, "test.act", "payment", None, {})
        raise KeyError
    with db.rehearsal() as tx:
        record(db, tx, SUPPORT, "test.act", "payment", None, {})
    fill(db, 2)
    assert [row.action for row in AuditTrail(db).list(ADMIN)] == ["test.act"] * 2
    assert AuditTrail(db).verify(ADMIN).records == 2


def test_writers_at_once_keep_every_chain_whole(db: Database) -> None:
    def write(number: int) -> None:
        for _ in range(5):
            with db.transaction() as tx:
                record(db, tx, SUPPORT, "test.act", "payment", None, {"n": number})
                record(db, tx, SUPPORT, "test.act", "payment", None, {"n": number})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    report = AuditTrail(db).verify(ADMIN)
    assert report.ok and report.records == 80
    assert sum(head.seq for head in report.heads) == 80


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_connections_spread_over_several_chains(db: Database) -> None:
    with db.transaction() as one, db.transaction() as two, db.transaction() as three:
        for tx in (one, two, three):
            record(db, tx, SUPPORT, "test.act", "payment", None, {})
    assert len(AuditTrail(db).verify(ADMIN).heads) > 1


def test_difficult_values_come_back_as_they_were_hashed(db: Database) -> None:
    subject = db.ids.new()
    data = {
        "text": "aé\u20ac\U0001f600\x00\ud800'\"\\%s",
        "big": 2**62,
        "no": None,
        "flag": True,
        "nested": {"ids": [subject, subject], "roles": frozenset({"b", "a"})},
        "at": db.clock.now(),
    }
    with db.transaction() as tx:
        record(db, tx, SUPPORT, "test.act", "payment", subject, data, "r\x00")
    trail = AuditTrail(db)
    assert trail.verify(ADMIN).ok
    (found,) = trail.list(ADMIN, subject_id=subject)
    assert found.data["nested"] == {"ids": [str(subject)] * 2, "roles": ["a", "b"]}
    assert found.data["big"] == 2**62


def test_a_float_is_a_bug(db: Database) -> None:
    with pytest.raises(TypeError), db.transaction() as tx:
        record(db, tx, SUPPORT, "test.act", "payment", None, {"amount": 1.5})


@pytest.mark.parametrize("card", ["4242424242424242", "3782 822463 10005"])
def test_a_card_number_never_reaches_the_trail(db: Database, card: str) -> None:
    actor = Actor("sam", frozenset({"support"}), command=f"payctl payments process --note {card}")
    with db.transaction() as tx:
        record(db, tx, actor, "test.act", "payment", None, {"note": [f"card {card}"]}, card)
    (found,) = AuditTrail(db).list(ADMIN)
    shown = f"{found}"
    assert card not in shown and card.replace(" ", "") not in shown


def test_denials_and_looks_at_masked_data_are_recorded(db: Database) -> None:
    trail = AuditTrail(db)
    with pytest.raises(Forbidden) as refused:
        trail.list(SUPPORT)
    trail.denied(SUPPORT, refused.value)
    trail.revealed(SUPPORT, "payment", None, "phone")
    with pytest.raises(Forbidden):
        trail.revealed(ADMIN, "payment", None, "phone")
    found = trail.list(ADMIN)
    assert [row.action for row in found] == ["revealed", "denied"]
    assert found[1].data["permission"] == "audit.read"


def test_searching_by_action_actor_and_time(db: Database, clock: ManualClock) -> None:
    with db.transaction() as tx:
        record(db, tx, SUPPORT, "refund.created", "refund", None, {})
        record(db, tx, ADMIN, "refunds.other", "refund", None, {})
    clock.advance(timedelta(hours=1))
    with db.transaction() as tx:
        record(db, tx, ADMIN, "refund.sent", "refund", None, {})
    trail = AuditTrail(db)
    assert [row.action for row in trail.list(ADMIN, action="refund")] == [
        "refund.sent", "refund.created",
    ]  # fmt: skip
    assert [row.actor for row in trail.list(ADMIN, by="sam")] == ["sam"]
    assert len(trail.list(ADMIN, since=clock.now())) == 1
    assert len(trail.list(ADMIN, until=clock.now())) == 2
    newest = trail.list(ADMIN, limit=1)[0]
    assert len(trail.list(ADMIN, after=newest.id)) == 2
    assert trail.get(ADMIN, newest.id) == newest
    with pytest.raises(NotFound):
        trail.get(ADMIN, db.ids.new())
