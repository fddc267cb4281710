"""The wire between us and the sandbox provider: whether a request arrives, and its answer returns.

Here lives everything that makes payments hard: lost answers, late effects, outages, and the
provider's memory of idempotency keys, which replays the first answer to a key as Stripe does
(docs.stripe.com/api/idempotent_requests), a 500 included.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from payctl.clock import Clock
from payctl.gateways.base import Answer, Outcome, Reference, RejectKind
from payctl.gateways.checks import rejected
from payctl.gateways.sandbox_book import (
    SandboxBook,
    answer_from_json,
    answer_to_json,
    count_call,
    find,
    micros,
    next_line,
    outage_at,
    schedule,
)
from payctl.gateways.sandbox_events import tokens
from payctl.gateways.sandbox_provider import Provider
from payctl.gateways.sandbox_script import (
    Plan,
    ScriptLine,
    Word,
    plan_of,
    read_word,
    words_of,
)
from payctl.gateways.sandbox_terms import Terms

SECOND = 1_000_000
_LOST = ("down", "late", "lost_answer", "timeout_effect", "timeout_no_effect")


class Wire:
    """Carries requests to the :class:`Provider` as the plan of each exchange says."""

    def __init__(self, book: SandboxBook, terms: Terms, clock: Clock) -> None:
        self.book = book
        self.terms = terms
        self.provider = Provider(terms.rules, self._hook_words, self._perform)
        self._clock = clock
        self._ready = False

    @contextmanager
    def transaction(self) -> Iterator[tuple[sqlite3.Connection, int]]:
        """The provider's book and its present time, with everything due having happened."""
        with self.book.write() as tx:
            now = micros(self._clock.now())
            if not self._ready:
                self._load_terms(tx)
            self.provider.catch_up(tx, now)
            yield tx, now
        self._ready = True

    def change(self, verb: str, key: str, data: dict[str, Any], pairs: str) -> Answer:
        """One request that changes something; *pairs* are words beside the payment's own."""
        call = {"key": f"{verb} {key}", "fingerprint": _fingerprint(data), "request": data}
        with self.transaction() as (tx, now):
            if verb not in ("create", "payout"):
                row = find(tx, "payment", data["provider_reference"], data["payment_reference"])
                pairs = f"{row['words']}+{pairs}" if row else pairs
            plan = self._plan(tx, verb, key, pairs, now)
            call["result"] = str(plan.result)
            return self._carry(tx, now, verb, call, plan)

    def query(
        self, table: str, theirs: str | None, ours: str | None, data: Mapping[str, str]
    ) -> Answer:
        """The present state of a payment, refund or payout, if the answer gets through."""
        with self.transaction() as (tx, now):
            row = find(tx, table, theirs, ours)
            plan = self._query_plan(tx, now, row, theirs or ours or "")
            if plan.transport is not None:
                name = plan.transport.name
                return failure("timeout" if name in _LOST else name)
            if row is None or plan.result.name == "not_found":
                return Answer(Outcome.NOT_FOUND, http_status=404)
            if table == "payment":
                if row["token"] and data.get("status_token") != tokens(row)["status_token"]:
                    return rejected("token_missing", kind=RejectKind.STATE)
                return self.provider.payment_answer(tx, now, row)
            if table == "payout":
                return self.provider.payout_answer(tx, row["id"])
            return self.provider.refund_answer(tx, row["id"])

    def fault(self, tx: sqlite3.Connection, now: int, verb: str) -> Answer | None:
        """How a call without an object (balance, list, ping) fails, or ``None``."""
        plan = self._plan(tx, verb, "", "", now)
        if plan.transport is None:
            return None
        name = plan.transport.name
        return failure("timeout" if name in _LOST else name)

    # --- what happens to an exchange ------------------------------------------------------------

    def _plan(self, tx: sqlite3.Connection, verb: str, key: str, pairs: str, now: int) -> Plan:
        """Outage before script before the payment's own words before the dice."""
        call = count_call(tx, verb, key)
        if kind := outage_at(tx, now):
            return Plan(Word(kind))
        if line := next_line(tx, verb):
            # A script line speaks of this one exchange, so numbers of times do not apply.
            return plan_of(map(read_word, line.split("+")), 1)
        if words := words_of(verb, pairs):
            return plan_of(words, call)
        return plan_of(self.terms.dice.words(verb, key, call), 1)

    def _query_plan(
        self, tx: sqlite3.Connection, now: int, row: sqlite3.Row | None, key: str
    ) -> Plan:
        """Numbers of a payment's query words are seconds from its creation."""
        paid = row
        if row is not None and "payment_id" in row.keys():
            paid = find(tx, "payment", row["payment_id"], None)
        if paid is None:
            return self._plan(tx, "query", key, "", now)
        age_s = (now - paid["created_at"]) // SECOND
        words = words_of("query", paid["words"])
        live = [word.name for word in words if word.value is None or age_s < word.value]
        return self._plan(tx, "query", key, "+".join(f"query {name}" for name in live), now)

    def _carry(
        self, tx: sqlite3.Connection, now: int, verb: str, call: dict[str, Any], plan: Plan
    ) -> Answer:
        """Take one request over a wire that behaves as *plan* says; what comes back."""
        word = plan.transport or Word("")
        match word.name:
            case "":
                return self._perform(tx, now, verb, call)
            case "down":
                seconds = 600 if word.value is None else word.value
                insert_outage(tx, now, now + seconds * SECOND, "not_sent")
                return failure("not_sent")
            case "timeout_no_effect":
                return failure("timeout")
            case "late":
                seconds = 60 if word.value is None else word.value
                schedule(tx, now + seconds * SECOND, verb, call)
                return failure("timeout")
            case "5xx":
                return self._replay(tx, now, call) or self._keep(tx, now, call, failure("5xx"))
            case "5xx_effect":
                self._perform(tx, now, verb, call)
                return self._keep(tx, now, call, failure("5xx"))
            case "lost_answer" | "timeout_effect":
                self._perform(tx, now, verb, call)
                return failure("timeout")
            case "garbage":
                self._perform(tx, now, verb, call)
                return failure("garbage")
            case name:
                return failure(name)

    def _perform(self, tx: sqlite3.Connection, now: int, verb: str, call: dict[str, Any]) -> Answer:
        """The request has reached the provider: the same key within the window changes nothing."""
        if kept := self._replay(tx, now, call):
            return kept
        act = getattr(self.provider, verb)
        answer: Answer = act(tx, now, call["request"], read_word(call["result"]))
        if answer.outcome in (Outcome.REJECTED, Outcome.EXISTS, Outcome.NOT_FOUND):
            return answer  # nothing was executed, so nothing is kept for the key
        return self._keep(tx, now, call, answer)

    def _replay(self, tx: sqlite3.Connection, now: int, call: dict[str, Any]) -> Answer | None:
        window = self.terms.capabilities.resend_window_s
        row = tx.execute("SELECT * FROM seen WHERE key = ?", (call["key"],)).fetchone()
        if row is None or window is None or now >= row["at"] + window * SECOND:
            return None
        if row["fingerprint"] != call["fingerprint"]:
            return rejected("key_reused", "same key, other request")
        return answer_from_json(row["answer"])

    def _keep(
        self, tx: sqlite3.Connection, now: int, call: dict[str, Any], answer: Answer
    ) -> Answer:
        tx.execute(
            "INSERT INTO seen (key, fingerprint, answer, at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET answer = excluded.answer, at = excluded.at,"
            " fingerprint = excluded.fingerprint",
            (call["key"], call["fingerprint"], answer_to_json(answer), now),
        )
        return answer

    def _hook_words(self, tx: sqlite3.Connection, pairs: str, event_id: str) -> tuple[Word, ...]:
        if line := next_line(tx, "hook"):
            return tuple(map(read_word, line.split("+")))
        return words_of("hook", pairs) or self.terms.dice.words("hook", event_id, 1)

    def _load_terms(self, tx: sqlite3.Connection) -> None:
        """Write script and outages of the settings into the book, once for all processes."""
        terms = self.terms
        digest = sha256(repr((terms.script, terms.outages)).encode()).hexdigest()
        new = tx.execute(
            "INSERT INTO meta (key, value) VALUES (?, '') ON CONFLICT DO NOTHING",
            (f"terms {digest}",),
        ).rowcount
        if new:
            insert_script(tx, terms.script)
            for outage in terms.outages:
                insert_outage(tx, micros(outage.since), micros(outage.until), outage.kind)


