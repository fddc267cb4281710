"""A worker of the kill -9 soak: pays and refunds until somebody kills it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from payctl.app import App
from payctl.config import load
from payctl.db.engine import Database
from payctl.errors import PayctlError
from payctl.gateways.registry import build
from payctl.payments.requests import PaymentInput
from tests.payments.kit import OPERATOR

TERMS = {
    "methods": ["card"], "currencies": ["EUR"], "fee_ppm": 14000, "late_horizon_s": 60,
    "decline_rate": 0.05, "gateway_decline_rate": 0.1, "lost_rate": 0.1, "not_sent_rate": 0.02,
    "latency_ms": 5,
}  # fmt: skip
NAMES = ("one", "two")
#: From so many payments on a worker says, by a file, that it works.
FIRST = 5


def services(url: str, folder: Path, terms: Mapping[str, Any] = TERMS, **options: object) -> App:
    """The services on a book and two sandbox providers whose books lie in *folder*."""
    db = Database(url, **options)  # type: ignore[arg-type]
    app = App(load(environ={}, folder=folder), db)
    app.__dict__["gateways"] = {
        name: build("sandbox", name, {"book": str(folder / f"{name}.sqlite3"), **terms}, str,
                    clock=db.clock)
        for name in NAMES
    }  # fmt: skip
    return app


def main(url: str, folder: Path, seed: int) -> None:
    app, dice, number = services(url, folder), Random(seed), 0
    while True:
        number += 1
        key = f"{seed}-{number}"
        try:
            paid = app.payments.process(OPERATOR, PaymentInput(
                key=key, amount_minor=dice.randint(500, 9000), currency="EUR", method="card",
                organiser=f"org-{dice.randint(1, 4)}", order=f"o-{key}", country="FR",
            ))  # fmt: skip
            if number >= FIRST:
                (folder / f"{seed}.works").touch()
            if paid.payment.captured_minor and dice.random() < 0.3:
                app.refunds.create(OPERATOR, paid.payment.id, key=key, reason="soak")
        except PayctlError as error:
            print(error, file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
