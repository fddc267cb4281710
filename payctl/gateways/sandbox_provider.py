"""What the sandbox provider does once a request has reached it.

Nothing here knows about networks: ``sandbox.py`` decides whether a request arrives and whether its
answer gets back. Requests are plain mappings, because a late one waits in the provider's book.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from payctl.gateways.base import Answer, Destination, Fee, NextAction, Outcome, RejectKind
from payctl.gateways.checks import rejected
from payctl.gateways.sandbox_book import (
    find,
    moment,
    new_id,
    refunded,
    schedule,
    take_due,
)
from payctl.gateways.sandbox_events import emit, event_of, tokens
from payctl.gateways.sandbox_payouts import PayoutDesk
from payctl.gateways.sandbox_script import Word
from payctl.money import share

_SECOND = 1_000_000
_OPEN = ("requires_action", "pending")
#: How long a customer's approval waits to be completed.
_APPROVAL_S = 10_800
#: how payments are completed -> what the customer is shown meanwhile
_WAITS = {"at_once": None, "redirect": "redirect", "push": "ussd_prompt"}
Request = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """The provider's terms. Amounts in minor units, rates in parts per million."""

    account: str
    completes: str = "at_once"  # at_once | redirect | push
    completes_after_s: int | None = None
    unique_reference: bool = True
    fee_ppm: int = 0
    fee_fixed: Mapping[str, int] = field(default_factory=dict)
    fee_after_s: int = 0
    authorization_s: int = 7 * 86_400
    refunds: str = "partial"
    revocable: bool = True
    status_reports_amount: bool = True
    gives_tokens: bool = False
    float_minor: Mapping[str, int] = field(default_factory=dict)
    payout_fee_ppm: int = 0
    payout_fee_fixed: Mapping[str, int] = field(default_factory=dict)


