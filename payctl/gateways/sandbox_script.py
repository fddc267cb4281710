"""How the sandbox provider is told to behave: words, scripts, outages and dice.

A *word* is ``late:90``: a name and perhaps a number. Words compose with ``+``. They come from a
payment's token, e-mail or description as ``tok_late:90`` (``tok_refund_late:90`` for its refund),
from a script (``create late:90``), or from the dice of random mode. ``sandbox.py`` lists them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import NamedTuple

from payctl.errors import NotConfigured
from payctl.gateways.base import DECLINE_CODES
from payctl.gateways.settings import Settings

VERBS = ("create", "query", "complete", "capture", "cancel", "refund", "payout", "balance", "list",
         "ping", "hook")  # fmt: skip
#: Verbs whose request the provider may decline.
_DECIDED = ("create", "complete", "capture", "refund", "payout")

#: How an exchange goes, whatever the provider decides. ``False``: without a number it goes so each
#: time; ``True``: only the first time a key is used, and a number says for how many.
TRANSPORTS = {
    "not_sent": False,
    "429": False,
    "rejected": False,
    "auth": False,
    "5xx": False,
    "5xx_effect": False,
    "timeout_no_effect": True,
    "lost_answer": True,
    "timeout_effect": True,
    "garbage": True,
    "late": True,
    "down": False,
}
#: What the provider decides, by verb; ``decline_<code>`` goes for those in ``_DECIDED``.
RESULTS: dict[str, frozenset[str]] = {
    "create": frozenset(
        {
            "ok", "visa", "3ds", "3ds_fail", "abandon", "pending", "pending_decline",
            "pending_expire", "wrong_amount", "wrong_currency", "approval",
        }
    ),
    "query": frozenset({"ok", "not_found"}),
    "complete": frozenset({"ok", "pending"}),
    "capture": frozenset({"ok"}),
    "cancel": frozenset({"ok"}),
    "refund": frozenset({"ok", "pending", "pending_fail", "fails_later"}),
    "payout": frozenset({"ok", "pending", "pending_fail", "returned"}),
    "hook": frozenset({"ok", "lost", "double", "late", "reorder"}),
}  # fmt: skip

_TOKEN = re.compile(r"tok_([a-z0-9_]+)(?::(-?\d+))?")
_WORD = re.compile(r"([a-z0-9_]+)(?::(-?\d+))?$")


class Word(NamedTuple):
    """One behaviour; what ``value`` counts (seconds, times, minor units) depends on the name."""

    name: str
    value: int | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"


class Plan(NamedTuple):
    """What happens to one exchange: how it travels and what the provider decides."""

    transport: Word | None = None
    result: Word = Word("ok")


def known(verb: str, name: str) -> bool:
    """Whether *name* is a word of *verb*."""
    if verb != "hook" and name in TRANSPORTS:
        return True
    if verb in _DECIDED and name.startswith("decline_"):
        return name.removeprefix("decline_") in DECLINE_CODES
    return name in RESULTS.get(verb, frozenset())


def read_tokens(texts: Iterable[str | None]) -> tuple[str, str | None]:
    """The ``verb word`` pairs hidden in a payment's texts, and the first token nobody knows.

    Returns:
        Pairs as stored with the payment, ``create late:90+refund pending:30``, and a stray token.
    """
    pairs = []
    for text in texts:
        for name, number in _TOKEN.findall(text or ""):
            verb, rest = "create", name
            head, _, tail = name.partition("_")
            if head in VERBS and tail:
                verb, rest = head, tail
            if not known(verb, rest):
                return "", f"tok_{name}"
            pairs.append(f"{verb} {rest}{':' + number if number else ''}")
    return "+".join(pairs), None


def words_of(verb: str, pairs: str) -> tuple[Word, ...]:
    """The words for *verb* among the stored pairs."""
    out = []
    for pair in filter(None, pairs.split("+")):
        owner, _, word = pair.partition(" ")
        if owner == verb:
            out.append(read_word(word))
    return tuple(out)


def read_word(text: str) -> Word:
    name, _, number = text.partition(":")
    return Word(name, int(number) if number else None)


def plan_of(words: Iterable[Word], call: int) -> Plan:
    """The plan for the *call*-th exchange (from 1) with one key; the last word of a kind wins."""
    plan = Plan()
    for word in words:
        if word.name not in TRANSPORTS:
            plan = Plan(plan.transport, word)
        elif word.name in ("late", "down"):
            plan = Plan(word if call == 1 or word.name == "down" else plan.transport, plan.result)
        else:
            times = word.value or (1 if TRANSPORTS[word.name] else call)
            plan = Plan(word if call <= times else plan.transport, plan.result)
    return plan


class ScriptLine(NamedTuple):
    """One line of a script: the next *times* exchanges of *verb* behave so."""

    verb: str
    words: str
    times: int = 1


def read_script(account: str, lines: Iterable[str]) -> tuple[ScriptLine, ...]:
    """Read ``VERB WORD[+WORD…] [xTIMES]`` lines; ``#`` starts a comment.

    Raises:
        NotConfigured: ``gateway.bad_script`` with the line at fault.
    """
    out = []
    for number, line in enumerate(lines, 1):
        parts = line.partition("#")[0].split()
        if not parts:
            continue
        times = 1
        if len(parts) == 3 and re.fullmatch(r"x[1-9]\d{0,5}", parts[2]):
            times = int(parts.pop()[1:])
        if len(parts) != 2 or not _all_known(parts[0], parts[1]):
            raise NotConfigured(
                "gateway.bad_script", field="script", account=account, line=number, text=line[:60]
            )
        out.append(ScriptLine(parts[0], parts[1], times))
    return tuple(out)


def _all_known(verb: str, words: str) -> bool:
    matches = [_WORD.match(word) for word in words.split("+")]
    return verb in VERBS and all(m is not None and known(verb, m[1]) for m in matches)


class Outage(NamedTuple):
    """The provider cannot be reached from *since* until *until*; *kind* is the transport word."""

    since: datetime
    until: datetime
    kind: str = "not_sent"


def read_outages(account: str, texts: Iterable[str]) -> tuple[Outage, ...]:
    """Read ``2026-11-02T10:00:00Z/2026-11-02T10:30:00Z [WORD]`` entries.

    Raises:
        NotConfigured: ``gateway.bad_setting``.
    """
    out = []
    for text in texts:
        span, _, kind = text.partition(" ")
        try:
            since, until = (datetime.fromisoformat(end) for end in span.split("/"))
            if since.tzinfo is None or until.tzinfo is None or (kind or "5xx") not in TRANSPORTS:
                raise ValueError
        except ValueError:
            raise NotConfigured(
                "gateway.bad_setting",
                field="outages",
                account=account,
                wanted="START/END [KIND]",
            ) from None
        out.append(Outage(since, until, kind or "not_sent"))
    return tuple(out)


@dataclass(frozen=True, slots=True)
class Dice:
    """Random mode. The same seed and keys give the same fate, in whatever order and process."""

    seed: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    late_max_s: int = 120

    #: setting -> (verbs it goes for, word)
    FACES = {  # noqa: RUF012 - a constant; dataclass fields carry annotations
        "not_sent_rate": (("create", "query", "capture", "cancel", "refund"), "not_sent"),
        "no_effect_rate": (("create", "capture", "cancel", "refund"), "timeout_no_effect"),
        "lost_rate": (("create", "capture", "cancel", "refund"), "lost_answer"),
        "late_rate": (("create", "capture", "refund"), "late"),
        "error_rate": (("create", "query", "capture", "refund"), "5xx"),
        "query_down_rate": (("query",), "lost_answer"),
        "decline_rate": (("create",), "decline_insufficient_funds"),
        "gateway_decline_rate": (("create",), "decline_gateway_specific"),
        "pending_rate": (("create", "refund"), "pending"),
        "refund_fails_later_rate": (("refund",), "fails_later"),
        "hook_lost_rate": (("hook",), "lost"),
        "hook_double_rate": (("hook",), "double"),
        "hook_late_rate": (("hook",), "late"),
        "hook_reorder_rate": (("hook",), "reorder"),
    }

    @classmethod
    def from_settings(cls, settings: Settings) -> Dice:
        rates = {key: rate for key in cls.FACES if (rate := settings.rate(key))}
        return cls(settings.whole("seed", 0), rates, settings.whole("late_max_s", 120))

    def words(self, verb: str, key: str, call: int) -> tuple[Word, ...]:
        """The fate of the *call*-th exchange with *key*: at most one transport and one result."""
        if not self.rates:
            return ()
        rng = Random(f"{self.seed}|{verb}|{key}|{call}")  # noqa: S311 - repeatable on purpose
        out: dict[bool, Word] = {}
        for setting, (verbs, name) in self.FACES.items():
            rate = self.rates.get(setting, 0.0)
            hit, seconds = rng.random() < rate, rng.randint(1, self.late_max_s)
            kind = verb != "hook" and name in TRANSPORTS
            if verb in verbs and hit and kind not in out:
                timed = name in ("late", "pending", "fails_later")
                out[kind] = Word(name, seconds if timed else None)
        return tuple(out.values())
