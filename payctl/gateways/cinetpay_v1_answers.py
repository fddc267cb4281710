"""What the answers of CinetPay's new API prove.

Sources: CinetPay's sandbox documentation as the published clients record it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payctl.gateways.base import Answer, BalanceLine, Fee, NextAction, Outcome
from payctl.gateways.cinetpay_answers import (
    answered,
    by_http,
    by_meaning,
    code_of,
    meaning_of,
    unreadable,
    words_of,
)
from payctl.gateways.cinetpay_codes import ASKING, MAKING, V1_STATUS, Kind, Meaning
from payctl.gateways.cinetpay_codes import V1 as CODES
from payctl.gateways.cinetpay_terms import LIMITS, minor, payer
from payctl.gateways.http import Reply
from payctl.gateways.rest import json_object


def made(reply: Reply, our_reference: str) -> Answer:
    """What the answer to a creation proves."""
    data = json_object(reply)
    meaning = meaning_of(data, CODES)
    if by_http(reply, meaning) is not None or meaning is None or meaning.kind is not Kind.CREATED:
        return by_meaning(reply, data, meaning, MAKING)
    theirs, url, details = _text(data, "transaction_id"), _text(data, "payment_url"), _details(data)
    if theirs is None:
        return unreadable(reply, "created, but without its id")
    known: dict[str, Any] = {
        "provider_reference": theirs,
        "our_reference": our_reference,
        "provider_code": code_of(details) or code_of(data),
        "message": words_of(details) or None,
        "provider_data": {
            key: str(data[key]) for key in ("payment_token", "notify_token") if data.get(key)
        },
    }
    # FAILED without a page may be wrong, and success is for a question to tell: both wait for one.
    over = V1_STATUS.get(str(details.get("status"))) in (Kind.DECLINED, Kind.DONE)
    if over and details.get("must_be_redirected") is not True:
        return answered(reply, Outcome.PENDING, **known)
    if url is None or not url.startswith("http"):
        return unreadable(reply, "created, but without a payment page: is notify_url right?")
    return answered(
        reply, Outcome.REQUIRES_ACTION, next_action=NextAction("redirect", url=url), **known
    )


def status(reply: Reply, currency: str | None) -> Answer:
    """What a status answer of a payment proves."""
    data = json_object(reply)
    user = data.get("user") if isinstance(data.get("user"), dict) else {}
    named = payer(None, user.get("phone_number"), user.get("name")) if user else None
    return _state(reply, data, currency, payer=named)


def paid_out(reply: Reply, currency: str, *, making: bool) -> Answer:
    """What an answer about a transfer proves.

    Args:
        making: it answers the request for the transfer, not a question about one. Then ``FAILED``
            with an id of what was made is left for a question to confirm.
    """
    data = json_object(reply)
    theirs = _text(data, "transaction_id")
    fee = minor(data.get("fee_amount"), currency)
    more = {"fee": Fee(fee, currency, f"{theirs}-fee")} if fee and theirs else {}
    if making and theirs is None:
        meaning = meaning_of(data, CODES)
        if meaning is not None and meaning.kind in (Kind.DONE, Kind.CREATED, Kind.ACTION):
            return unreadable(reply, "a transfer without its id")
        return by_meaning(reply, data, meaning, MAKING)
    answer = _state(reply, data, currency, **more)
    if making and answer.outcome is Outcome.DECLINED:
        return answered(
            reply, Outcome.PENDING, provider_reference=theirs, our_reference=answer.our_reference,
            provider_code=answer.provider_code, message=answer.message,
        )  # fmt: skip
    if answer.outcome is Outcome.REQUIRES_ACTION:  # INITIATED: nobody has to act on a transfer
        return answered(
            reply, Outcome.PENDING, provider_reference=theirs, our_reference=answer.our_reference,
            provider_code=answer.provider_code,
        )  # fmt: skip
    return answer


def balances(data: Mapping[str, Any], currency: str) -> list[BalanceLine] | None:
    """The lines of a balance answer, whose shape no document fixes: one account in the answer
    itself, or several in a list. ``None`` when no line can be read.

    Args:
        currency: of a line that names none.
    """
    listed = next((data[key] for key in ("balances", "data") if isinstance(data.get(key), list)), 0)
    lines = []
    for each in listed if isinstance(listed, list) else [data]:
        if not isinstance(each, dict):
            return None
        named = each.get("currency") or currency
        free = minor(each.get("available_balance"), str(named))
        if free is None:
            return None
        held = minor(each.get("pending_balance", 0), str(named))
        lines.append(BalanceLine(str(named), free, held or 0))
    return lines or None


def _state(reply: Reply, data: Mapping[str, Any], currency: str | None, **more: Any) -> Answer:
    """The state an answer tells: by its status, which its code must not contradict."""
    if reply.status == 404 and (code_of(data) or data.get("status")):
        return answered(reply, Outcome.NOT_FOUND, message=words_of(data) or None)
    meaning, kind = meaning_of(data, CODES), V1_STATUS.get(str(data.get("status")))
    known = {
        "provider_reference": _text(data, "transaction_id"),
        "our_reference": _text(data, "merchant_transaction_id"),
        **more,
    }
    coded = meaning.kind if meaning is not None else None
    if kind is None or coded in (Kind.SETUP, Kind.INPUT):
        told = None if coded in (Kind.CREATED, Kind.DONE) else meaning
        return by_meaning(reply, data, told, ASKING, **known)
    if kind is not Kind.DONE or by_http(reply, meaning) is not None:
        return by_meaning(reply, data, Meaning(str(data["status"]), kind), ASKING, **known)
    if coded not in (Kind.DONE, Kind.CREATED) or known["provider_reference"] is None:
        return unreadable(reply, f"SUCCESS with code {code_of(data) or 'missing'}, or of nothing")
    named = data.get("currency") or currency
    said = minor(data.get("amount"), str(named)) if named in LIMITS else None
    return answered(
        reply, Outcome.SUCCEEDED, amount_minor=said, currency=named if said else None,
        provider_code=code_of(data), message=words_of(data) or None, **known,
    )  # fmt: skip


def _details(data: Mapping[str, Any]) -> Mapping[str, Any]:
    found = data.get("details")
    return found if isinstance(found, dict) else {}


def _text(data: Mapping[str, Any], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) and value else None
