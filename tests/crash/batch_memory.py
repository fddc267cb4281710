"""Takes payments at a gateway that answers at once, and tells how much memory that keeps."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import sqlalchemy as sa

from payctl.app import App
from payctl.config import load
from payctl.db.engine import Database
from payctl.payments.pipeline import Pipeline
from payctl.payments.requests import PaymentInput
from payctl.payments.results import PaymentResult
from tests import books
from tests.benchmarks.noop_gateway import NoopGateway
from tests.payments.kit import OPERATOR

#: How often in a run the memory is looked at.
LOOKS = 10


def resident() -> int:
    """Bytes of this process that are in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(url: str, folder: Path, count: int) -> None:
    db = Database(url)
    if db.is_sqlite:
        sa.event.listen(db.engine, "connect", books.without_fsync)
    app = App(load(environ={}, folder=folder), db)
    app.__dict__["gateways"] = {"cards": NoopGateway("cards")}
    failed: list[object] = []

    def done(_tag: int, result: PaymentResult | Exception) -> None:
        if isinstance(result, Exception) or not result.payment.captured_minor:
            failed.append(result)

    pipeline = Pipeline(
        app.payments, app.intake, app.first_answers, OPERATOR, app.db.clock, done,
        workers=8, in_flight=256,
    )  # fmt: skip
    started, looks = time.monotonic(), []
    for number in range(count):
        pipeline.submit(number, PaymentInput(
            key=f"k{number}", amount_minor=2500, currency="EUR", method="card",
            organiser=f"org-{number % 50}", order=f"o-{number}", country="FR",
        ))  # fmt: skip
        if (number + 1) % (count // LOOKS) == 0:
            looks.append(resident())
    pipeline.close()
    took_s = time.monotonic() - started
    print(json.dumps({"looks": looks, "failed": len(failed), "rate": round(count / took_s)}))
    app.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
