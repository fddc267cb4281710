"""A key is claimed once, whoever else claims it at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payctl.db.engine import Database
from payctl.db.idempotency import MAX_KEY, claim, fingerprint, settle
from payctl.errors import Conflict, InvalidInput

pytestmark = pytest.mark.integration

PRINT = fingerprint({"amount": 1})


def test_a_second_claim_returns_what_the_first_settled(db: Database) -> None:
    subject = db.ids.new()
    with db.transaction() as tx:
        assert claim(db, tx, "payment", "k1", PRINT).new
        settle(tx, "payment", "k1", "succeeded", subject, {"id": "x", "n": 3})
    with db.transaction() as tx:
        again = claim(db, tx, "payment", "k1", PRINT)
    assert (again.new, again.outcome, again.subject_id) == (False, "succeeded", subject)
    assert again.response == {"id": "x", "n": 3}


def test_the_same_key_in_another_scope_is_another_key(db: Database) -> None:
    with db.transaction() as tx:
        assert claim(db, tx, "payment", "k1", PRINT).new
        assert claim(db, tx, "refund", "k1", PRINT).new


def test_a_key_with_another_request_is_refused(db: Database) -> None:
    with db.transaction() as tx:
        claim(db, tx, "payment", "k1", PRINT)
    with pytest.raises(Conflict, match=r"key\.reused"), db.transaction() as tx:
        claim(db, tx, "payment", "k1", fingerprint({"amount": 2}))


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY + 1)])
def test_a_key_of_impossible_length_is_refused(db: Database, key: str) -> None:
    with pytest.raises(InvalidInput, match=r"key\.bad_length"), db.transaction() as tx:
        claim(db, tx, "payment", key, PRINT)


@pytest.mark.parametrize("commits", [True, False])
def test_a_claim_waits_for_the_one_in_flight(db: Database, commits: bool) -> None:
    """The second claim must see the first one's end: its outcome, or that it never happened."""
    claimed, go = threading.Event(), threading.Event()

    def first() -> None:
        try:
            with db.transaction() as tx:
                assert claim(db, tx, "payment", "race", PRINT).new
                claimed.set()
                assert go.wait(10)
                settle(tx, "payment", "race", "succeeded")
                if not commits:
                    raise KeyError("roll back")
        except KeyError:
            pass

    def second() -> tuple[bool, str | None]:
        with db.transaction() as tx:
            found = claim(db, tx, "payment", "race", PRINT)
            return found.new, found.outcome

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        assert claimed.wait(10)
        two = pool.submit(second)
        with pytest.raises(TimeoutError):
            two.result(0.3)
        go.set()
        one.result(10)
        assert two.result(20) == ((False, "succeeded") if commits else (True, None))


def test_of_many_claims_at_once_exactly_one_is_new(db: Database) -> None:
    barrier = threading.Barrier(8)

    def attempt(_: int) -> bool:
        barrier.wait(10)
        with db.transaction() as tx:
            found = claim(db, tx, "payment", "crowd", PRINT)
            if found.new:
                settle(tx, "payment", "crowd", "succeeded")
            return found.new

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


@pytest.mark.unit
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=4))
def test_a_fingerprint_does_not_depend_on_the_order_of_fields(request: dict[str, object]) -> None:
    turned = dict(reversed(list(request.items())))
    assert fingerprint(request) == fingerprint(turned)
    assert fingerprint({**request, "new field": 1}) != fingerprint(request)
