"""Parties are opened by their first sale, once, and changed with a reason."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.errors import Forbidden, InvalidInput, NotFound
from payctl.parties.service import Parties

pytestmark = pytest.mark.integration

DESK = Actor("sam", frozenset({"support"}))


def test_first_use_opens_with_the_books_country(db: Database) -> None:
    parties = Parties(db, "CI")
    with db.transaction() as tx:
        opened = parties.open(tx, "org-1")
        assert parties.open(tx, "org-1", kind="designer") == opened
    assert (opened.kind, opened.country, opened.name, opened.status) == (
        "organiser", "CI", "org-1", "active",
    )  # fmt: skip


def test_first_uses_at_once_open_one(db: Database) -> None:
    parties = Parties(db, "CI")
    start = Barrier(6)

    def work(_: int) -> object:
        start.wait()
        with db.transaction() as tx:
            return parties.open(tx, "org-1").id

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(work, range(6)))) == 1
    assert len(parties.list()) == 1


def test_set_changes_what_is_given(db: Database) -> None:
    parties = Parties(db, "CI")
    parties.set(DESK, "org-1", "onboarding", name="Festival du Zébu", country="SN")
    party = parties.set(DESK, "org-1", "fraud", status="blocked")
    assert (party.name, party.country, party.status) == ("Festival du Zébu", "SN", "blocked")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"country": "ZZ"}, "country.unknown"),
        ({"status": "gone"}, "party.unknown_status"),
        ({"name": " "}, "party.bad_name"),
    ],
)
def test_bad_values_open_nothing(db: Database, given: dict[str, str], code: str) -> None:
    parties = Parties(db, "CI")
    with pytest.raises(InvalidInput) as error:
        parties.set(DESK, "org-1", "x", **given)  # type: ignore[arg-type]
    assert error.value.code == code
    assert parties.list() == []


def test_refusals(db: Database) -> None:
    parties = Parties(db, "CI")
    with pytest.raises(Forbidden):
        parties.set(Actor("v", frozenset({"viewer"})), "org-1", "x", name="y")
    with pytest.raises(InvalidInput, match=r"reason\.missing"):
        parties.set(DESK, "org-1", " ", name="y")
    for ref in ("", "  ", "x" * 201):
        with pytest.raises(InvalidInput, match=r"party\.bad_ref"), db.transaction() as tx:
            parties.open(tx, ref)
    with pytest.raises(InvalidInput, match=r"party\.unknown_kind"), db.transaction() as tx:
        parties.open(tx, "org-1", kind="venue")
    with pytest.raises(NotFound), db.read() as tx:
        parties.get(tx, "org-1")


def test_a_wrong_country_in_the_configuration_is_said(db: Database) -> None:
    with pytest.raises(InvalidInput, match=r"country\.unknown"), db.transaction() as tx:
        Parties(db, "Ivory").open(tx, "org-1")


def test_list_pages(db: Database) -> None:
    parties = Parties(db, "CI")
    with db.transaction() as tx:
        for number in range(5):
            parties.open(tx, f"org-{number}")
    page = parties.list(limit=2)
    assert [p.ref for p in page] == ["org-0", "org-1"]
    assert [p.ref for p in parties.list(after=page[-1].ref)] == ["org-2", "org-3", "org-4"]
