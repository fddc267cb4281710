"""``payctl metrics``: what Prometheus reads, printed or left in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from payctl.cli.framework import Column, command, emit, emit_list, session, single, write_text

app = single("metrics")
COLUMNS = (Column("name", rank=0), Column("labels", rank=0), Column("value", rank=0))


@command(
    app,
    "metrics",
    examples=[
        "payctl metrics",
        "payctl metrics --textfile /var/lib/prometheus/node-exporter/payctl.prom",
        "payctl metrics --json",
    ],
)
def metrics(
    textfile: Annotated[
        Path | None,
        typer.Option(
            "--textfile", metavar="PATH", help="Write them here, whole or not at all (cron)."
        ),
    ] = None,
) -> None:
    """Print the book's metrics as Prometheus reads them.

    Counters are kept in the book, so it does not matter which process prints them.
    """
    run = session()
    service = run.unchecked_app.metrics
    if textfile is not None:
        service.write(textfile)
        if run.is_json:
            emit({"path": str(textfile)}, "payctl.metrics_file/1", id_key="path")
        return
    if run.flags.output is None and not run.fields and not run.quiet:
        write_text(service.render().decode())
        return
    items = (
        {"name": name, "labels": labels, "value": f"{value:.15g}"}
        for name, labels, value in service.samples()
    )
    emit_list(items, "payctl.metrics/1", COLUMNS, id_key="name")
