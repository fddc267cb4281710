"""What an answer writes beside the states: the attempt's columns, the exchange, what to keep."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from payctl.gateways.base import Answer
from payctl.payments.announcements import public_action
from payctl.payments.model import RECEIVED, Step
from payctl.payments.records import Attempt

#: Shorter values that a provider gives for later are words, not secrets that prove an event.
TOKEN_LENGTH = 16


def attempt_columns(
    attempt: Attempt, answer: Answer, step: Step, reference: str | None, now: datetime
) -> dict[str, Any]:
    """An attempt's new values; a client secret never reaches the database.

    Args:
        reference: the provider's id of the object.
    """
    action = answer.next_action
    exposed = action is not None and attempt.exposed_at is None
    return {
        "state": step.state,
        "next_check_at": step.next_check_at,
        "checks": step.checks,
        "not_found": step.not_found,
        "provider_reference": reference,
        "lease_owner": None,
        "lease_until": None,
        "code": answer.code,
        "provider_code": answer.provider_code,
        "message": answer.message[:500] if answer.message else None,
        "next_action": public_action(action),
        "exposed_at": now if exposed else attempt.exposed_at,
        "expires_at": action.expires_at if action else attempt.expires_at,
        "received_minor": answer.amount_minor if step.state in RECEIVED else None,
        "received_currency": answer.currency if step.state in RECEIVED else None,
    }


def call_row(
    id_: UUID, at: datetime, attempt_id: UUID, answer: Answer, source: str, call: str
) -> dict[str, Any]:
    """One exchange with a provider as it is kept; ``call`` is its verb, ``source`` who made it."""
    return {
        "id": id_,
        "attempt_id": attempt_id,
        "call": call,
        "source": source,
        "outcome": str(answer.outcome),
        "http_status": answer.http_status,
        "latency_ms": answer.latency_ms,
        "exchange": dict(answer.exchange),
        "at": at,
    }


def learned(attempt: Attempt, answer: Answer) -> dict[str, Any]:
    """What *answer* tells for later and the attempt does not know yet: what the provider wants back
    with a question, and who paid. Neither is ever shown.
    """
    told: dict[str, Any] = {}
    data = {**(attempt.provider_data or {}), **answer.provider_data}
    if data != (attempt.provider_data or {}):
        told["provider_data"] = data
    payer = asdict(answer.payer) if answer.payer is not None else None
    if payer is not None and payer != attempt.payer:
        told["payer"] = payer
    return told


def token_hash(token: str) -> bytes:
    """A provider's token as it is stored to be found again: SHA-256."""
    return hashlib.sha256(token.encode()).digest()


def tokens_of(data: Mapping[str, str]) -> list[bytes]:
    """Hashes of what in *data* may prove an event."""
    return sorted({token_hash(each) for each in data.values() if len(each) >= TOKEN_LENGTH})
