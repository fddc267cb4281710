"""The scrubbed record of one exchange: what may be kept of a request and its response.

An exchange is stored with its attempt and shown to operators, so nothing in it may be a secret, a
card number or a whole phone number (payments design, 7). Headers are kept by name, never by
default; bodies are kept as text, cut to a bound, with what looks sensitive replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from payctl import log, pan
from payctl.gateways.numbering import PLANS

#: Headers worth keeping; any other might carry credentials.
KEPT_HEADERS = frozenset(
    {
        "content-type", "idempotency-key", "idempotent-replayed", "request-id", "retry-after",
        "stripe-version", "stripe-should-retry", "paypal-request-id", "paypal-debug-id",
        "x-reference-id",
    }
)  # fmt: skip
MAX_TEXT = 16_384
REDACTED = "[redacted]"

#: Names of fields whose values are never kept, in JSON, in a form and in an address.
_HIDDEN = (
    r"(?:[a-z_]*(?:secret|password|passwd|authorization|api_?key|merchant_key|token|otp|pin_?code)"
    r"|card\[number\]|number|cvc|cvv|pin)"
)
_IN_JSON = re.compile(rf'("{_HIDDEN}"\s*:\s*)("(?:[^"\\]|\\.)*"|\d+)', re.IGNORECASE)
_IN_FORM = re.compile(rf"((?:^|[&?;\s\[]|%5B){_HIDDEN}(?:\]|%5D)?=)[^&\s\"']+", re.IGNORECASE)
#: A payment's token in an address.
_IN_PATH = re.compile(r"(pay_?token/)[A-Za-z0-9_-]+", re.IGNORECASE)
#: Keys of Stripe in any text, a client secret of an intent, a bearer token.
_KEYS = re.compile(
    r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]+|\bwhsec_[A-Za-z0-9+/=]+"
    r"|\b(?:pi|seti)_[A-Za-z0-9]+_secret_[A-Za-z0-9]+|\b(?:Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+"
)
#: A national phone number, which only the name of its field gives away.
_PHONE_FIELD = re.compile(
    r'("(?:[a-z_]*phone[a-z_]*|receiver\w*|msisdn|partyId)"\s*:\s*")([^"]+)(")', re.IGNORECASE
)
#: The same, as a number without quotes and as part of an address (``…/msisdn/22505…/active``).
_PHONE_DIGITS = re.compile(
    r'((?:"(?:[a-z_]*phone[a-z_]*|msisdn|partyId)"\s*:\s*|/msisdn/))([0-9]+)', re.IGNORECASE
)
#: A whole number without its ``+``, as some providers want them, also in the middle of a sentence.
_BARE_NUMBER = re.compile(
    r"(?<![\w+-])(?:"
    + "|".join(f"{plan.calling_code}[0-9]{{{plan.digits}}}" for plan in PLANS.values())
    + r")(?![\w-])"
)


def text(raw: bytes | str, secrets: Iterable[str] = ()) -> str:
    """*raw* fit to be kept: scrubbed, and cut to :data:`MAX_TEXT` letters."""
    out = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    out = out[: MAX_TEXT * 2]
    for secret in secrets:
        if secret:
            out = out.replace(secret, REDACTED)
    out = _IN_JSON.sub(rf'\1"{REDACTED}"', out)
    out = _IN_FORM.sub(rf"\1{REDACTED}", out)
    out = _IN_PATH.sub(rf"\1{REDACTED}", out)
    out = _KEYS.sub(REDACTED, out)
    out = _PHONE_FIELD.sub(lambda m: f"{m[1]}{pan.mask_phone(m[2])}{m[3]}", out)
    out = _PHONE_DIGITS.sub(lambda m: f"{m[1]}{pan.mask_phone(m[2])}", out)
    out = _BARE_NUMBER.sub(lambda m: pan.mask_phone(m[0]), out)
    out = pan.scrub(pan.mask_phones(out))
    return out if len(out) <= MAX_TEXT else out[:MAX_TEXT] + " [cut]"


def tree(value: Any, secrets: Iterable[str] = ()) -> Any:
    """JSON-like data with every text in it scrubbed, names included."""
    kept = tuple(secrets)
    if isinstance(value, str):
        return text(value, kept)
    if isinstance(value, Mapping):
        return {text(str(name), kept): tree(each, kept) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [tree(each, kept) for each in value]
    return value


def form(raw: str, secrets: Iterable[str] = ()) -> dict[str, str]:
    """A form-encoded body as readable pairs, each scrubbed with its name in view."""
    kept = tuple(secrets)
    out = {}
    for name, value in parse_qsl(raw, keep_blank_values=True)[:200]:
        last = name.rstrip("]").rpartition("[")[2]
        if re.fullmatch(_HIDDEN, last, re.IGNORECASE):
            out[text(name, kept)] = REDACTED
        elif "phone" in last.lower() or last.lower() in ("msisdn", "receiver"):
            out[text(name, kept)] = pan.mask_phone(value)
        else:
            out[text(name, kept)] = text(value, kept)
    return out


def headers(given: Mapping[str, str], secrets: Iterable[str] = ()) -> dict[str, str]:
    """Only the headers of :data:`KEPT_HEADERS`, scrubbed."""
    kept = tuple(secrets)
    return {
        name.lower(): text(value, kept)
        for name, value in given.items()
        if name.lower() in KEPT_HEADERS
    }


def record(
    *,
    method: str,
    url: str,
    request_headers: Mapping[str, str],
    request_body: bytes | None,
    status: int | None,
    response_headers: Mapping[str, str],
    response_body: bytes,
    fault: str | None,
    latency_ms: int,
    secrets: Iterable[str] = (),
) -> dict[str, Any]:
    """One exchange as it is stored."""
    kept = tuple(secrets)
    try:
        split = urlsplit(url)
    except ValueError:
        split = urlsplit("")  # an address that cannot be read was never called
    kind = next((v for k, v in request_headers.items() if k.lower() == "content-type"), "")
    body = (request_body or b"").decode("utf-8", "replace")
    is_form = "urlencoded" in kind
    if kind.startswith("multipart/"):
        # Files are somebody's papers, and no text.
        body = f"[multipart, {len(request_body or b'')} bytes]"
    return {
        "correlation_id": log.correlation(),
        "method": method.upper(),
        "url": text(f"{split.scheme}://{split.netloc.rpartition('@')[2]}{split.path}", kept),
        "query": form(split.query, kept),
        "request_headers": headers(request_headers, kept),
        "request": form(body, kept) if is_form else text(body, kept),
        "status": status,
        "response_headers": headers(response_headers, kept),
        "response": text(response_body, kept),
        "fault": fault,
        "latency_ms": latency_ms,
    }
