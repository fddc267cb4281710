"""``payctl audit``: who did what, in an unbroken chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli.framework import (
    AfterOption,
    Column,
    ExitCode,
    LimitOption,
    Section,
    SinceOption,
    UntilOption,
    command,
    emit,
    emit_list,
    finish,
    noun,
    session,
)
from payctl.errors import InvalidInput

if TYPE_CHECKING:
    from payctl.db.audit_trail import AuditRecord, Damage, Head

app = noun("audit")
COLUMNS = (
    Column("at", "time", rank=0),
    Column("actor", rank=0),
    Column("action", rank=0),
    Column("subject_id", "id", rank=1),
    Column("reason", rank=2),
    Column("command", rank=4),
    Column("id", "id", rank=3),
)
VIEW = (
    Column("id", "id"),
    Column("at", "time"),
    Column("actor"),
    Column("actor_kind"),
    Column("host"),
    Column("session"),
    Column("command"),
    Column("action"),
    Column("subject_kind"),
    Column("subject_id", "id"),
    Column("reason"),
    Column("data"),
    Column("chain", "number"),
    Column("seq", "number"),
    Column("hash"),
)
DAMAGES = (
    Column("what", rank=0),
    Column("chain", "number"),
    Column("seq", "number"),
    Column("detail"),
)


@command(
    app,
    "list",
    examples=[
        "payctl audit list --since 1d",
        "payctl audit list --action approval --by ama",
        "payctl audit list --subject rfd_... --json",
    ],
)
def list_records(
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Only this operator or job.")
    ] = None,
    action: Annotated[
        str | None,
        typer.Option("--action", metavar="NAME", help="approval.approved, or its first part."),
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="ID", help="Only acts on this object.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
) -> None:
    """List records, newest first."""
    run = session()
    found = run.app.audit.list(
        run.actor,
        by=by,
        action=action,
        subject_id=ids.decode(subject) if subject else None,
        since=since,
        until=until,
        after=ids.decode(after, "audit") if after else None,
        limit=limit,
    )
    cut = ids.encode("audit", found[-1].id) if len(found) == limit else None
    emit_list(
        map(_json, found),
        "payctl.audit_records/1",
        COLUMNS,
        next_cursor=cut,
        hint="payctl audit show ID",
    )


@command(app, "show", examples=["payctl audit show aud_...", "payctl audit show aud_... --json"])
def show(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="The record (aud_...).")],
) -> None:
    """Show one record with its data and its place in the chain."""
    run = session()
    found = run.app.audit.get(run.actor, ids.decode(record, "audit"))
    emit(_json(found), "payctl.audit_record/1", VIEW)


@command(
    app,
    "verify",
    examples=["payctl audit verify", "payctl audit verify --against audit-2026-10.jsonl"],
    exits={ExitCode.CHECK_FAILED: "a record was changed, moved or removed"},
)
def verify(
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="An earlier export: its heads must still be there.",
        ),
    ] = None,
) -> None:
    """Recompute every hash and link of every chain."""
    run = session()
    report = run.app.audit.verify(run.actor, _anchors(against) if against else ())
    emit(
        {
            "ok": report.ok,
            "records": report.records,
            "heads": [_head(head) for head in report.heads],
            "damages": [_damage(damage) for damage in report.damages],
        },
        "payctl.audit_report/1",
        (Column("ok", "state"), Column("records", "number"), Section("damages", DAMAGES)),
        id_key="ok",
    )
    if not report.ok:
        finish(ExitCode.CHECK_FAILED)


@command(
    app,
    "export",
    examples=["payctl audit export > audit-2026-11.jsonl", "payctl audit export | wc -l"],
)
def export() -> None:
    """Write every record as JSON lines, each chain followed by its head.

    Keep the file elsewhere: "payctl audit verify --against FILE" then shows whether the trail was
    cut or rewritten since.
    """
    from payctl.db.audit_trail import Head

    run = session()
    for item in run.app.audit.export(run.actor):
        content = {"head": _head(item)} if isinstance(item, Head) else _json(item)
        typer.echo(json.dumps(content, default=_text, ensure_ascii=False))


def _anchors(file: Path) -> list[Head]:
    heads: list[Head] = []
    from payctl.db.audit_trail import Head

    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                found = json.loads(line).get("head")
                if found is not None:
                    hash_ = bytes.fromhex(found["hash"])
                    heads.append(Head(int(found["chain"]), int(found["seq"]), hash_))
            except (ValueError, KeyError, TypeError, AttributeError):
                raise InvalidInput(
                    "audit.bad_export", field="against", path=str(file), line=number
                ) from None
    if not heads:
        raise InvalidInput("audit.bad_export", field="against", path=str(file), line=0)
    return heads


def _json(found: AuditRecord) -> dict[str, Any]:
    subject = found.subject_id
    known = subject is not None and found.subject_kind in ids.PREFIXES
    return {
        "id": ids.encode("audit", found.id),
        "at": found.at,
        "actor": found.actor,
        "actor_kind": found.actor_kind,
        "host": found.host,
        "session": found.session,
        "command": found.command,
        "action": found.action,
        "subject_kind": found.subject_kind,
        "subject_id": ids.encode(found.subject_kind, subject)
        if known and subject is not None
        else subject and str(subject),
        "reason": found.reason,
        "data": dict(found.data),
        "chain": found.chain,
        "seq": found.seq,
        "hash": found.hash.hex(),
    }


def _head(head: Head) -> dict[str, Any]:
    return {"chain": head.chain, "seq": head.seq, "hash": head.hash.hex()}


def _damage(damage: Damage) -> dict[str, Any]:
    return {
        "what": damage.what,
        "chain": damage.chain,
        "seq": damage.seq,
        "detail": damage.detail,
    }


def _text(value: Any) -> str:
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
