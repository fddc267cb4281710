"""``payctl payments import`` and ``export``: payments from and for another book."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl.cli import payment_options as o
from payctl.cli.entries import entries_json
from payctl.cli.framework import (
    Column,
    CurrencyFilter,
    ExitCode,
    GatewayOption,
    Section,
    SinceOption,
    StatusOption,
    UntilOption,
    command,
    confirm,
    emit,
    finish,
    note,
    progress,
    session,
)
from payctl.cli.messages import render, say
from payctl.cli.payment_app import app
from payctl.errors import InvalidInput, PayctlError
from payctl.money import format_money

if TYPE_CHECKING:
    from payctl.payments.import_files import Raw, Source, Survey
    from payctl.payments.imports import ImportReport

#: Refused rows that are also told at once.
TOLD = 10
VIEW = (
    Column("file"),
    Column("sha256", "long"),
    Column("rows", "number"),
    Column("recorded", "number"),
    Column("already", "number"),
    Column("refused", "number"),
    Column("rejects", "long"),
    Section(
        "totals",
        (
            Column("currency", rank=0),
            Column("rows", "number", rank=0),
            Column("amount_minor", "money", rank=0),
            Column("settled_minor", "money", rank=1),
            Column("commission_minor", "money", rank=1),
            Column("vat_minor", "money", label="VAT", rank=2),
            Column("fee_minor", "money", rank=2),
        ),
    ),
    Section("reasons", (Column("error", rank=0), Column("rows", "number", rank=0))),
    Section(
        "entries",
        (
            Column("kind", rank=1),
            Column("side", rank=0),
            Column("account", "id", rank=0),
            Column("amount_minor", "money", rank=0),
        ),
    ),
)


@command(
    app,
    "import",
    changes=True,
    examples=[
        "payctl payments import sales.csv --dry-run",
        "payctl payments import sales.csv --yes",
        "payctl payments import former.jsonl --rejects open.jsonl --json",
    ],
    exits={
        ExitCode.DONE: "every row is recorded, now or before",
        ExitCode.USAGE: "some rows were refused (the others count), or the file was",
    },
)
def import_payments(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Payments as .csv (with a header) or .jsonl.")
    ],
    rejects: Annotated[
        Path | None,
        typer.Option("--rejects", metavar="FILE", help="Refused rows; default: FILE.rejects.csv."),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option("--delimiter", metavar=",|;", help="Of a CSV; default: as in its header."),
    ] = None,
) -> None:
    """Record payments that were captured elsewhere; no provider is called.

    Columns: key, amount or amount_minor, currency, gateway, captured_at, organiser, method and
    settled must be there; provider_reference, order, event, user, country, email, phone,
    description, metadata (a JSON object), sale_type, fee or fee_minor may be.

    settled=no: the provider holds the money and the organiser is owed it, as after a capture of
    our own. settled=yes: it was paid out before; commission and VAT count, and what came in and
    what the organiser has had stand on opening:migration.

    Import a file again after an interruption or a correction: what is recorded stays as it is.
    """
    from payctl.payments.import_files import open_source, survey

    run = session()
    source = open_source(file, delimiter)
    kept = rejects or file.with_suffix(f".rejects.{source.form}")
    if kept.resolve() == file.resolve():
        raise InvalidInput("import.same_file", field="rejects", path=str(kept))
    seen = survey(source)
    amount_minor, currency = _at_stake(seen)
    confirm(_summary(source, seen), amount_minor, currency, severe=True)
    with _resumable(file), progress("payments import", seen.rows) as bar:
        report, told = _imported(source, seen, None if run.dry_run else kept, bar.advance)
    for line in told:
        note(line)
    emit(_json(report, source, seen, kept), "payctl.import/1", VIEW, id_key="recorded")
    if report.refused:
        finish(ExitCode.USAGE)


@command(
    app,
    "export",
    examples=[
        "payctl payments export --status succeeded --out sales.csv",
        "payctl payments export --since 2026-10-01 --until 2026-10-31 -o jsonl > october.jsonl",
        "payctl payments export --organiser org-1 --gateway stripe --out org-1.csv",
    ],
)
def export(
    status: StatusOption = None,
    gateway: GatewayOption = None,
    currency: CurrencyFilter = None,
    organiser: o.OrganiserFilter = None,
    order: o.OrderFilter = None,
    event: o.EventFilter = None,
    since: SinceOption = None,
    until: UntilOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write there, whole or not at all."),
    ] = None,
) -> None:
    """Write payments, oldest first, as a file that payments import takes.

    CSV, or JSON lines with -o jsonl. It holds full phone numbers and mail addresses; who exported
    is kept in the audit trail.
    """
    from payctl.payments.details import PaymentFilter
    from payctl.payments.whole_file import whole_file

    run = session()
    form = run.flags.output or "csv"
    wanted = PaymentFilter(status, gateway, currency, organiser, order, event, since, until)
    lines = run.app.exports.lines(run.actor, wanted, form)
    if out is None:
        sys.stdout.writelines(lines)
        return
    with whole_file(out) as target:
        target.writelines(lines)


def _imported(
    source: Source, seen: Survey, kept: Path | None, tick: Callable[[int], None]
) -> tuple[ImportReport, list[str]]:
    """Run the import with the refused rows in *kept* (``None``: a dry run, which writes nothing),
    and the first of them in words.
    """
    from payctl.payments.import_files import rejects_file

    run = session()
    told: list[str] = []
    with nullcontext() if kept is None else rejects_file(source, kept) as writer:

        def refused(raw: Raw, error: PayctlError) -> None:
            message = render(error, run.lang).text
            if writer is not None:
                writer.add(raw, error.code, message)
            if len(told) < TOLD:
                told.append(say("import_refused", run.lang, line=raw.line, message=message))

        report = run.app.imports.run(
            run.actor, source, seen.sha256, refused=refused, tick=tick, dry_run=kept is None
        )
    return report, told


@contextmanager
def _resumable(file: Path) -> Iterator[None]:
    """Ctrl-C leaves whole batches behind; say how to go on after them."""
    try:
        yield
    except KeyboardInterrupt:
        note(say("import_resume", session().lang, file=file), always=True)
        raise


def _summary(source: Source, seen: Survey) -> list[str]:
    lines = [f"record {seen.rows} payments of {source.path.name}"]
    return lines + [
        f"{rows} in {currency}: {format_money(amount_minor, currency)}"
        for currency, (rows, amount_minor) in sorted(seen.totals.items())
    ]


def _at_stake(seen: Survey) -> tuple[int | None, str | None]:
    """The total that must be typed: that of the currency with the most rows."""
    if not seen.totals:
        return None, None
    currency, (_, amount_minor) = max(seen.totals.items(), key=lambda item: (item[1], item[0]))
    return amount_minor, currency


def _json(report: ImportReport, source: Source, seen: Survey, kept: Path) -> dict[str, Any]:
    dry_run = session().dry_run
    reasons: Counter[str] = report.reasons
    return {
        "file": source.path.name,
        "sha256": seen.sha256,
        "dry_run": dry_run,
        "rows": report.rows,
        "recorded": report.recorded,
        "already": report.already,
        "refused": report.refused,
        "rejects": str(kept) if report.refused and not dry_run else None,
        "totals": [
            {
                "currency": currency,
                "rows": total.rows,
                "amount_minor": total.amount_minor,
                "settled_minor": total.settled_minor,
                "commission_minor": total.commission_minor,
                "vat_minor": total.vat_minor,
                "fee_minor": total.fee_minor,
            }
            for currency, total in sorted(report.totals.items())
        ],
        "reasons": [{"error": code, "rows": rows} for code, rows in sorted(reasons.items())],
        "entries": entries_json(report.first) if dry_run else [],
    }