def insert_script(tx: sqlite3.Connection, lines: Iterable[ScriptLine]) -> None:
    tx.executemany(
        "INSERT INTO script (verb, words, remaining) VALUES (?, ?, ?)",
        [(line.verb, line.words, line.times) for line in lines],
    )


def insert_outage(tx: sqlite3.Connection, since: int, until: int, kind: str) -> None:
    tx.execute("INSERT INTO outage (since, until, kind) VALUES (?, ?, ?)", (since, until, kind))


def payment_of(reference: Reference) -> dict[str, Any]:
    """How a request names the payment it is about."""
    return {
        "provider_reference": reference.provider_reference,
        "payment_reference": reference.our_reference,
    }


def failure(name: str) -> Answer:
    """What we see of an exchange that went wrong in the way *name* says."""
    match name:
        case "not_sent":
            return Answer(Outcome.NOT_SENT, message="connection refused")
        case "429":
            return Answer(
                Outcome.REJECTED, code="rate_limited", reject=RejectKind.RATE, retry_after_s=1.0,
                http_status=429,
            )  # fmt: skip
        case "rejected":
            return Answer(
                Outcome.REJECTED, code="invalid_request", reject=RejectKind.VALIDATION,
                http_status=400,
            )  # fmt: skip
        case "auth":
            return Answer(
                Outcome.REJECTED, code="bad_credentials", reject=RejectKind.AUTH, http_status=401
            )
        case "5xx" | "5xx_effect":
            return Answer(Outcome.UNKNOWN, message="status 500", http_status=500)
        case "garbage":
            return Answer(Outcome.UNKNOWN, message="unreadable answer", http_status=200)
        case _:
            return Answer(Outcome.UNKNOWN, message="no answer in time")


def _fingerprint(data: Mapping[str, Any]) -> str:
    return sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