class Provider(PayoutDesk):
    """The provider's side of every verb, each inside the exchange's transaction.

    Args:
        hook: the words for one webhook: (transaction, the payment's pairs, event id).
        perform: runs a request that arrives late, with its deduplication.
    """

    def __init__(
        self,
        rules: Rules,
        hook: Callable[[sqlite3.Connection, str, str], tuple[Word, ...]],
        perform: Callable[[sqlite3.Connection, int, str, dict[str, Any]], object],
    ) -> None:
        self.rules = rules
        self._hook = hook
        self._perform = perform

    # --- time -----------------------------------------------------------------------------------

    def catch_up(self, tx: sqlite3.Connection, now: int) -> None:
        """Let everything happen that was due by *now*, at the moment it was due."""
        for verb, data, due_at in take_due(tx, now):
            if verb == "advance":
                self.advance(tx, due_at, data["payment"], data["to"], data.get("code"))
            elif verb == "refund_to":
                self.refund_to(tx, due_at, data["refund"], data["to"])
            elif verb == "payout_to":
                self.payout_to(tx, due_at, data["payout"], data["to"])
            else:
                self._perform(tx, due_at, verb, data)

    # --- payments -------------------------------------------------------------------------------

    def create(self, tx: sqlite3.Connection, now: int, request: Request, result: Word) -> Answer:
        ours = request["our_reference"]
        if self.rules.unique_reference and (row := find(tx, "payment", None, ours)):
            return Answer(Outcome.EXISTS, provider_reference=row["id"], our_reference=ours)
        amount, currency = request["amount_minor"], request["currency"]
        if result.name == "wrong_amount":
            amount = max(1, amount + (-1 if result.value is None else result.value))
        elif result.name == "wrong_currency":
            currency = "USD" if currency != "USD" else "EUR"
        row_id = new_id(tx, "sbp", self.rules.account, ours)
        tx.execute(
            "INSERT INTO payment (id, our_reference, method, asked_minor, amount_minor, currency,"
            " state, manual, words, metadata, created_at, payer, token)"
            " VALUES (?, ?, ?, ?, ?, ?, 'new', ?, ?, ?, ?, ?, ?)",
            (
                row_id, ours, request["method"], request["amount_minor"], amount, currency,
                int(request["manual_capture"]), request["words"],
                json.dumps(request["metadata"]), now, request["payer"],
                new_id(tx, "sbt", row_id) if self.rules.gives_tokens else None,
            ),
        )  # fmt: skip
        self._decide(tx, now, row_id, result)
        row = self._payment(tx, row_id)
        answer = self.payment_answer(tx, now, row)
        return replace(answer, provider_data=tokens(row)) if row["token"] else answer

    def _decide(self, tx: sqlite3.Connection, now: int, row_id: str, result: Word) -> None:
        """Put a new payment into its first state and schedule what follows by itself."""
        name, after, then, code = result.name, result.value, "succeeded", None
        waits = _WAITS[self.rules.completes]
        if name.startswith("decline_"):
            then, code = "declined", name.removeprefix("decline_")
            after = self.rules.completes_after_s if waits else None
        elif name == "approval":
            waits = "approval"
        elif name in ("3ds", "3ds_fail", "abandon"):
            waits = "redirect"
            if name == "3ds_fail":
                then, code, after = "declined", "authentication_failed", after or 0
            elif name == "abandon":
                then, after = "expired", 1800 if after is None else after
        elif name in ("pending", "pending_decline", "pending_expire"):
            waits = "pending"
            if name == "pending_decline":
                then, code = "declined", "insufficient_funds"
            elif name == "pending_expire":
                then = "expired"
        else:
            after = self.rules.completes_after_s
        if waits is None:
            self._settle(tx, now, row_id, then, code)
            return
        state = "pending" if waits in ("pending", "ussd_prompt") else "requires_action"
        tx.execute("UPDATE payment SET state = ?, action = ? WHERE id = ?", (state, waits, row_id))
        self._emit_payment(tx, now, row_id)
        if after is not None:
            data = {"payment": row_id, "to": then, "code": code}
            schedule(tx, now + after * _SECOND, "advance", data)

    def advance(
        self, tx: sqlite3.Connection, now: int, row_id: str, to: str, code: str | None
    ) -> bool:
        """Move an open payment on; what was cancelled meanwhile stays cancelled."""
        row = self._payment(tx, row_id)
        if row["action"] == "approval" and to == "succeeded":
            if row["state"] not in _OPEN:
                return False
            lapse = {"payment": row_id, "to": "expired"}
            schedule(tx, now + _APPROVAL_S * _SECOND, "advance", lapse)
            to = "approved"
        elif to == "lapsed":
            if row["state"] != "authorized":
                return False
            to = "closed" if row["captured_minor"] else "expired"
        elif row["state"] not in (*_OPEN, "approved"):
            return False
        self._settle(tx, now, row_id, to, code)
        return True

    def _settle(
        self, tx: sqlite3.Connection, now: int, row_id: str, to: str, code: str | None
    ) -> None:
        row = self._payment(tx, row_id)
        if to == "succeeded" and row["manual"]:
            to = "authorized"
            lapse = {"payment": row_id, "to": "lapsed"}
            schedule(tx, now + self.rules.authorization_s * _SECOND, "advance", lapse)
        elif to == "succeeded":
            self._take(tx, now, row, row["amount_minor"], None)
        to = "succeeded" if to == "closed" else to
        tx.execute("UPDATE payment SET state = ?, code = ? WHERE id = ?", (to, code, row_id))
        self._emit_payment(tx, now, row_id)

    def _take(
        self, tx: sqlite3.Connection, now: int, row: sqlite3.Row, amount: int, ours: str | None
    ) -> str:
        """Money moves: one capture with its fee, in minor units of the payment's currency."""
        currency = row["currency"]
        fee = share(amount, self.rules.fee_ppm) + self.rules.fee_fixed.get(currency, 0)
        capture_id = new_id(tx, "sbc", row["id"])
        tx.execute(
            "INSERT INTO capture (id, payment_id, our_reference, amount_minor, fee_minor, currency,"
            " created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (capture_id, row["id"], ours, amount, min(fee, amount), currency, now),
        )
        tx.execute(
            "UPDATE payment SET captured_minor = captured_minor + ? WHERE id = ?",
            (amount, row["id"]),
        )
        return capture_id

    def complete(self, tx: sqlite3.Connection, now: int, request: Request, result: Word) -> Answer:
        """Take what the customer has approved; it can be taken once, whatever key asks for it."""
        row = find(tx, "payment", request["provider_reference"], request["payment_reference"])
        if row is None:
            return Answer(Outcome.NOT_FOUND)
        if row["state"] != "approved":
            return rejected("not_approved", row["state"], RejectKind.STATE)
        tx.execute("UPDATE payment SET action = NULL WHERE id = ?", (row["id"],))
        if result.name == "pending":
            tx.execute("UPDATE payment SET state = 'pending' WHERE id = ?", (row["id"],))
            if result.value is not None:
                data = {"payment": row["id"], "to": "succeeded"}
                schedule(tx, now + result.value * _SECOND, "advance", data)
        elif result.name.startswith("decline_"):
            code = result.name.removeprefix("decline_")
            self._settle(tx, now, row["id"], "declined", code)
        else:
            self._settle(tx, now, row["id"], "succeeded", None)
        return self.payment_answer(tx, now, self._payment(tx, row["id"]))

    def capture(self, tx: sqlite3.Connection, now: int, request: Request, result: Word) -> Answer:
        row = find(tx, "payment", request["provider_reference"], request["payment_reference"])
        if row is None:
            return Answer(Outcome.NOT_FOUND)
        done = tx.execute(
            "SELECT id FROM capture WHERE payment_id = ? AND our_reference = ?",
            (row["id"], request["our_reference"]),
        ).fetchone()
        if done and self.rules.unique_reference:
            return Answer(Outcome.EXISTS, provider_reference=row["id"])
        if row["state"] != "authorized":
            return rejected("not_authorized", row["state"], RejectKind.STATE)
        amount = request["amount_minor"]
        if request["currency"] != row["currency"]:
            return rejected("currency_mismatch", row["currency"])
        if amount > row["amount_minor"] - row["captured_minor"]:
            return rejected("amount_too_large", "more than is still authorised")
        if result.name.startswith("decline_"):
            code = result.name.removeprefix("decline_")
            return Answer(Outcome.DECLINED, row["id"], code=code, provider_code=code)
        self._take(tx, now, row, amount, request["our_reference"])
        whole = row["captured_minor"] + amount == row["amount_minor"]
        if request["final"] or whole:
            tx.execute("UPDATE payment SET state = 'succeeded' WHERE id = ?", (row["id"],))
        self._emit_payment(tx, now, row["id"])
        row = self._payment(tx, row["id"])
        return Answer(
            Outcome.SUCCEEDED,
            row["id"],
            amount,
            row["currency"],
            captured_minor=row["captured_minor"],
            fee=self._fee(tx, now, row["id"]),
            our_reference=row["our_reference"],
        )

    def cancel(self, tx: sqlite3.Connection, now: int, request: Request, result: Word) -> Answer:
        row = find(tx, "payment", request["provider_reference"], request["payment_reference"])
        if row is None:
            return Answer(Outcome.NOT_FOUND)
        state = row["state"]
        if state not in (*_OPEN, "approved", "authorized", "canceled"):
            return rejected("already_" + state, state, RejectKind.STATE)
        if state in _OPEN and not self.rules.revocable:
            return rejected("not_supported", "cancelling an open payment")
        if state != "canceled":
            to = "succeeded" if row["captured_minor"] else "canceled"
            tx.execute("UPDATE payment SET state = ? WHERE id = ?", (to, row["id"]))
            self._emit_payment(tx, now, row["id"])
        return self.payment_answer(tx, now, self._payment(tx, row["id"]))

    def payment_answer(self, tx: sqlite3.Connection, now: int, row: sqlite3.Row) -> Answer:
        """The payment as the provider shows it to us."""
        state = str(row["state"])
        shown = self.rules.status_reports_amount and state in ("authorized", "succeeded")
        taken = row["captured_minor"] if state == "succeeded" else row["amount_minor"]
        return Answer(
            Outcome(state),
            provider_reference=row["id"],
            amount_minor=taken if shown else None,
            currency=row["currency"] if shown else None,
            captured_minor=row["captured_minor"] if shown else None,
            code=row["code"],
            provider_code=row["code"],
            next_action=_next_action(row) if state in _OPEN else None,
            fee=self._fee(tx, now, row["id"]),
            our_reference=row["our_reference"],
            payer=Destination(**json.loads(row["payer"])) if shown and row["payer"] else None,
        )

    def _fee(self, tx: sqlite3.Connection, now: int, row_id: str) -> Fee | None:
        """The fee of the latest capture, once the provider has booked it."""
        row = tx.execute(
            "SELECT * FROM capture WHERE payment_id = ? ORDER BY n DESC LIMIT 1", (row_id,)
        ).fetchone()
        if row is None or not row["fee_minor"]:
            return None
        if now < row["created_at"] + self.rules.fee_after_s * _SECOND:
            return None
        return Fee(row["fee_minor"], row["currency"], f"{row['id']}_fee")

    def _payment(self, tx: sqlite3.Connection, row_id: str) -> sqlite3.Row:
        row: sqlite3.Row = tx.execute("SELECT * FROM payment WHERE id = ?", (row_id,)).fetchone()
        return row

    # --- refunds --------------------------------------------------------------------------------

    def refund(self, tx: sqlite3.Connection, now: int, request: Request, result: Word) -> Answer:
        ours, amount = request["our_reference"], request["amount_minor"]
        if self.rules.unique_reference and (row := find(tx, "refund", None, ours)):
            return Answer(Outcome.EXISTS, provider_reference=row["id"], our_reference=ours)
        paid = find(tx, "payment", request["provider_reference"], request["payment_reference"])
        if paid is None:
            return rejected("payment_not_found")
        if not paid["captured_minor"]:
            return rejected("not_captured", paid["state"], RejectKind.STATE)
        if request["currency"] != paid["currency"]:
            return rejected("currency_mismatch", paid["currency"])
        if amount > paid["captured_minor"] - refunded(tx, paid["id"]):
            return rejected("refund_exceeds_captured")
        if self.rules.refunds == "full" and amount != paid["captured_minor"]:
            return rejected("partial_refund_not_supported")
        if result.name.startswith("decline_"):
            code = result.name.removeprefix("decline_")
            return Answer(Outcome.DECLINED, code=code, provider_code=code, our_reference=ours)
        row_id = new_id(tx, "sbr", self.rules.account, ours)
        waits = result.name in ("pending", "pending_fail")
        tx.execute(
            "INSERT INTO refund (id, payment_id, our_reference, amount_minor, currency, state,"
            " created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                row_id, paid["id"], ours, amount, paid["currency"],
                "pending" if waits else "succeeded", now,
            ),
        )  # fmt: skip
        then = {"pending": "succeeded", "pending_fail": "declined", "fails_later": "declined"}
        if result.name in then and result.value is not None:
            data = {"refund": row_id, "to": then[result.name]}
            schedule(tx, now + result.value * _SECOND, "refund_to", data)
        self._emit_refund(tx, now, row_id)
        return self.refund_answer(tx, row_id)

    def refund_to(self, tx: sqlite3.Connection, now: int, row_id: str, to: str) -> None:
        """End a pending refund, or let one that had succeeded fail after all."""
        changed = tx.execute(
            "UPDATE refund SET state = ?, code = ?"
            " WHERE id = ? AND state IN ('pending', 'succeeded') AND state <> ?",
            (to, "unknown_reason" if to == "declined" else None, row_id, to),
        ).rowcount
        if changed:
            self._emit_refund(tx, now, row_id)

    def refund_answer(self, tx: sqlite3.Connection, row_id: str) -> Answer:
        row = tx.execute("SELECT * FROM refund WHERE id = ?", (row_id,)).fetchone()
        return Answer(
            Outcome(row["state"]),
            provider_reference=row["id"],
            amount_minor=row["amount_minor"],
            currency=row["currency"],
            code=row["code"],
            provider_code="refund_failed" if row["code"] else None,
            our_reference=row["our_reference"],
        )

    # --- events ---------------------------------------------------------------------------------

    def _emit_payment(self, tx: sqlite3.Connection, now: int, row_id: str) -> None:
        row = self._payment(tx, row_id)
        self._emit(tx, now, "payment", row, row["words"])

    def _emit_refund(self, tx: sqlite3.Connection, now: int, row_id: str) -> None:
        row = tx.execute("SELECT * FROM refund WHERE id = ?", (row_id,)).fetchone()
        self._emit(tx, now, "refund", row, self._payment(tx, row["payment_id"])["words"])

    def _emit(
        self, tx: sqlite3.Connection, now: int, kind: str, row: sqlite3.Row, pairs: str
    ) -> None:
        event_id = new_id(tx, "sbe", row["id"])
        words = {word.name: word.value for word in self._hook(tx, pairs, event_id)}
        emit(tx, now, event_of(self.rules.account, kind, row, event_id, now), words)


def _next_action(row: sqlite3.Row) -> NextAction | None:
    if row["action"] in ("redirect", "approval"):
        expires = moment(row["created_at"]) + timedelta(minutes=30)
        return NextAction("redirect", f"https://sandbox.invalid/pay/{row['id']}", None, expires)
    return NextAction("ussd_prompt") if row["action"] == "ussd_prompt" else None
