"""The sandbox provider's payouts: a prefunded float, fees, and payees who may send money back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from payctl.gateways.base import Answer, Fee, Outcome
from payctl.gateways.sandbox_book import find, new_id, schedule
from payctl.gateways.sandbox_script import Word
from payctl.money import share

if TYPE_CHECKING:
    from payctl.gateways.sandbox_provider import Rules

_SECOND = 1_000_000
#: States in which a payout's amount and fee have left the float.
_LEFT = "state IN ('pending', 'succeeded')"
#: word -> what a payout ends as when its time has come
_LATER = {"pending": "succeeded", "pending_fail": "declined", "returned": "returned"}


class PayoutDesk:
    """The part of the provider that pays out."""

    rules: Rules

    def _emit(
        self, tx: sqlite3.Connection, now: int, kind: str, row: sqlite3.Row, pairs: str
    ) -> None:
        raise NotImplementedError

    def payout(
        self, tx: sqlite3.Connection, now: int, request: Mapping[str, Any], result: Word
    ) -> Answer:
        ours, amount, currency = (
            request["our_reference"], request["amount_minor"], request["currency"],
        )  # fmt: skip
        # Every provider of payouts refuses or repeats a reference it has seen.
        if row := find(tx, "payout", None, ours):
            return Answer(Outcome.EXISTS, provider_reference=row["id"], our_reference=ours)
        if result.name.startswith("decline_"):
            code = result.name.removeprefix("decline_")
            return Answer(Outcome.DECLINED, code=code, provider_code=code, our_reference=ours)
        fee = share(amount, self.rules.payout_fee_ppm)
        fee += self.rules.payout_fee_fixed.get(currency, 0)
        if amount + fee > self.float_minor(tx, currency):
            return Answer(
                Outcome.DECLINED, code="insufficient_funds", provider_code="float_too_low",
                our_reference=ours,
            )  # fmt: skip
        row_id = new_id(tx, "sbo", self.rules.account, ours)
        waits = result.name in ("pending", "pending_fail")
        tx.execute(
            "INSERT INTO payout (id, our_reference, amount_minor, fee_minor, currency, destination,"
            " state, words, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row_id, ours, amount, fee, currency, json.dumps(request["destination"]),
                "pending" if waits else "succeeded", request["words"], now,
            ),
        )  # fmt: skip
        if result.name in _LATER and result.value is not None:
            data = {"payout": row_id, "to": _LATER[result.name]}
            schedule(tx, now + result.value * _SECOND, "payout_to", data)
        self._emit(tx, now, "payout", self._payout(tx, row_id), request["words"])
        return self.payout_answer(tx, row_id)

    def payout_to(self, tx: sqlite3.Connection, now: int, row_id: str, to: str) -> bool:
        """End a pending payout, or let one come back that had been paid."""
        open_ = "'succeeded'" if to == "returned" else "'pending'"
        code = "payer_not_allowed" if to == "declined" else None
        changed = tx.execute(
            f"UPDATE payout SET state = ?, code = ? WHERE id = ? AND state = {open_}",  # noqa: S608
            (to, code, row_id),
        ).rowcount
        if changed:
            row = self._payout(tx, row_id)
            self._emit(tx, now, "payout", row, row["words"])
        return bool(changed)

    def payout_answer(self, tx: sqlite3.Connection, row_id: str) -> Answer:
        row = self._payout(tx, row_id)
        returned = row["state"] == "returned"
        paid = row["state"] == "succeeded" and row["fee_minor"]
        return Answer(
            Outcome.CANCELED if returned else Outcome(row["state"]),
            provider_reference=row["id"],
            amount_minor=row["amount_minor"],
            currency=row["currency"],
            code="returned" if returned else row["code"],
            provider_code="returned" if returned else row["code"],
            fee=Fee(row["fee_minor"], row["currency"], f"{row['id']}_fee") if paid else None,
            our_reference=row["our_reference"],
        )

    def float_minor(self, tx: sqlite3.Connection, currency: str) -> int:
        """What is left of the float. A payout that comes back brings its amount, not its fee."""
        more = _sum(tx, "SELECT sum(amount_minor) FROM top_up WHERE currency = ?", currency)
        sent = f"SELECT sum(amount_minor + fee_minor) FROM payout WHERE currency = ? AND {_LEFT}"  # noqa: S608
        back = "SELECT sum(fee_minor) FROM payout WHERE currency = ? AND state = 'returned'"
        first = self.rules.float_minor.get(currency, 0)
        return first + more - _sum(tx, sent, currency) - _sum(tx, back, currency)

    def _payout(self, tx: sqlite3.Connection, row_id: str) -> sqlite3.Row:
        row: sqlite3.Row = tx.execute("SELECT * FROM payout WHERE id = ?", (row_id,)).fetchone()
        return row


def _sum(tx: sqlite3.Connection, sql: str, currency: str) -> int:
    return int(tx.execute(sql, (currency,)).fetchone()[0] or 0)
