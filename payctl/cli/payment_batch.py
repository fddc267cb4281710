"""The batch door of ``payments process``: commits shared by all payments that are on their way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from payctl.cli import batch_input
from payctl.cli.batch import Door
from payctl.cli.framework import session
from payctl.cli.standing import exit_of
from payctl.payments.details import PaymentDetail
from payctl.payments.views import payment_json

if TYPE_CHECKING:
    from payctl.payments.results import PaymentResult


def serve(source: str, workers: int) -> None:
    """Take the payments of *source*, a JSON object a line, until its end."""
    from payctl.payments.pipeline import Pipeline

    run = session()
    app = run.app
    door = Door(run, source, workers)

    def done(tag: tuple[int, str], result: PaymentResult | Exception) -> None:
        number, key = tag
        try:
            if isinstance(result, Exception):
                raise result
            found = PaymentDetail(result.payment, result.attempts, result.captures)
            shown = payment_json(found, next_action=result.next_action, replayed=result.replayed)
            code = int(exit_of(result.payment, result.attempts))
            door.answer(number, key, "payment", shown, code)
        except Exception as error:
            door.refuse(number, key, error)

    pipeline = Pipeline(
        app.payments, app.intake, app.first_answers, run.actor, app.db.clock, done,
        flushed=door.flush, workers=workers, in_flight=workers * 4,
    )  # fmt: skip

    def take(number: int, asked: Mapping[str, Any]) -> None:
        wanted = batch_input.payment_of(asked, app.db.clock)
        pipeline.submit((number, wanted.key), wanted)

    door.serve(take, pipeline.close)
