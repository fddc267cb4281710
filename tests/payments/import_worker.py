"""A process that imports or exports a file, as the command does, and says how it went."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa

from payctl.app import App
from payctl.config import load
from payctl.db.engine import Database
from payctl.errors import PayctlError
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Posted, Refusal
from payctl.payments.details import PaymentFilter
from payctl.payments.import_files import Raw, open_source, rejects_file, survey
from payctl.payments.whole_file import whole_file
from tests.payments.kit import OPERATOR


class NoBook(Book):
    """Takes every draft and keeps none: what is measured is everything but the ledger."""

    def post_many(self, tx: sa.Connection, wanted: Sequence[Draft]) -> list[Posted | Refusal]:
        return [Posted(uuid4(), draft.kind, ()) for draft in wanted]


def services(url: str, folder: Path) -> App:
    """The services on a book whose profile has one gateway account, ``cards``."""
    app = App(load(environ={}, folder=folder), Database(url))
    app.__dict__["gateways"] = {"cards": None}
    return app


def run(app: App, path: Path) -> tuple[int, int, int]:
    """Import the file; how many rows were recorded, there already, and refused."""
    source = open_source(path)
    seen = survey(source)
    with rejects_file(source, path.with_suffix(".rejects.csv")) as rejects:

        def refused(raw: Raw, error: PayctlError) -> None:
            rejects.add(raw, error.code, str(error))

        report = app.imports.run(
            OPERATOR, source, seen.sha256, refused=refused, tick=lambda _: None
        )
    return report.recorded, report.already, report.refused


def main(url: str, path: Path, how: str) -> None:
    app = services(url, path.parent)
    if how == "export":
        with whole_file(path) as file:
            file.writelines(app.exports.lines(OPERATOR, PaymentFilter(), "csv"))
        done: tuple[int, ...] = ()
    else:
        if how == "unposted":
            app.__dict__["book"] = NoBook(app.db)
        done = run(app, path)
    print(json.dumps([*done, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
