"""Operators: who is it, what may they do, and who keeps the keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

import payctl
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.operators import PERMISSIONS, Operators, job_actor, require
from payctl.db.permissions import LOCAL_ROLES
from payctl.db.tables import ROLES, operator, operator_token
from payctl.errors import Conflict, Forbidden, InvalidInput, NotConfigured, NotFound
from tests.db.people import ADMIN, APPROVER, FINANCE, SUPPORT, VIEWER

pytestmark = pytest.mark.integration


@pytest.fixture
def people(db: Database) -> Operators:
    return Operators(db)


def test_a_fresh_embedded_book_makes_its_first_user_the_local_operator(people: Operators) -> None:
    actor = people.identify(token=None, local="ama", host="h", session="s", command="c")
    assert (actor.name, actor.kind, actor.roles) == ("ama", "operator", LOCAL_ROLES)
    assert (actor.host, actor.session, actor.command) == ("h", "s", "c")
    assert people.identify(token=None, local="ama").operator_id == actor.operator_id
    assert [each.name for each in people.list()] == ["ama"]


def test_another_user_of_the_machine_is_nobody(people: Operators) -> None:
    people.identify(token=None, local="ama")
    with pytest.raises(NotConfigured, match=r"operator\.token_missing"):
        people.identify(token=None, local="mallory")


def test_a_server_book_begins_with_an_admin_and_only_with_one(people: Operators) -> None:
    setup = people.identify(token=None, local=None)
    with pytest.raises(Conflict, match="first_is_admin"):
        people.add(setup, "sam", ["support"])
    _, token = people.add(setup, "ada", ["admin"])
    assert people.identify(token=token, local=None).roles == {"admin"}
    with pytest.raises(NotConfigured, match=r"operator\.token_missing"):
        people.identify(token=None, local=None)
    with pytest.raises(Conflict, match="first_is_admin"):
        people.add(setup, "eve", ["admin"])


def test_the_core_service_is_an_actor_of_its_own_kind(people: Operators) -> None:
    _, token = people.add(ADMIN, "shop", ["core"])
    assert people.identify(token=token, local=None).kind == "core"


def test_a_token_is_kept_only_as_a_hash_and_shown_once(db: Database, people: Operators) -> None:
    _, token = people.add(ADMIN, "sam", ["support"])
    assert token is not None and token.startswith("pct_") and len(token) == 68
    with db.read() as tx:
        (row,) = tx.execute(sa.select(operator_token)).all()
        everything = str(tx.execute(sa.text("SELECT * FROM audit")).all()) + str(row)
    assert len(row.hash) == 32
    assert token not in everything and token[4:] not in everything


def test_wrong_revoked_and_disabled_tokens_are_refused(people: Operators) -> None:
    people.add(ADMIN, "ada", ["admin"])
    _, old = people.add(ADMIN, "sam", ["support"])
    new = people.new_token(ADMIN, "sam")
    assert people.identify(token=old, local=None).name == "sam"
    newest = people.new_token(SUPPORT, "sam", revoke_others=True)
    for dead in (old, new, "pct_wrong"):
        with pytest.raises(Forbidden, match=r"operator\.bad_token"):
            people.identify(token=dead, local="ada")
    assert people.identify(token=newest, local=None).name == "sam"
    people.disable(ADMIN, "sam", "left")
    with pytest.raises(Forbidden):
        people.identify(token=newest, local=None)


def test_a_local_operator_with_a_token_needs_it(people: Operators) -> None:
    actor = people.identify(token=None, local="ama")
    token = people.new_token(actor, "ama")
    with pytest.raises(NotConfigured, match=r"operator\.token_missing"):
        people.identify(token=None, local="ama")
    assert people.identify(token=token, local="ama").name == "ama"


def test_nobody_issues_tokens_for_others_but_an_admin(people: Operators) -> None:
    people.add(ADMIN, "kofi", ["approver"])
    with pytest.raises(Forbidden):
        people.new_token(SUPPORT, "kofi")
    with pytest.raises(NotFound):
        people.new_token(ADMIN, "nobody")


@pytest.mark.parametrize(
    ("roles", "code"),
    [
        (["admin", "approver"], "admin_cannot_approve"),
        ([], "no_role"),
        (["boss"], "unknown_role"),
        (["core", "viewer"], "core_alone"),
        (["setup"], "unknown_role"),
        (["job.sync"], "unknown_role"),
    ],
)
def test_roles_that_cannot_be(people: Operators, roles: list[str], code: str) -> None:
    people.add(ADMIN, "sam", ["support"])
    with pytest.raises(InvalidInput, match=code):
        people.add(ADMIN, "new", roles)
    with pytest.raises(InvalidInput, match=code):
        people.set_roles(ADMIN, "sam", roles, "why")
    assert [each.roles for each in people.list()] == [("support",)]


def test_the_database_itself_keeps_admin_and_approver_apart(
    db: Database, people: Operators
) -> None:
    people.add(ADMIN, "sam", ["support"])
    with pytest.raises(sa.exc.IntegrityError), db.transaction() as tx:
        tx.execute(sa.update(operator).values(roles=["admin", "approver"]))


def test_the_last_admin_stays(people: Operators) -> None:
    people.add(ADMIN, "ada", ["admin"])
    with pytest.raises(Conflict, match="last_admin"):
        people.disable(ADMIN, "ada", "why")
    with pytest.raises(Conflict, match="last_admin"):
        people.set_roles(ADMIN, "ada", ["viewer"], "why")
    people.add(ADMIN, "bea", ["admin"])
    assert people.disable(ADMIN, "ada", "why").state == "disabled"
    assert people.disable(ADMIN, "ada", "again").state == "disabled"


def test_names_and_reasons_are_required(people: Operators) -> None:
    people.add(ADMIN, "ada", ["admin"])
    with pytest.raises(Conflict, match="exists"):
        people.add(ADMIN, "ada", ["viewer"])
    for name in ("", "x" * 61, "a b", "a\n"):
        with pytest.raises(InvalidInput, match="bad_name"):
            people.add(ADMIN, name, ["viewer"])
    with pytest.raises(InvalidInput, match=r"reason\.missing"):
        people.disable(ADMIN, "ada", "  ")
    with pytest.raises(NotFound):
        people.set_roles(ADMIN, "nobody", ["viewer"], "why")


def test_a_dry_run_changes_nobody(people: Operators) -> None:
    people.add(ADMIN, "ada", ["admin"])
    made, token = people.add(ADMIN, "sam", ["support"], dry_run=True)
    assert made.name == "sam" and token
    people.set_roles(ADMIN, "ada", ["admin", "viewer"], "why", dry_run=True)
    assert [(each.name, each.roles) for each in people.list()] == [("ada", ("admin",))]


@pytest.mark.parametrize("actor", [SUPPORT, FINANCE, APPROVER, VIEWER])
def test_only_an_admin_manages_operators(people: Operators, actor: Actor) -> None:
    with pytest.raises(Forbidden, match=r"operator\.not_allowed"):
        people.add(actor, "sam", ["support"])


@pytest.mark.unit
def test_what_must_never_be_possible() -> None:
    """The rules of the house, told apart from the table that implements them."""
    assert PERMISSIONS["approval.decide"] == {"approver"}
    assert "admin" not in PERMISSIONS["refund.create"] | PERMISSIONS["refund.send"]
    assert "admin" not in PERMISSIONS["case.resolve"] | PERMISSIONS["withdrawal.request"]
    assert "approver" not in PERMISSIONS["refund.create"] | PERMISSIONS["operator.manage"]
    viewer = {permission for permission, roles in PERMISSIONS.items() if "viewer" in roles}
    assert viewer == {"read", "ledger.check"}
    for permission, roles in PERMISSIONS.items():
        assert roles <= {*ROLES, "core", "setup"} | {r for r in roles if r.startswith("job.")}
        if permission.startswith(("approval.decide", "operator", "threshold", "routing")):
            assert not any(role.startswith("job.") for role in roles), permission


@pytest.mark.unit
def test_a_job_may_do_its_own_work_only() -> None:
    actor = job_actor("payment_sync", "job.sync")
    require(actor, "payment.sync")
    for permission in ("approval.decide", "operator.manage", "ledger.post", "hold.expire"):
        with pytest.raises(Forbidden):
            require(actor, permission)


def _asked() -> Iterator[tuple[str, str]]:
    root = Path(payctl.__file__).parent
    for source in (*root.rglob("*.py"), *(root.parent / "jobs").glob("*.py")):
        text = source.read_text(encoding="utf-8")
        for name in re.findall(r"\brequire\(\s*[\w.]+,\s*\"([^\"]+)\"", text):
            yield source.name, name


@pytest.mark.unit
def test_every_permission_the_code_asks_for_is_in_the_table() -> None:
    asked = list(_asked())
    assert len(asked) > 10
    assert [each for each in asked if each[1] not in PERMISSIONS] == []
