"""Asking before a change: a test profile never asks, a live one always shows itself first.

Mild: y/N, or ``--yes``. Severe (bulk, above the profile's limit, restore): the amount or name must
be typed, or given as ``--confirm "150000 XOF"``; ``--yes`` is not enough. Prompts go to stderr,
because stdout is data.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from payctl.cli.cells import tame
from payctl.cli.messages import say
from payctl.cli.output import note, styled
from payctl.cli.session import Session, session
from payctl.errors import ExitCode, InvalidInput, PayctlError
from payctl.money import format_amount, format_money


class NotConfirmed(PayctlError):
    """A person said no, so nothing was done: exits like an interruption."""

    exit_code = ExitCode.INTERRUPTED
    wire = "CANCELED"


def confirm(
    summary: Sequence[str],
    amount_minor: int | None = None,
    currency: str | None = None,
    *,
    severe: bool = False,
    word: str | None = None,
) -> None:
    """Return when the change may go on.

    Args:
        summary: what is about to happen, a few lines, names and ids included.
        amount_minor: the money at stake in minor units of *currency*; always shown.
        severe: ask for the amount (or *word*) to be typed whatever its size.
        word: what must be typed when a severe change has no amount: the name of the book.

    Raises:
        NotConfirmed: ``confirm.declined``.
        InvalidInput: ``confirm.required`` when nobody can be asked, ``confirm.mismatch``.
    """
    run = session()
    if run.dry_run:
        note(say("dry_run", run.lang))
        return
    live = run.config.live
    if live:
        _banner(run)
    needed = _needed(run, live, amount_minor, currency, severe, word)
    if needed is None and (not live or run.yes):
        return
    for line in summary:
        note(f"  {tame(line)}", always=True)
    if amount_minor is not None and currency:
        amount = format_money(amount_minor, currency)
        note(f"  {say('amount', run.lang, amount=amount)}", always=True)
    if needed is None:
        _ask_yes(run)
    else:
        _ask_typed(run, needed)


def _needed(
    run: Session,
    live: bool,
    amount_minor: int | None,
    currency: str | None,
    severe: bool,
    word: str | None,
) -> str | None:
    """What must be typed, or ``None`` when a plain yes is enough."""
    if word is not None and severe:
        # Overwriting a book is severe on any profile: a test book is somebody's work too.
        return word
    if not live or amount_minor is None or currency is None:
        return None
    if severe or amount_minor > run.config.confirm_above(currency):
        return f"{format_amount(amount_minor, currency)} {currency}"
    return None


def _banner(run: Session) -> None:
    text = f" LIVE  {run.profile}  {run.config.place}  ({run.config.book}) "
    note(styled(text, "red", sys.stderr), always=True)


def _ask_yes(run: Session) -> None:
    if run.no_input:
        raise InvalidInput("confirm.required", field="yes", option="--yes")
    if _answer(run, say("ask_yes", run.lang)).lower() not in ("y", "yes", "o", "oui"):
        raise NotConfirmed("confirm.declined")


def _ask_typed(run: Session, needed: str) -> None:
    given = run.confirmation
    if given is None:
        if run.no_input:
            raise InvalidInput("confirm.required", field="confirm", option=f'--confirm "{needed}"')
        given = _answer(run, say("ask_typed", run.lang, needed=needed))
        if not given:
            raise NotConfirmed("confirm.declined")
    if _bare(given) != _bare(needed):
        raise InvalidInput("confirm.mismatch", field="confirm", given=given[:60], needed=needed)


def _answer(run: Session, prompt: str) -> str:
    sys.stderr.write(f"{prompt} ")
    sys.stderr.flush()
    return run.stdin.readline().strip()


def _bare(text: str) -> str:
    return re.sub(r"[\s\u00a0\u202f]+", "", text)
