"""The sandbox's webhooks and its totals: what it tells us, and what it would have to tell."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from payctl.errors import InvalidInput
from payctl.gateways.base import Event, Reference
from payctl.gateways.sandbox_book import moment
from payctl.gateways.sandbox_script import Word
from payctl.gateways.signature import header_of, sign, verify

HEADER = "Sandbox-Signature"
_SECOND = 1_000_000


class Totals(NamedTuple):
    """Sums of one currency on the provider's side, in minor units."""

    captured_minor: int = 0
    refunded_minor: int = 0
    fees_minor: int = 0
    captures: int = 0


class Due(NamedTuple):
    """An event to deliver now, ``copies`` times."""

    id: str
    body: bytes
    copies: int


def headers(body: bytes, secret: str | None, at: datetime) -> dict[str, str]:
    """The headers of one delivery; without *secret* it is not signed."""
    signed = {HEADER: sign(body, secret, at)} if secret is not None else {}
    return {"Content-Type": "application/json", **signed}


def parse(
    body: bytes,
    given: Mapping[str, str],
    secrets: Iterable[str],
    received_at: datetime | None,
    proof: str,
) -> Event:
    """Verify and read a webhook; see :meth:`payctl.gateways.base.Gateway.parse_event`."""
    if proof == "signature":
        verify(body, header_of(given, HEADER), secrets, received_at)
    try:
        data = json.loads(body)
        about = data["object"]
        token = data.get("token") if proof == "token" else None
        return Event(
            event_id=str(data["id"]),
            type=str(data["type"]),
            object_kind=str(about["kind"]),
            reference=Reference(
                our_reference=about.get("our_reference"), provider_reference=about.get("id")
            ),
            occurred_at=datetime.fromisoformat(data["created"]),
            proof=proof,
            token=token,
        )
    except (ValueError, KeyError, TypeError) as broken:
        raise InvalidInput("event.unreadable", field="body", proof=proof) from broken


def tokens(row: sqlite3.Row) -> dict[str, str]:
    """What a provider with tokens gives for later: one to ask by, one that proves its events."""
    return {"status_token": f"{row['token']}_status", "notify_token": f"{row['token']}_notify"}


def event_of(account: str, kind: str, row: sqlite3.Row, event_id: str, now: int) -> dict[str, Any]:
    """What an event says. One that a token proves names its object by nothing else."""
    token = row["token"] if "token" in row.keys() else None
    named = {"id": row["id"], "our_reference": row["our_reference"]}
    return {
        "id": event_id,
        "type": f"{kind}.{row['state']}",
        "created": moment(now).isoformat(),
        "account": account,
        "object": {"kind": kind, "state": row["state"]} | named,
        **({"token": tokens(row)["notify_token"]} if token else {}),
    }


def emit(
    tx: sqlite3.Connection, now: int, event: Mapping[str, Any], words: Mapping[str, int | None]
) -> None:
    """Put an event where deliveries take it from, as *words* have it."""
    number = tx.execute("SELECT coalesce(max(n), 0) + 1 FROM event").fetchone()[0]
    tx.execute(
        "INSERT INTO event (n, id, place, body, due_at, copies) VALUES (?, ?, ?, ?, ?, ?)",
        (
            number,
            event["id"],
            # A reordered event takes its turn after the one that follows it.
            number * 10 + (15 if "reorder" in words else 0),
            json.dumps(event, sort_keys=True),
            now + (words["late"] or 3600) * _SECOND if "late" in words else now,
            0 if "lost" in words else 2 if "double" in words else 1,
        ),
    )


def outgoing(body: bytes, proof: str) -> bytes:
    """The body as it goes out: where a token proves it, without the names it makes needless."""
    data = json.loads(body)
    token = data.pop("token", None)
    if proof == "token" and token:
        data |= {"token": token, "object": {"kind": data["object"]["kind"]}}
    return json.dumps(data, sort_keys=True).encode()


def take(tx: sqlite3.Connection, now: int, faults: Mapping[str, Word]) -> list[Due]:
    """The events due by *now* in the order they go out, with *faults* on all of them."""
    if late := faults.get("late"):
        tx.execute(
            "UPDATE event SET due_at = ? WHERE copies > 0 AND due_at <= ?",
            (now + (late.value or 3600) * _SECOND, now),
        )
    if "lost" in faults:
        tx.execute("UPDATE event SET copies = 0 WHERE due_at <= ?", (now,))
    rows = tx.execute(
        "SELECT id, body, copies FROM event WHERE copies > 0 AND due_at <= ? ORDER BY place", (now,)
    ).fetchall()
    more = 1 if "double" in faults else 0
    due = [Due(row["id"], row["body"].encode(), row["copies"] + more) for row in rows]
    return due[::-1] if "reorder" in faults else due


def delivered(tx: sqlite3.Connection, event_id: str) -> None:
    tx.execute("UPDATE event SET copies = 0 WHERE id = ?", (event_id,))


def waiting(tx: sqlite3.Connection) -> list[dict[str, Any]]:
    rows = tx.execute("SELECT * FROM event WHERE copies > 0 ORDER BY place").fetchall()
    return [
        {
            "event_id": row["id"],
            "due_at": moment(row["due_at"]),
            **json.loads(row["body"])["object"],
        }
        for row in rows
    ]


def totals(tx: sqlite3.Connection) -> dict[str, Totals]:
    """By currency. A refund counts from its acceptance until it fails."""
    taken = tx.execute(
        "SELECT currency, sum(amount_minor), sum(fee_minor), count(*) FROM capture"
        " GROUP BY currency"
    ).fetchall()
    given = dict(
        tx.execute(
            "SELECT currency, sum(amount_minor) FROM refund WHERE state IN ('pending', 'succeeded')"
            " GROUP BY currency"
        ).fetchall()
    )
    return {
        currency: Totals(amount, given.get(currency, 0), fees, number)
        for currency, amount, fees, number in sorted(map(tuple, taken))
    }


def between(tx: sqlite3.Connection, since: int, until: int) -> list[sqlite3.Row]:
    """Payments created in ``[since, until)`` (microseconds), oldest first."""
    return tx.execute(
        "SELECT * FROM payment WHERE created_at >= ? AND created_at < ? ORDER BY created_at, n",
        (since, until),
    ).fetchall()


def payments(tx: sqlite3.Connection) -> list[dict[str, Any]]:
    rows = tx.execute("SELECT * FROM payment ORDER BY n").fetchall()
    return [dict(row) | {"metadata": json.loads(row["metadata"])} for row in rows]
