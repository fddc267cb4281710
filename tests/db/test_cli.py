"""The nouns of this room from the command line: output, exit codes, and what is written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from payctl import ids
from payctl.app import App
from payctl.config import load
from payctl.db import migrate
from payctl.db.approvals import Approvals
from payctl.db.audit_trail import AuditTrail
from payctl.db.engine import Database
from payctl.db.operators import Operators
from payctl.errors import ExitCode, OutcomeOpen
from tests.cli.runner import Result, run
from tests.cli.schemas import check
from tests.db.people import ADMIN, SUPPORT

pytestmark = pytest.mark.integration


@pytest.fixture
def tokens(db: Database) -> dict[str, dict[str, str]]:
    """Environments of four people with tokens of their own."""
    people = Operators(db)
    made = {
        "ada": people.add(ADMIN, "ada", ["admin"])[1],
        "sam": people.add(ADMIN, "sam", ["support"])[1],
        "fatou": people.add(ADMIN, "fatou", ["finance"])[1],
        "kofi": people.add(ADMIN, "kofi", ["approver"])[1],
    }
    return {name: {"PAYCTL_OPERATOR_TOKEN": str(token)} for name, token in made.items()}


def asked(db: Database, kind: str = "write_off") -> str:
    with db.transaction() as tx:
        new = Approvals(db).request(
            tx, SUPPORT, kind=kind, subject_kind="refund", subject_id=None, amount_minor=30_000,
            currency="EUR", content={"amount_minor": 30_000}, reason="show off",
        )  # fmt: skip
    return ids.encode("approval", new)


def checked(result: Result) -> Any:
    assert result.code == 0, result.err
    return check(result.json)


def test_operators_from_the_command_line(db: Database, tokens: dict[str, dict[str, str]]) -> None:
    ada = tokens["ada"]
    made = checked(
        run("operators", "add", "eve", "--roles", "support, finance", "--json", db=db, environ=ada)
    )
    assert made["token"].startswith("pct_") and made["roles"] == ["finance", "support"]
    dry = run("operators", "add", "x", "--roles", "viewer", "--dry-run", "--json", db=db,
              environ=ada)  # fmt: skip
    assert "token" not in checked(dry)
    change = ("operators", "roles", "eve", "--roles", "viewer", "--reason", "moved", "--json")
    assert checked(run(*change, db=db, environ=ada))["roles"] == ["viewer"]
    gone = run("operators", "disable", "eve", "--reason", "left", "--json", db=db, environ=ada)
    assert checked(gone)["status"] == "disabled"
    again = checked(run("operators", "token", "sam", "--json", db=db, environ=tokens["sam"]))
    assert again["token"].startswith("pct_")
    listed = checked(run("operators", "list", "--json", db=db, environ=ada))
    assert [item["name"] for item in listed["items"]] == ["ada", "eve", "fatou", "kofi", "sam"]
    assert "pct_" not in json.dumps(listed)


def test_a_refusal_exits_4_and_enters_the_audit_trail(
    db: Database, tokens: dict[str, dict[str, str]]
) -> None:
    line = ("operators", "add", "eve", "--roles", "admin", "--json")
    refused = run(*line, db=db, environ=tokens["sam"])
    assert (refused.code, refused.error["code"]) == (ExitCode.CONFIG, "operator.not_allowed")
    stranger = run(*line, db=db, environ={"PAYCTL_OPERATOR_TOKEN": "pct_wrong"})
    assert (stranger.code, stranger.error["code"]) == (ExitCode.CONFIG, "operator.bad_token")
    denied = AuditTrail(db).list(ADMIN, action="denied")
    assert [row.actor_kind for row in denied] == ["unknown", "operator"]
    assert denied[1].actor == "sam" and denied[1].data["permission"] == "operator.manage"
    assert "operators add eve" in denied[1].command
    assert "pct_" not in f"{denied} {stranger.err}"


def test_four_eyes_from_the_command_line(db: Database, tokens: dict[str, dict[str, str]]) -> None:
    one = asked(db)
    listed = checked(run("approvals", "list", "--json", db=db, environ=tokens["kofi"]))
    assert [item["id"] for item in listed["items"]] == [one]
    assert checked(run("approvals", "show", one, "--json", db=db, environ=tokens["sam"]))[
        "status"
    ] == "pending"  # fmt: skip
    own = run("approvals", "approve", one, "--reason", "me", db=db, environ=tokens["sam"])
    assert own.code == ExitCode.CONFIG
    dry = ("approvals", "approve", one, "--reason", "looks right", "--json", "--dry-run")
    assert checked(run(*dry, db=db, environ=tokens["kofi"]))["status"] == "approved"
    done = run(*dry[:-1], db=db, environ=tokens["kofi"])
    assert checked(done)["decided_by"] == "kofi" and "sam" in done.err
    twice = run(*dry[:-1], db=db, environ=tokens["kofi"])
    assert (twice.code, twice.error["code"]) == (ExitCode.CONFLICT, "approval.decided")
    two = asked(db)
    no = run("approvals", "reject", two, "--reason", "no", "--json", db=db, environ=tokens["kofi"])
    assert checked(no)["status"] == "rejected"
    every = run("approvals", "list", "--status", "all", "--json", db=db, environ=tokens["kofi"])
    assert len(checked(every)["items"]) == 2
    first = run("approvals", "list", "--status", "all", "--limit", "1", "--json", db=db,
                environ=tokens["kofi"])  # fmt: skip
    assert checked(first)["next"] == two and "--after" in first.err


def test_what_waited_for_an_approval_is_done_at_once(
    db: Database, tokens: dict[str, dict[str, str]]
) -> None:
    environ = {"HOME": "/nonexistent", "LANG": "C", **tokens["kofi"]}
    app = App(load(environ=environ), db)
    seen: list[Any] = []
    app.after_approval["write_off"] = lambda actor, found: seen.append((actor.name, found.state))
    assert (
        run("approvals", "approve", asked(db), "--reason", "y", app=app, environ=environ).code == 0
    )
    assert seen == [("kofi", "approved")]
    app.after_approval["write_off"] = lambda actor, found: ExitCode.OPEN
    open_ = run("approvals", "approve", asked(db), "--reason", "y", app=app, environ=environ)
    assert open_.code == ExitCode.OPEN

    def fails(actor: Any, found: Any) -> None:
        raise OutcomeOpen("payment.outcome_open", id="x")

    app.after_approval["write_off"] = fails
    failed = asked(db)
    assert run("approvals", "approve", failed, "--reason", "y", app=app, environ=environ).code == 8
    assert app.approvals.get(ids.decode(failed)).state == "approved"


def test_thresholds_from_the_command_line(db: Database, tokens: dict[str, dict[str, str]]) -> None:
    line = ("approvals", "thresholds", "set", "refund", "--currency", "TND", "--amount", "10.000",
            "--daily-minor", "20000", "--reason", "opening", "--json")  # fmt: skip
    assert run(*line, "--dry-run", db=db, environ=tokens["ada"]).code == 0
    waiting = run(*line, db=db, environ=tokens["ada"])
    assert waiting.code == ExitCode.APPROVAL
    new = check(waiting.json)["id"]
    before = checked(run("approvals", "thresholds", "list", "--json", db=db, environ=tokens["sam"]))
    assert "TND" not in {item["currency"] for item in before["items"]}
    assert (
        run("approvals", "approve", new, "--reason", "ok", db=db, environ=tokens["kofi"]).code == 0
    )
    after = checked(
        run("approvals", "thresholds", "list", "--history", "--json", db=db, environ=tokens["sam"])
    )
    (rule,) = [item for item in after["items"] if item["currency"] == "TND"]
    assert (rule["limit_minor"], rule["set_by"], rule["always"]) == (10_000, "ada", False)
    ambiguous = run(*line[:6], "--amount", "10", *line[8:], db=db, environ=tokens["ada"])
    assert (ambiguous.code, ambiguous.error["code"]) == (ExitCode.USAGE, "amount.ambiguous")


def test_the_audit_trail_from_the_command_line(
    db: Database, tokens: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    fatou = tokens["fatou"]
    listed = checked(run("audit", "list", "--action", "operator", "--json", db=db, environ=fatou))
    assert {item["action"] for item in listed["items"]} == {
        "operator.added", "operator.token_issued",
    }  # fmt: skip
    one = listed["items"][0]
    shown = checked(run("audit", "show", one["id"], "--json", db=db, environ=fatou))
    assert shown["hash"] == one["hash"]
    mine = run("audit", "list", "--subject", one["subject_id"], "--json", db=db, environ=fatou)
    assert len(checked(mine)["items"]) == 2
    assert checked(run("audit", "verify", "--json", db=db, environ=fatou))["ok"]
    exported = run("audit", "export", db=db, environ=fatou)
    lines = [json.loads(line) for line in exported.out.splitlines()]
    assert sum("head" in line for line in lines) >= 1 and len(lines) >= 9
    file = tmp_path / "export.jsonl"
    file.write_text(exported.out)
    kept = ("audit", "verify", "--against", str(file), "--json")
    assert checked(run(*kept, db=db, environ=fatou))["ok"]
    forged = next(line for line in lines if "head" in line)["head"] | {"hash": "00" * 32}
    file.write_text(json.dumps({"head": forged}))
    failed = run(*kept, db=db, environ=fatou)
    assert failed.code == ExitCode.CHECK_FAILED
    assert check(failed.json)["damages"][0]["what"] == "anchor_differs"
    for broken in ("", "{}", "no json", '{"head": {"chain": "x"}}'):
        file.write_text(broken)
        assert run(*kept, db=db, environ=fatou).error["code"] == "audit.bad_export"
    assert run("audit", "list", db=db, environ=tokens["sam"]).code == ExitCode.CONFIG


def test_jobs_from_the_command_line(db: Database, tokens: dict[str, dict[str, str]]) -> None:
    ada, name = tokens["ada"], "approvals_expire"
    assert name in {each["name"] for each in checked(run("jobs", "list", "--json", db=db,
                                                         environ=ada))["items"]}  # fmt: skip
    dry = run("jobs", "run", name, "--dry-run", "--json", db=db, environ=ada)
    assert checked(dry)["role"] == "job.expire"
    done = checked(run("jobs", "run", name, "--json", db=db, environ=ada))
    assert (done["counts"], done["failed"]) == ({"expired": 0}, 0)
    history = checked(run("jobs", "history", name, "--json", db=db, environ=ada))
    assert [item["status"] for item in history["items"]] == ["done"]
    unknown = run("jobs", "run", "nothing", "--json", db=db, environ=ada)
    assert (unknown.code, unknown.error["code"]) == (ExitCode.NOT_FOUND, "job.not_found")
    app = App(load(environ={"HOME": "/nonexistent"}), db)
    with app.job_runs.run(name, ADMIN):
        held = run("jobs", "run", name, "--json", db=db, environ=ada)
        assert (held.code, held.error["code"]) == (ExitCode.LOCKED, "lease.held")
        locks = checked(run("jobs", "locks", "--json", db=db, environ=ada))
        assert [item["name"] for item in locks["items"]] == [f"job:{name}"]
        freed = run("jobs", "unlock", f"job:{name}", "--reason", "dead", "--json", db=db,
                    environ=ada)  # fmt: skip
        assert checked(freed)["name"] == f"job:{name}"
    viewer = Operators(db).add(ADMIN, "vic", ["viewer"])[1]
    refused = run("jobs", "run", name, db=db, environ={"PAYCTL_OPERATOR_TOKEN": str(viewer)})
    assert refused.code == ExitCode.CONFIG


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_cron_runs_jobs_without_an_operator_and_nothing_else(
    db: Database, tokens: dict[str, dict[str, str]]
) -> None:
    assert run("jobs", "run", "approvals_expire", db=db).code == 0
    refused = run("operators", "list", "--json", db=db)
    assert refused.error["code"] == "operator.token_missing"
    wrong = {"PAYCTL_OPERATOR_TOKEN": "pct_wrong"}
    assert run("jobs", "run", "approvals_expire", db=db, environ=wrong).code == ExitCode.CONFIG


def test_the_doctor_from_the_command_line(db: Database) -> None:
    found = run("doctor", "--offline", "--json", db=db)
    assert found.code == ExitCode.CHECK_FAILED
    shown = check(found.json)
    (behind,) = [item for item in shown["items"] if item["check"] == "migrations"]
    assert behind["fix"] == "payctl db upgrade" and shown["ok"] is False
    french = run("doctor", "--offline", "--lang", "fr", "--json", db=db)
    assert "ce programme exige" in french.out


def test_a_book_of_ones_own_from_upgrade_to_restore(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "PAYCTL_DATABASE_URL": f"sqlite:///{tmp_path}/b.sqlite3"}

    def line(*words: str) -> Result:
        return run(*words, "--json", environ=environ)

    before = line("db", "status")
    assert before.code == ExitCode.CHECK_FAILED and not check(before.json)["ready"]
    assert not (tmp_path / "b.sqlite3").exists()
    assert not checked(line("db", "upgrade", "--dry-run"))["ready"]
    assert checked(line("db", "upgrade"))["revision"] == migrate.HEAD
    assert checked(line("db", "status"))["ready"]
    file = tmp_path / "backup"
    made = checked(line("db", "backup", str(file)))
    assert checked(line("db", "verify", str(file)))["contents_verified"]
    assert line("db", "backup", str(file)).error["code"] == "backup.exists"
    asks = line("db", "restore", str(file))
    assert (asks.code, asks.error["code"]) == (ExitCode.USAGE, "confirm.required")
    new = tmp_path / "new.sqlite3"
    into = ("db", "restore", str(file), "--into", str(new))
    assert checked(line(*into, "--dry-run"))["sha256"] == made["sha256"]
    assert not new.exists()
    assert checked(line(*into, "--confirm", "new.sqlite3"))["sha256"] == made["sha256"]
    assert checked(line("db", "restore", str(file), "--confirm", "payctl"))
    with file.open("ab") as stream:
        stream.write(b"x")
    damaged = line("db", "verify", str(file))
    assert (damaged.code, damaged.error["code"]) == (ExitCode.CHECK_FAILED, "backup.damaged")


def test_the_first_command_of_a_newcomer_makes_the_book(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    listed = checked(run("operators", "list", "--json", environ=environ))
    assert [item["roles"] for item in listed["items"]] == [
        ["admin", "finance", "support", "viewer"]
    ]


def test_a_server_book_that_was_not_upgraded_names_the_command(
    pg_server: Any, tmp_path: Path
) -> None:
    from tests import books

    url = books.new_pg_database(pg_server.url, "raw")
    environ = {"HOME": str(tmp_path), "PAYCTL_DATABASE_URL": url}
    refused = run("approvals", "list", "--json", environ=environ)
    assert (refused.code, refused.error["code"]) == (ExitCode.CONFIG, "database.not_upgraded")
    assert refused.error["next"] == "payctl db upgrade"
    assert run("db", "upgrade", environ=environ).code == 0
    first = run("operators", "add", "ada", "--roles", "admin", "--json", environ=environ)
    token = {"PAYCTL_OPERATOR_TOKEN": checked(first)["token"]}
    assert run("approvals", "list", environ=environ | token).code == 0
