"""PayPal's webhooks: what an event is about, and what speaks for it.

With ``webhook_id`` set and the extra ``payctl[paypal-offline]`` installed the signature is checked
here; else the event is read with proof ``none``. Either way the object it names is asked for before
anything changes: the signature covers only a CRC-32 of the body, so somebody who holds one genuine
event can make another body that fits it.

Sources: developer.paypal.com/api/rest/webhooks (headers, signed text), /webhooks/event-names;
Webhooks v1 ``event`` and ``verify-webhook-signature.post``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from payctl.errors import Forbidden, InvalidInput, NotConfigured, NotSent
from payctl.gateways.base import Answer, Event, Outcome, Reference
from payctl.gateways.checks import rejected
from payctl.gateways.paypal_api import BROKEN, Api, dressed, failed, unreadable
from payctl.gateways.paypal_certificates import Certificates, Signed, check
from payctl.gateways.rest import json_object
from payctl.gateways.signature import header_of

#: PayPal repeats an event for three days, perhaps with the time of its first try.
_OLDEST, _NEWEST = timedelta(days=4), timedelta(minutes=10)
#: Of the list of past events: the most PayPal gives at once, and how far we read.
_PAGE, _MAX_PAGES, _PAGE_S = 300, 100, 20.0
#: Header -> field of ``verify_webhook_signature``.
_HEADERS = {
    "PAYPAL-AUTH-ALGO": "auth_algo",
    "PAYPAL-CERT-URL": "cert_url",
    "PAYPAL-TRANSMISSION-ID": "transmission_id",
    "PAYPAL-TRANSMISSION-SIG": "transmission_sig",
    "PAYPAL-TRANSMISSION-TIME": "transmission_time",
}
#: First words of ``event_type`` -> kind. The resource of a refunded capture is the refund.
_KINDS: Mapping[str, str] = {
    "CHECKOUT.ORDER.": "payment",
    "CHECKOUT.PAYMENT-APPROVAL.": "payment",
    "PAYMENT.CAPTURE.REFUNDED": "refund",
    "PAYMENT.REFUND.": "refund",
    "PAYMENT.CAPTURE.": "payment",
    "PAYMENT.AUTHORIZATION.": "payment",
    "PAYMENT.PAYOUTSBATCH.": "payout",
    "PAYMENT.PAYOUTS-ITEM.": "payout",
    "CUSTOMER.DISPUTE.": "dispute",
}


class Webhooks:
    """Events of one account.

    Args:
        webhook_id: our webhook's id as PayPal shows it; never taken from an event.
    """

    def __init__(self, api: Api, mode: str, webhook_id: str | None) -> None:
        self._api = api
        self._webhook_id = webhook_id
        self.certificates = Certificates(api.clock, mode)

    def parse(self, body: bytes, headers: Mapping[str, str], received_at: datetime | None) -> Event:
        """See :meth:`Gateway.parse_event`."""
        proven = self._check(body, headers, received_at)
        try:
            event = of_event(json.loads(body))
        except BROKEN as broken:
            proof = "signature" if proven else "none"
            raise InvalidInput("event.unreadable", field="body", proof=proof) from broken
        return replace(event, proof="signature" if proven else "none")

    def verify_online(self, body: bytes, headers: Mapping[str, str], deadline_s: float) -> Answer:
        """Let PayPal check an event. The event goes as the text that came: written anew, its bytes
        would be others than those that were signed.
        """
        if self._webhook_id is None:
            raise NotConfigured("gateway.setting_missing", field="webhook_id", account="paypal")
        fields = {name: header_of(headers, header) for header, name in _HEADERS.items()}
        if not all(fields.values()) or not _is_object(body):
            return rejected("bad_signature", "no event of PayPal's")
        about = json.dumps({**fields, "webhook_id": self._webhook_id}).encode()
        asked = about[:-1] + b', "webhook_event": ' + body + b"}"
        path = "/v1/notifications/verify-webhook-signature"
        reply = self._api.post(path, asked, deadline_s)
        if answer := failed(reply):
            return answer
        status = json_object(reply).get("verification_status")
        if status == "SUCCESS":
            return dressed(Answer(Outcome.SUCCEEDED, provider_code=status), reply)
        if status == "FAILURE":
            return dressed(rejected("bad_signature"), reply)
        return unreadable(reply)

    def listed(self, account: str, since: datetime) -> Iterator[tuple[Event, bytes]]:
        """The events PayPal has kept, newest first; it keeps thirty days of them."""
        start = f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        end = f"{self._api.clock.now().astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        query = urlencode({"start_time": start, "end_time": end, "page_size": _PAGE})
        path: str | None = f"/v1/notifications/webhooks-events?{query}"
        for _page in range(_MAX_PAGES):
            reply = self._api.get(path or "", _PAGE_S)
            if bad := failed(reply):
                raise NotSent("gateway.unreachable", account=account, why=str(bad.outcome))
            try:
                data = json_object(reply)
                items, path = list(data["events"]), _next(data)
                read = [(of_event(each), json.dumps(each).encode()) for each in items]
            except BROKEN:
                raise NotSent("gateway.unreachable", account=account, why="unreadable") from None
            yield from (each for each in read if (each[0].occurred_at or since) >= since)
            if path is None:
                return
        raise NotSent("gateway.unreachable", account=account, why="the list is too long")

    def close(self) -> None:
        self.certificates.close()

    def _check(self, body: bytes, headers: Mapping[str, str], received_at: datetime | None) -> bool:
        """Whether the signature was checked and holds.

        Raises:
            Forbidden: ``event.bad_signature`` or ``event.stale``.
        """
        if self._webhook_id is None or not self.certificates.available:
            return False
        values = {name: header_of(headers, header) or "" for header, name in _HEADERS.items()}
        sent_at = _time(values["transmission_time"])
        if sent_at is None or values["auth_algo"].upper() != "SHA256WITHRSA":
            raise Forbidden("event.bad_signature")
        key = self.certificates.key(values["cert_url"], received_at or sent_at)
        if key is None:
            return False
        signed = Signed(
            values["transmission_id"], values["transmission_time"], self._webhook_id, body
        )
        check(key, signed, values["transmission_sig"])
        if received_at is not None and not -_NEWEST < received_at - sent_at < _OLDEST:
            raise Forbidden(
                "event.stale", signed_at=values["transmission_time"],
                tolerance_s=int(_OLDEST.total_seconds()),
            )  # fmt: skip
        return True


def of_event(data: Mapping[str, Any]) -> Event:
    """A webhook, only as far as needed to ask for the object it is about."""
    name, resource = str(data["event_type"]), data["resource"]
    kind = next((kind for start, kind in _KINDS.items() if name.startswith(start)), "other")
    if kind == "payment":
        about = _payment(name, resource)
    elif kind == "payout":
        about = _payout(resource)
    else:
        theirs = resource.get("dispute_id") or resource.get("id")
        about = Reference(
            resource.get("custom_id") if kind == "refund" else None, str(theirs) if theirs else None
        )
    return Event(
        event_id=str(data["id"]),
        type=name,
        object_kind=kind,
        reference=about,
        occurred_at=_time(str(data.get("create_time") or "")),
        proof="none",
    )


def _payment(name: str, resource: Mapping[str, Any]) -> Reference:
    """An order by its id; a capture or authorisation by the order it belongs to."""
    if name.startswith("CHECKOUT.ORDER."):
        units = resource.get("purchase_units") or [{}]
        return Reference(units[0].get("custom_id"), str(resource["id"]))
    related = (resource.get("supplementary_data") or {}).get("related_ids") or {}
    order_id = related.get("order_id") or resource.get("order_id")
    return Reference(resource.get("custom_id"), str(order_id) if order_id else None)


def _payout(resource: Mapping[str, Any]) -> Reference:
    header = resource.get("batch_header") or resource
    ours = header.get("sender_batch_id") or (header.get("sender_batch_header") or {}).get(
        "sender_batch_id"
    )
    return Reference(ours, str(header["payout_batch_id"]))


def _next(data: Mapping[str, Any]) -> str | None:
    """The path of the next page, of PayPal's own links."""
    found = next((each for each in data.get("links") or [] if each["rel"] == "next"), None)
    if found is None:
        return None
    split = urlsplit(str(found["href"]))
    return f"{split.path}?{split.query}"


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
