"""What MTN's replies and callbacks prove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from payctl.errors import InvalidInput
from payctl.gateways import exchange
from payctl.gateways.base import (
    Answer,
    Destination,
    Event,
    Outcome,
    Reference,
    RejectKind,
)
from payctl.gateways.http import Reply, answer_without_success
from payctl.gateways.momo_data import CONFIGURATION, INVALID, NOT_FOUND, REASONS, STATUSES
from payctl.gateways.momo_words import amount_minor
from payctl.gateways.rest import json_object

#: ``payerMessage`` of what we pay, which only we see: it tells a refund's callback from a payout's.
REFUND, PAYOUT = "refund", "payout"
#: A reference of ours has 36 letters; what is far longer was not sent by us.
_MAX_REFERENCE = 100


def of_status(reply: Reply, reference: str) -> Answer:
    """What the status of a request says; *reference* is the one it was made with."""
    if reply.status == 404:
        return missing(reply)
    if (bad := failed(reply)) is not None:
        return bad
    try:
        return dressed(_read(json_object(reply), reference), reply)
    except (KeyError, ValueError, TypeError):
        return dressed(Answer(Outcome.UNKNOWN, message="unreadable answer"), reply)


def missing(reply: Reply) -> Answer:
    """A 404. Only MTN's own word proves that nothing is there: a wrong address or a proxy on the
    way says 404 too, and believing it would let a payment be made a second time.
    """
    code = str(json_object(reply).get("code") or "")
    if code in NOT_FOUND:
        return dressed(Answer(Outcome.NOT_FOUND, provider_code=code), reply)
    return dressed(Answer(Outcome.UNKNOWN, message="404 without MTN's word for it"), reply)


def failed(reply: Reply) -> Answer | None:
    """What a reply that is no success proves; ``None`` for a 2xx."""
    plain = answer_without_success(reply)
    if plain is None or reply.status is None:
        return plain
    data = json_object(reply)
    code, said = str(data.get("code") or ""), str(data.get("message") or "")
    told = replace(
        plain,
        provider_code=code[:60] or None,
        message=exchange.text(said or code)[:200] or plain.message,
    )
    if code in CONFIGURATION:
        return replace(
            told, outcome=Outcome.REJECTED, reject=RejectKind.AUTH, code="bad_configuration"
        )
    if code in INVALID:
        return replace(
            told, outcome=Outcome.REJECTED, reject=RejectKind.VALIDATION, code=INVALID[code]
        )
    return told


def dressed(answer: Answer, reply: Reply) -> Answer:
    """*answer* with the exchange that it was read from."""
    return replace(
        answer, http_status=reply.status, latency_ms=reply.latency_ms, exchange=reply.exchange
    )


def of_event(body: bytes, headers: Mapping[str, str]) -> Event:
    """An unsigned callback, by PUT or POST: it proves nothing and names what to ask about.

    Raises:
        InvalidInput: ``event.unreadable``.
    """
    import json

    try:
        data = dict(json.loads(body))
        ours, status = _reference(data, headers), _word(data["status"])
    except (ValueError, KeyError, TypeError) as broken:
        raise InvalidInput("event.unreadable", field="body") from broken
    kind = _kind(data)
    number = str(data.get("financialTransactionId") or status)[:_MAX_REFERENCE]
    return Event(
        f"{ours}:{number}", f"{kind}.{status}", kind, Reference(our_reference=ours), proof="none"
    )


def _reference(data: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Ours is ``externalId``; where MTN leaves it out, the id it was made with is the same."""
    found = data.get("externalId") or data.get("referenceId")
    if found is None:
        found = next((v for k, v in headers.items() if k.lower() == "x-reference-id"), None)
    return _word(found)


def _word(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_REFERENCE or value.isspace():
        raise ValueError("no word")
    return value


def _kind(data: Mapping[str, Any]) -> str:
    if "payer" in data:
        return "payment"
    return "payout" if "payee" in data and data.get("payerMessage") != REFUND else "refund"


def _read(data: Mapping[str, Any], reference: str) -> Answer:
    """MTN tells the reason as a text or as ``{code, message}``."""
    status, currency = str(data["status"]), str(data["currency"])
    given = data.get("reason")
    reason = str(given.get("code") or "") if isinstance(given, dict) else str(given or "")
    outcome, code = STATUSES.get(status, Outcome.PENDING), ""
    if outcome is Outcome.DECLINED:
        outcome, code = REASONS.get(reason, (Outcome.DECLINED, "unknown_reason"))
    financial = data.get("financialTransactionId")
    return Answer(
        outcome,
        provider_reference=reference,
        our_reference=str(data.get("externalId") or reference),
        amount_minor=amount_minor(data["amount"], currency),
        currency=currency,
        code=code or None,
        provider_code=reason[:60] or status[:60],
        payer=_payer(data.get("payer")),
        provider_data={"financial_transaction_id": str(financial)[:60]} if financial else {},
    )


def _payer(party: object) -> Destination | None:
    digits = str(party.get("partyId") or "").lstrip("+") if isinstance(party, dict) else ""
    readable = digits.isascii() and digits.isdigit() and len(digits) <= 15
    return Destination("msisdn", f"+{digits}") if readable else None
