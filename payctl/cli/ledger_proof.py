"""``payctl ledger check|seal|verify|proof``: check and seal the book, prove it to others."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli.framework import (
    Column,
    ExitCode,
    LimitOption,
    command,
    confirm,
    emit,
    emit_list,
    finish,
    note,
    progress,
    session,
)
from payctl.cli.ledger_app import app
from payctl.cli.messages import say

if TYPE_CHECKING:
    from payctl.ledger.anchors import Anchored
    from payctl.ledger.blocks import Block
    from payctl.ledger.verify import Verification

SEAL = (
    Column("blocks", "number"), Column("journals", "number"), Column("head.block", "number"),
    Column("head.total_journals", "number", label="sealed journals"), Column("head.hash"),
)  # fmt: skip
CHECKS = (
    Column("check", "id", rank=0),
    Column("status", "state", rank=0),
    Column("text", "long", rank=0),
)
BREAKS = (
    Column("kind", "id", rank=0),
    Column("block", "number", rank=0),
    Column("account", rank=2),
    Column("detail", "long", rank=1),
)
PROOF = (
    Column("id", "id"),
    Column("journal.kind", label="kind"),
    Column("journal.posted_at", label="posted at"),
    Column("content_hash"),
    Column("position", "number"),
)


@command(
    app,
    "check",
    examples=["payctl ledger check", "payctl ledger check --json"],
    exits={ExitCode.CHECK_FAILED: "something does not hold; each finding names the account"},
)
def check() -> None:
    """Ask the whole book whether everything that must hold does; changes nothing."""
    run = session()
    report = run.app.check_ledger()
    lines = [
        {"check": each.name, "status": "ok" if each.ok else "fail", "text": each.description}
        for each in report.results
    ]
    violations = [
        {"check": each.name, "account": each.account, "amount_minor": each.amount_minor,
         "currency": each.currency, "detail": each.detail}
        for each in report.violations
    ]  # fmt: skip
    sealed = report.sealed
    emit_list(lines, "payctl.ledger_check/1", CHECKS, id_key="check",
              extra={"ok": report.ok, "violations": violations,
                     "sealed": asdict(sealed)})  # fmt: skip
    for found in report.violations:
        note(f"{found.name}: {found.account or ''} {found.detail}", always=True)
    note(say("sealed", run.lang, blocks=sealed.block, journals=sealed.sealed_journals,
             unsealed=sealed.unsealed_journals))  # fmt: skip
    if not report.ok:
        finish(ExitCode.CHECK_FAILED)


@command(
    app,
    "seal",
    changes=True,
    examples=["payctl ledger seal", "payctl ledger seal --dry-run --json"],
    exits={ExitCode.CHECK_FAILED: "sealed, but an anchor could not be written; the next run does"},
)
def seal(limit: LimitOption = 1000) -> None:
    """Seal all journals that are in no block yet, and anchor the blocks outside the book.

    The job ledger_seal does the same every five minutes. Nobody who posts waits for it.
    """
    run = session()
    confirm([f"seal the journals of book {run.config.book}"])
    done = run.app.sealing.seal(run.actor, limit=limit, dry_run=run.dry_run)
    shown = {
        "blocks": done.blocks,
        "journals": done.journals,
        "head": _head(done.head),
        "anchors": [asdict(each) for each in done.anchors],
    }
    emit(shown, "payctl.ledger_seal/1", SEAL, id_key="head.block")
    _tell_failed(done.failed)


@command(
    app,
    "verify",
    examples=[
        "payctl ledger verify",
        "payctl ledger verify --from 1200 --json",
        "payctl ledger verify --anchors /mnt/auditor/anchors",
    ],
    exits={ExitCode.CHECK_FAILED: "the book is not what was sealed; the first break comes first"},
)
def verify(
    first: Annotated[
        int, typer.Option("--from", metavar="BLOCK", min=1, help="Leave out the blocks before.")
    ] = 1,
    anchors: Annotated[
        list[Path] | None,
        typer.Option("--anchors", metavar="FOLDER", help="Compare with these anchors as well."),
    ] = None,
) -> None:
    """Compute every hash and balance anew and compare with what was sealed and anchored.

    Reads one snapshot and changes nothing. After a break everything from its block on is in doubt;
    what lies before is proven.
    """
    from payctl.ledger.destinations import Folder

    run = session()
    copies = [Folder(each) for each in anchors or ()]
    with progress(say("verifying", run.lang)) as bar:
        found = run.app.verifier.verify(first=first, copies=copies, tick=bar.advance)
    if found.breaks or run.is_json:
        emit_list(
            _breaks(found), "payctl.ledger_verify/1", BREAKS, id_key="kind", extra=_extra(found)
        )
    if not run.is_json:
        _tell(found)
    if not found.ok:
        finish(ExitCode.CHECK_FAILED)


@command(
    app,
    "proof",
    examples=[
        "payctl ledger proof jrn_... --json > proof.json",
        "payctl ledger proof jrn_... --until 1200 --json",
    ],
    exits={
        ExitCode.NOT_FOUND: "no such journal or block",
        ExitCode.CONFLICT: "the journal is not sealed yet",
        ExitCode.CHECK_FAILED: "the journal is not what was sealed",
    },
)
def proof(
    journal: Annotated[str, typer.Argument(metavar="JOURNAL", help="The journal.")],
    until: Annotated[
        int | None,
        typer.Option("--until", metavar="BLOCK", min=1, help="Lead on to this anchored block."),
    ] = None,
) -> None:
    """Prove one journal to somebody who has the anchors but not the book.

    With --json it is all that docs/verify_proof.py needs: the journal's bytes, the hashes from it
    to its block, and the blocks up to the anchored one.
    """
    from payctl.ledger.proofs import as_json, prove

    run = session()
    journal_id = ids.decode(journal, "journal")
    with run.app.db.read() as tx:
        found = as_json(prove(tx, journal_id, until))
    emit(found, "payctl.ledger_proof/1", PROOF)


def _tell_failed(failed: tuple[Anchored, ...]) -> None:
    run = session()
    for each in failed:
        note(
            say("anchor_failed", run.lang, destination=each.destination, block=each.block,
                reason=each.error or ""),
            always=True,
        )  # fmt: skip
    if failed:
        finish(ExitCode.CHECK_FAILED)


def _tell(found: Verification) -> None:
    run = session()
    head = found.head
    note(
        say("verified", run.lang, blocks=head.number if head else 0,
            journals=head.total_journals if head else 0, unsealed=found.unsealed_journals),
        always=True,
    )  # fmt: skip
    for each in found.anchors:
        word = "anchor_compared" if each.readable else "anchor_not_here"
        note(say(word, run.lang, destination=each.destination, block=each.last_block), always=True)
    reach = found.radius
    if reach is not None:
        note(
            say("in_doubt", run.lang, block=reach.from_block or "-", blocks=reach.blocks,
                journals=reach.journals, accounts=reach.accounts_total, names=reach.accounts),
            always=True,
        )  # fmt: skip


def _breaks(found: Verification) -> list[dict[str, Any]]:
    return [
        {
            "kind": each.kind,
            "block": each.block,
            "journal": ids.encode("journal", each.journal_id) if each.journal_id else None,
            "account": each.account,
            "detail": each.detail,
        }
        for each in found.breaks
    ]


def _extra(found: Verification) -> dict[str, Any]:
    return {
        "ok": found.ok,
        "head": _head(found.head),
        "unsealed_journals": found.unsealed_journals,
        "anchors": [asdict(each) for each in found.anchors],
        "in_doubt": asdict(found.radius) if found.radius else None,
    }


def _head(head: Block | None) -> dict[str, Any] | None:
    if head is None:
        return None
    return {
        "block": head.number,
        "hash": head.hash.hex(),
        "total_journals": head.total_journals,
        "complete_until": head.complete_until,
        "sealed_at": head.sealed_at,
    }
