"""What may end an unfinished line: nouns, verbs, options, statuses, gateways, ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from payctl import ids
from payctl.cli.flags import DIALECTS, FORMATS, LANGUAGES, NAMES, VALUED
from payctl.cli.main import build
from payctl.cli.nouns import NOUNS
from payctl.cli.session import Session
from payctl.cli.topics import PAYMENT_STATES, REFUND_STATES, TOPICS
from payctl.errors import PayctlError
from payctl.gateways.disputes import DisputeStatus

#: What the one positional of a noun's verbs is the id of.
_KINDS = {
    "payments": "payment",
    "refunds": "refund",
    "disputes": "dispute",
    "cases": "case",
    "approvals": "approval",
    "webhooks": "event",
    "ledger": "journal",
}
_STATUSES = {
    "payments": tuple(PAYMENT_STATES),
    "refunds": tuple(REFUND_STATES),
    "disputes": ("open", *map(str, DisputeStatus)),
    "cases": ("open", "assigned", "resolved"),
    "approvals": ("pending", "approved", "rejected", "expired", "used"),
    "webhooks": ("received", "waiting", "applied", "orphan", "dead", "dropped"),
    "outbox": ("pending", "delivered", "dead", "dropped"),
}


def suggestions(run: Session, before: Sequence[str], last: str) -> list[str]:
    """Words that begin with *last* and may follow *before*; never an error, rather nothing."""
    found: Iterable[str] = ()
    with suppress(PayctlError, ImportError):
        found = _candidates(run, before, last)
    return [word for word in dict.fromkeys(found) if word.startswith(last)]


def _candidates(run: Session, before: Sequence[str], last: str) -> Iterable[str]:
    if before and before[-1] in VALUED:
        return _global_values(run, before[-1])
    words = _without_globals(before)
    if not words:
        return sorted(NAMES) if last.startswith("-") else NOUNS
    noun, *rest = words
    if noun not in NOUNS:
        return ()
    command = build(noun)
    while rest and getattr(command, "commands", None) and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    if getattr(command, "commands", None):
        return [name for name, child in command.commands.items() if not child.hidden]
    return _of_command(run, noun, command, rest, last)


def _of_command(
    run: Session, noun: str, command: Any, rest: Sequence[str], last: str
) -> Iterable[str]:
    options = {flag: param for param in command.params for flag in param.opts}
    if rest and rest[-1] in options and not getattr(options[rest[-1]], "is_flag", False):
        return _values(run, noun, options[rest[-1]])
    if last.startswith("-"):
        return [*(flag for flag in options if flag.startswith("-")), *sorted(NAMES)]
    return _positional(run, noun)


def _values(run: Session, noun: str, option: Any) -> Iterable[str]:
    choices = getattr(option.type, "choices", None)
    if choices:
        return [str(getattr(choice, "value", choice)) for choice in choices]
    if option.name == "status":
        return _STATUSES.get(noun, ())
    if option.name in ("gateway", "preferred"):
        return run.config.gateways
    if option.name == "currency":
        from payctl.money import EXPONENTS

        return EXPONENTS
    return ()


def _positional(run: Session, noun: str) -> Iterable[str]:
    if noun == "gateways":
        return run.config.gateways
    if noun == "help":
        return [*TOPICS, *NOUNS]
    if noun == "commands":
        return NOUNS
    if noun == "trace":
        return [*_recent(run, "payment"), *_recent(run, "refund")]
    return _recent(run, _KINDS[noun]) if noun in _KINDS else ()


def _recent(run: Session, kind: str) -> list[str]:
    from payctl.db.recent import recent_ids

    config = run.config
    return [ids.encode(kind, each) for each in recent_ids(config.database_url, config.book, kind)]


def _global_values(run: Session, flag: str) -> Iterable[str]:
    values: dict[str, Callable[[], Iterable[str]]] = {
        "output": lambda: FORMATS,
        "lang": lambda: LANGUAGES,
        "csv_dialect": lambda: DIALECTS,
        "profile": lambda: run.config.profiles,
    }
    return values.get(VALUED[flag], tuple)()


def _without_globals(words: Sequence[str]) -> list[str]:
    """The words that are no global flags and not their values; an unfinished line may be wrong."""
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if word in VALUED:
            next(waiting, None)
        elif word not in NAMES and word.partition("=")[0] not in VALUED:
            rest.append(word)
    return rest
