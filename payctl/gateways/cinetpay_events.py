"""CinetPay's callbacks. None of them carries a state that counts: each only says what to ask about.

* Checkout (v2): a form, signed by ``x-token``: HMAC-SHA256 over the values alone, one after the
  other in a fixed order, a missing field counting as empty (docs.cinetpay.com, "HMAC"). It has
  neither a time nor a nonce, so the same callback is valid for ever; an event's id is made of what
  is signed, and the inbox takes each id once. That of a payment that was accepted is the only place
  where CinetPay names the payer.
* Transfers (v2): an unsigned form.
* New API: JSON with the ``notify_token`` of the answer that made the object, to be compared with
  the stored one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from payctl.errors import Forbidden, InvalidInput, NotConfigured
from payctl.gateways.base import Destination, Event, Reference
from payctl.gateways.cinetpay_terms import payer
from payctl.gateways.signature import header_of

#: What ``x-token`` is made of, in this order.
SIGNED = (
    "cpm_site_id", "cpm_trans_id", "cpm_trans_date", "cpm_amount", "cpm_currency", "signature",
    "payment_method", "cel_phone_num", "cpm_phone_prefixe", "cpm_language", "cpm_version",
    "cpm_payment_config", "cpm_page_action", "cpm_custom", "cpm_designation", "cpm_error_message",
)  # fmt: skip
#: ``cpm_error_message`` of a payment that was accepted, as it is written and as one would expect.
_ACCEPTED = frozenset({"SUCCES", "SUCCESS"})


def sign(values: Mapping[str, bytes], secret: str) -> str:
    """The ``x-token`` of a callback: 64 lower-case hexadecimal digits.

    Args:
        values: its fields as the raw bytes that were sent, nothing trimmed.
    """
    joined = b"".join(values.get(name, b"") for name in SIGNED)
    return hmac.new(secret.encode(), joined, "sha256").hexdigest()


def of_form(
    body: bytes,
    headers: Mapping[str, str],
    account: str,
    site_id: str,
    secret_key: Callable[[], str] | None,
) -> Event:
    """A checkout's or a transfer's callback.

    Raises:
        Forbidden: ``event.bad_signature``.
        InvalidInput: ``event.unreadable``.
        NotConfigured: ``gateway.setting_missing`` when there is no key to check with.
    """
    values = _fields(body)
    if "cpm_trans_id" not in values:
        return _of_transfer(values, body)
    if secret_key is None:
        raise NotConfigured("gateway.setting_missing", field="secret_key", account=account)
    given = header_of(headers, "x-token") or ""
    right = hmac.compare_digest(sign(values, secret_key()).encode(), given.encode())
    if not right or values.get("cpm_site_id") != site_id.encode():
        raise Forbidden("event.bad_signature")
    name = _text(values, "cpm_trans_id")
    return Event(
        event_id=f"{name}-{given[:24]}",
        type=_text(values, "cpm_error_message") or "payment",
        object_kind="payment",
        reference=Reference(our_reference=name, provider_reference=name),
        payer=_payer(values),
    )


def _payer(values: Mapping[str, bytes]) -> Destination | None:
    """Who paid. Values are signed one after the other without anything between them, so a digit
    could be moved from one to its neighbour; a number counts only where its neighbours could not
    have given it any, and where it is a whole one of its country.
    """
    if _text(values, "cpm_error_message").upper() not in _ACCEPTED:
        return None
    before, after = _text(values, "payment_method"), _text(values, "cpm_language")
    if before[-1:].isdigit() or not after[:1].isalpha():
        return None
    return payer(_text(values, "cpm_phone_prefixe"), _text(values, "cel_phone_num"))


def of_json(body: bytes) -> Event:
    """A callback of the new API. Transfers are told from payments by their fee, the only field that
    differs; one that has none is found by the next look at what is open.

    Raises:
        InvalidInput: ``event.unreadable``.
    """
    try:
        data = json.loads(body)
        token, ours = data.get("notify_token"), data.get("merchant_transaction_id")
        theirs = data.get("transaction_id")
    except (ValueError, AttributeError) as broken:
        raise InvalidInput("event.unreadable", field="body") from broken
    names = [each for each in (ours, theirs) if isinstance(each, str) and each]
    if not isinstance(token, str) or not token or not names:
        raise InvalidInput("event.unreadable", field="body")
    return Event(
        event_id=_digest(body),
        type=str(data.get("status") or "notification")[:40],
        object_kind="payout" if "fee_amount" in data else "payment",
        reference=Reference(
            our_reference=ours if isinstance(ours, str) else None,
            provider_reference=theirs if isinstance(theirs, str) else None,
        ),
        proof="token",
        token=token,
    )


def _of_transfer(values: Mapping[str, bytes], body: bytes) -> Event:
    ours, theirs = _text(values, "client_transaction_id"), _text(values, "transaction_id")
    if not (ours or theirs):
        raise InvalidInput("event.unreadable", field="body")
    return Event(
        event_id=_digest(body),
        type=_text(values, "treatment_status") or "transfer",
        object_kind="payout",
        reference=Reference(our_reference=ours or None, provider_reference=theirs or None),
        proof="none",
    )


def _fields(body: bytes) -> dict[str, bytes]:
    """A form's values as the bytes that were sent; Latin-1 gives each byte back as it was."""
    try:
        pairs = parse_qsl(
            body.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=100
        )
    except ValueError as broken:
        raise InvalidInput("event.unreadable", field="body") from broken
    return {name: value.encode("latin-1") for name, value in pairs}


def _text(values: Mapping[str, bytes], name: str) -> str:
    return values.get(name, b"").decode("utf-8", "replace")[:200]


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]
