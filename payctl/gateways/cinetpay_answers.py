"""From a reply of CinetPay to what it proves; both generations share this.

CinetPay says errors with 4xx and with 200 alike, so the code in the body decides first and the HTTP
status only where there is none, or where it tells of a breakdown (5xx, 429).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from payctl.gateways.base import Answer, Outcome, RejectKind
from payctl.gateways.cinetpay_codes import Kind, Meaning, Proof
from payctl.gateways.http import Reply, answer_without_success

#: "This Ip is not withlisted", as CinetPay writes it, and as it should.
_FOREIGN_IP = r"(?i)\bip\b.*\bwh?ithe?listed|\bip\b.*\bwhite-?list"
_ALREADY = r"(?i)exist|already|d[eé]j[aà]|unique"
_NOT_THERE = r"(?i)not[ _]found|introuvable|inexist|n.existe pas"


def code_of(data: Mapping[str, Any]) -> str:
    """The code of a body, as text: it comes as ``0``, ``"00"``, ``"701"`` and ``1003``."""
    code = data.get("code")
    return str(code) if isinstance(code, int | str) and not isinstance(code, bool) else ""


def words_of(data: Mapping[str, Any]) -> str:
    """What a body says in words, for a record; never more than 200 letters."""
    said = [str(data[key]) for key in ("message", "description") if data.get(key)]
    return ": ".join(said)[:200]


def meaning_of(data: Mapping[str, Any], table: Mapping[str, Meaning]) -> Meaning | None:
    """The meaning of a body's code. What it says in words goes before where the code is used for
    several things: a foreign address, a reference that is taken, one that nobody knows.
    """
    words = words_of(data)
    if re.search(_FOREIGN_IP, words):
        return Meaning("IP_NOT_WHITELISTED", Kind.SETUP)
    found = table.get(code_of(data))
    if found is None or found.kind is not Kind.INPUT:
        return found
    if "transaction" in words and re.search(_NOT_THERE, words):
        return Meaning(found.name, Kind.MISSING)
    if "transaction_id" in words and re.search(_ALREADY, words):
        return Meaning(found.name, Kind.DUPLICATE)
    return found


def answered(reply: Reply, outcome: Outcome, **more: Any) -> Answer:
    """An answer with what is known of its exchange."""
    return Answer(
        outcome, http_status=reply.status, latency_ms=reply.latency_ms, exchange=reply.exchange,
        **more,
    )  # fmt: skip


def unreadable(reply: Reply, why: str = "no answer of CinetPay's that we know") -> Answer:
    """A 2xx that says nothing: it may have happened."""
    return answered(reply, Outcome.UNKNOWN, message=why)


def by_http(reply: Reply, meaning: Meaning | None) -> Answer | None:
    """What the HTTP status alone proves, or ``None`` when the body has to say it."""
    status = reply.status or 0
    if reply.fault is not None or status in (408, 429):
        return answer_without_success(reply)
    told = meaning is not None and (status < 500 or meaning.kind is Kind.SETUP)
    return None if told else answer_without_success(reply)


def by_meaning(
    reply: Reply,
    data: Mapping[str, Any],
    meaning: Meaning | None,
    proofs: Mapping[Kind, Proof],
    **more: Any,
) -> Answer:
    """What a code proves that is no success."""
    if (proven := by_http(reply, meaning)) is not None:
        return proven
    if meaning is None:
        return unreadable(reply, f"code {code_of(data) or 'missing'}")
    outcome, reject = proofs[meaning.kind]
    code = meaning.decline if outcome is Outcome.DECLINED else None
    if outcome is Outcome.REJECTED:
        code = "bad_credentials" if reject is RejectKind.AUTH else "invalid_request"
    return answered(
        reply, outcome, code=code, reject=reject, provider_code=code_of(data) or None,
        message=words_of(data) or meaning.name, **more,
    )  # fmt: skip
