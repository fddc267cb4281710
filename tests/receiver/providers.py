"""Every adapter with a genuine webhook of its provider and a way to sign another body."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from payctl.clock import ManualClock
from payctl.gateways import cinetpay_events
from payctl.gateways.base import Gateway
from payctl.gateways.http import Reply
from payctl.gateways.paypal import PaypalGateway
from payctl.gateways.paypal_certificates import Certificates
from payctl.gateways.registry import build
from payctl.gateways.signature import sign
from tests.gateways import cinetpay_harness, momo_harness, orange_harness
from tests.gateways.paypal_signer import paypal_signer

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
#: Nothing listens there: no adapter may ask anybody to read a webhook.
NOWHERE = "http://127.0.0.1:9"
WEBHOOK_ID = "WH-1"

Headers = dict[str, str]


@dataclass(frozen=True)
class Provider:
    """One account.

    Attributes:
        sign: the headers with which the provider would send a body.
        signs: whether a body that it did not sign is refused.
    """

    account: str
    gateway: Gateway
    body: bytes
    sign: Callable[[bytes], Headers]
    signs: bool


def providers(stack: ExitStack, folder: Path) -> dict[str, Provider]:
    """All of them, closed with *stack*; what they keep is kept in *folder*."""
    made = [
        _stripe(), _sandbox(folder), _paypal(offline=True), _paypal(offline=False), _cinetpay_v2(),
        _transfers(), _cinetpay_v1(), _momo(), *map(_orange, ("webpay", "cameroon", "sonatel")),
    ]  # fmt: skip
    for each in made:
        close = getattr(each.gateway, "close", None)
        if close is not None:
            stack.callback(close)
    return {each.account: each for each in made}


def _built(family: str, account: str, settings: Mapping[str, Any], secrets: Any) -> Gateway:
    return build(family, account, settings, secrets, clock=ManualClock(NOW))


def _bare(_body: bytes) -> Headers:
    return {"Content-Type": "application/json"}


def _json(**data: Any) -> bytes:
    return json.dumps(data).encode()


def _stripe() -> Provider:
    settings = {"secret_key": "k", "webhook_secrets": ["new", "old"], "api_base": NOWHERE}
    secrets = {"k": "sk_test_1", "new": "whsec_n", "old": "whsec_o"}
    gateway = _built("stripe", "stripe", settings, secrets.__getitem__)
    body = _json(id="evt_1", type="payment_intent.succeeded", created=int(NOW.timestamp()),
                 data={"object": {"object": "payment_intent", "id": "pi_1",
                                  "metadata": {"payctl_ref": "att_1"}}})  # fmt: skip
    return Provider("stripe", gateway, body,
                    lambda b: {"Stripe-Signature": sign(b, "whsec_o", NOW)}, True)  # fmt: skip


def _sandbox(folder: Path) -> Provider:
    settings = {"webhook_secrets": ["s"], "book": str(folder / "box.sqlite3")}
    gateway = _built("sandbox", "box", settings, lambda reference: reference)
    body = _json(id="e1", type="payment.succeeded", created=NOW.isoformat(),
                 object={"kind": "payment", "id": "sb_1", "our_reference": "r1"})  # fmt: skip
    return Provider("box", gateway, body, lambda b: {"Sandbox-Signature": sign(b, "s", NOW)}, True)


def _paypal(*, offline: bool) -> Provider:
    settings: dict[str, Any] = {"client_id": "i", "client_secret": "s", "api_base": NOWHERE}
    if offline:
        settings["webhook_id"] = WEBHOOK_ID
    account = "paypal" if offline else "paypal-online"
    gateway = _built("paypal", account, settings, lambda reference: reference)
    assert isinstance(gateway, PaypalGateway)
    signer = paypal_signer()
    gateway.webhooks.certificates = Certificates(
        ManualClock(NOW), "sandbox", roots=signer.roots,
        fetch=lambda url: Reply(200, {}, signer.chain),
    )  # fmt: skip
    body = _json(id="WH-E1", event_type="PAYMENT.CAPTURE.COMPLETED", create_time=NOW.isoformat(),
                 resource={"id": "C1", "custom_id": "att_1",
                           "supplementary_data": {"related_ids": {"order_id": "O1"}}})  # fmt: skip

    def headers(content: bytes) -> Headers:
        stamp = "2026-11-02T09:00:00Z"
        text = f"t1|{stamp}|{WEBHOOK_ID}|{zlib.crc32(content)}".encode()
        return {
            "PAYPAL-AUTH-ALGO": "SHA256withRSA", "PAYPAL-TRANSMISSION-ID": "t1",
            "PAYPAL-CERT-URL": "https://api.sandbox.paypal.com/v1/notifications/certs/C1",
            "PAYPAL-TRANSMISSION-TIME": stamp,
            "PAYPAL-TRANSMISSION-SIG": base64.b64encode(signer.sign(text)).decode(),
        }  # fmt: skip

    return Provider(account, gateway, body, headers, offline)


def _cinetpay_v2() -> Provider:
    settings = cinetpay_harness.v2_settings(NOWHERE)
    gateway = _built("cinetpay", "cinetpay", settings, cinetpay_harness.KNOWN.__getitem__)
    fields = {
        "cpm_site_id": settings["site_id"], "cpm_trans_id": "a" * 30, "cpm_amount": "2500",
        "cpm_trans_date": "2026-11-02 09:00:00", "cpm_currency": "XOF", "signature": "abc",
        "payment_method": "OM", "cel_phone_num": "0707080910", "cpm_phone_prefixe": "225",
        "cpm_language": "fr", "cpm_version": "V4", "cpm_payment_config": "SINGLE",
        "cpm_page_action": "PAYMENT", "cpm_custom": "", "cpm_designation": "T",
        "cpm_error_message": "SUCCES",
    }  # fmt: skip

    def headers(content: bytes) -> Headers:
        values = cinetpay_events._fields(content)
        return {"x-token": cinetpay_events.sign(values, cinetpay_harness.SECRET_KEY)}

    return Provider("cinetpay", gateway, urlencode(fields).encode(), headers, True)


def _transfers() -> Provider:
    gateway = _built("cinetpay", "cinetpay-transfers", cinetpay_harness.v2_settings(NOWHERE),
                     cinetpay_harness.KNOWN.__getitem__)  # fmt: skip
    body = urlencode({"transaction_id": "T1", "client_transaction_id": "b" * 30, "lot": "1",
                      "amount": "100", "receiver": "0707", "treatment_status": "VAL"})  # fmt: skip
    return Provider("cinetpay-transfers", gateway, body.encode(), _bare, False)


def _cinetpay_v1() -> Provider:
    gateway = _built("cinetpay", "cinetpay-v1", cinetpay_harness.v1_settings(NOWHERE),
                     cinetpay_harness.KNOWN.__getitem__)  # fmt: skip
    token = hashlib.sha256(b"notify").hexdigest()
    body = _json(notify_token=token, merchant_transaction_id="m1", transaction_id="t1",
                 status="SUCCESS")  # fmt: skip
    return Provider("cinetpay-v1", gateway, body, _bare, False)


def _momo() -> Provider:
    gateway = _built("momo", "momo", momo_harness.settings(NOWHERE),
                     momo_harness.SECRETS.__getitem__)  # fmt: skip
    body = _json(externalId="00000000-0000-4000-8000-00000000a001", amount="2500", currency="EUR",
                 financialTransactionId="77", status="SUCCESSFUL",
                 payer={"partyIdType": "MSISDN", "partyId": "46733000001"})  # fmt: skip
    return Provider("momo", gateway, body, _bare, False)


_ORANGE: Mapping[str, bytes] = {
    "webpay": _json(status="SUCCESS", notif_token="n" * 32, txnid="MP1"),
    "cameroon": _json(payToken="MP2", status="SUCCESSFULL", message="ok"),
    "sonatel": _json(transactionId="CI1", status="SUCCESS", type="MERCHANT_PAYMENT",
                     metadata={"order": "att_1"}),
}  # fmt: skip


def _orange(api: str) -> Provider:
    settings = {"api": api, "api_base": NOWHERE, **orange_harness.SETTINGS[api]}
    gateway = _built("orange", f"orange-{api}", settings, orange_harness.SECRETS.__getitem__)
    return Provider(f"orange-{api}", gateway, _ORANGE[api], _bare, False)
