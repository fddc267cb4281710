"""What Orange's replies prove, for each of its APIs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from payctl.gateways.base import Answer, Outcome, RejectKind
from payctl.gateways.http import Reply, answer_without_success
from payctl.gateways.orange_data import WHOLE_UNITS
from payctl.gateways.rest import json_object
from payctl.money import EXPONENTS


def dressed(answer: Answer, reply: Reply) -> Answer:
    """*answer* with the record of its exchange."""
    return replace(
        answer, http_status=reply.status, latency_ms=reply.latency_ms, exchange=reply.exchange
    )


def failed(reply: Reply) -> Answer | None:
    """What a reply that is no success proves; ``None`` for a 2xx.

    Errors of the gateway in front are ``{"code", "message", "description"}``; codes 41 and 42 are
    credentials that are missing or have run out, whatever their status.
    """
    plain = answer_without_success(reply)
    if plain is None or reply.status is None:
        return plain
    data = json_object(reply)
    code = str(data.get("code") or "")
    told = str(data.get("description") or data.get("message") or data.get("detail") or "")[:200]
    if code in ("41", "42"):
        plain = replace(
            plain, outcome=Outcome.REJECTED, reject=RejectKind.AUTH, code="bad_credentials"
        )
    return replace(plain, provider_code=code or None, message=told or plain.message)


def token_of(reply: Reply) -> tuple[str, int] | None:
    """The token and its life; older answers give the life as a text."""
    data = json_object(reply)
    text, life = data.get("access_token"), str(data.get("expires_in") or "")
    return (text, int(life)) if isinstance(text, str) and text and life.isdigit() else None


def unit(currency: str) -> int:
    """Minor units in the smallest amount Orange can take."""
    return WHOLE_UNITS.get(currency, 1)


def amount_number(amount_minor: int, currency: str) -> int:
    """The amount as the JSON number Orange wants: main units.

    Amounts off :func:`unit` are refused before; the only decimals left are those of currencies that
    have them everywhere, of which Orange takes none today.
    """
    whole, rest = divmod(amount_minor, int(10 ** EXPONENTS[currency]))
    if rest:
        raise ValueError(f"{amount_minor} {currency} is no whole amount")
    return whole


def minor_of(value: Any, currency: str) -> int:
    """Minor units of an amount in a reply, a number or a text of main units.

    Raises:
        ValueError: it is no whole amount.
    """
    text = str(value)
    whole, _, decimals = text.partition(".")
    if not whole.isascii() or not whole.isdigit() or decimals.strip("0"):
        raise ValueError(f"no whole amount: {text!r}")
    return int(whole) * int(10 ** EXPONENTS[currency])
