"""The whole way of a payment through the service, one payment per pair of commits."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import gettempdir

from payctl.app import App
from payctl.config import load
from payctl.db.engine import Database
from payctl.payments.requests import PaymentInput
from tests.benchmarks import sales
from tests.benchmarks.noop_gateway import NoopGateway
from tests.benchmarks.workers import Step


def processed(number: int, url: str, run: str) -> Step:
    """``process``: key, payment, route and attempt in one commit, the call, and the outcome with
    its entries, notification, audit and breaker count in the other.
    """
    app, dice = services(url), Random(f"{run}-{number}")
    sales.remember(app.db, app.book)

    def step() -> int:
        wanted = PaymentInput(**request(dice))  # type: ignore[arg-type]
        result = app.payments.process(sales.CORE, wanted)
        assert result.payment.captured_minor == wanted.amount_minor, result.payment.status
        return 1

    return step


def services(url: str) -> App:
    """The services on a book, with the gateways that take everything."""
    app = App(load(environ={}, folder=Path(gettempdir())), Database(url))
    app.__dict__["gateways"] = {name: NoopGateway(name) for name in sales.GATEWAYS}
    return app


def request(dice: Random) -> dict[str, object]:
    """A payment as the core service asks for it."""
    key = f"k{dice.getrandbits(80):x}k"  # letters around it: never a card number
    return {
        "key": key, "amount_minor": sales.some_amount(dice), "currency": sales.CURRENCY,
        "method": "card", "organiser": sales.some_organiser(dice), "order": f"o-{key}",
        "email": "customer@example.com", "country": "FR",
    }  # fmt: skip
