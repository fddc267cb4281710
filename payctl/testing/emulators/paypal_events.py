"""Webhooks of the emulated PayPal: sent for whatever happens, and verified when asked.

Shapes: Webhooks v1 (spec 1.11) ``event``, ``EventList``, ``verify_webhook_signature_response``;
the signed text is that of developer.paypal.com/api/rest/webhooks.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import zlib
from collections.abc import Callable, Mapping

from payctl.testing.emulators.core import Delivery, Response
from payctl.testing.emulators.paypal_state import Object, State, missing

WEBHOOK_ID = "8PT597110X687430LKGECATA"
CERT_URL = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77"


class Webhooks:
    """The endpoints below ``/v1/notifications``.

    Args:
        sign: makes the RSA signature of the text PayPal signs; without it, something that only
            :meth:`verify` knows again.
    """

    def __init__(
        self,
        state: State,
        deliveries: list[Delivery],
        sign: Callable[[bytes], bytes] | None = None,
        url: str = "https://merchant.example/hooks/paypal",
    ) -> None:
        self._state = state
        self._deliveries = deliveries
        self._sign = sign or (lambda text: hashlib.sha256(b"of the emulator" + text).digest())
        self.url = url
        self.events: dict[str, Object] = {}
        state.emit = self.emit

    def emit(self, name: str, kind: str, resource: Object) -> None:
        """Something happened: keep the event and send it."""
        event_id = f"WH-{secrets.token_hex(8).upper()}-{secrets.token_hex(8).upper()}"
        self.events[event_id] = {
            "id": event_id,
            "create_time": self._state.stamp(),
            "resource_type": kind,
            "event_version": "1.0",
            "event_type": name,
            "summary": name.replace(".", " ").lower(),
            "resource_version": "2.0",
            "resource": resource,
            "links": [self._state.link(f"/v1/notifications/webhooks-events/{event_id}", "self")],
        }
        self.send(event_id)

    def send(self, event_id: str) -> None:
        """Deliver an event, once more if it was sent before; its id stays, its transmission's
        does not."""
        body = json.dumps(self.events[event_id]).encode()
        self._deliveries.append(Delivery("POST", self.url, self.headers(body), body))

    def headers(self, body: bytes, at: str | None = None) -> dict[str, str]:
        """The headers PayPal sends with *body*."""
        transmission, stamp = f"t{secrets.token_hex(16)}", at or self._state.stamp()
        signature = base64.b64encode(self._sign(_signed(transmission, stamp, WEBHOOK_ID, body)))
        return {
            "Content-Type": "application/json",
            "PAYPAL-AUTH-ALGO": "SHA256withRSA",
            "PAYPAL-CERT-URL": CERT_URL,
            "PAYPAL-TRANSMISSION-ID": transmission,
            "PAYPAL-TRANSMISSION-SIG": signature.decode(),
            "PAYPAL-TRANSMISSION-TIME": stamp,
        }

    def verify(self, raw: bytes, asked: Object) -> Response:
        """``verify-webhook-signature.post``: true only for an event that is asked about in the
        very bytes in which it was sent.
        """
        sent = [each for each in self._deliveries if each.body and each.body in raw]
        fields = {
            "auth_algo": "PAYPAL-AUTH-ALGO",
            "cert_url": "PAYPAL-CERT-URL",
            "transmission_id": "PAYPAL-TRANSMISSION-ID",
            "transmission_sig": "PAYPAL-TRANSMISSION-SIG",
            "transmission_time": "PAYPAL-TRANSMISSION-TIME",
        }
        genuine = asked.get("webhook_id") == WEBHOOK_ID and any(
            all(asked.get(name) == each.headers[header] for name, header in fields.items())
            for each in sent
        )
        return Response(200, {"verification_status": "SUCCESS" if genuine else "FAILURE"})

    def webhooks(self) -> Response:
        """``webhooks.list``."""
        one = {"id": WEBHOOK_ID, "url": self.url, "event_types": [{"name": "*"}]}
        return Response(200, {"webhooks": [one]})

    def listed(self, query: Mapping[str, str]) -> Response:
        """``webhooks-events.list``, newest first."""
        wanted = query.get("event_type")
        found = [each for each in self.events.values() if wanted in (None, each["event_type"])]
        shown = found[::-1][: int(query.get("page_size", "10"))]
        return Response(200, {"events": shown, "count": len(shown), "links": []})

    def event(self, event_id: str) -> Response:
        """``webhooks-events.get``."""
        if event_id not in self.events:
            raise missing()
        return Response(200, self.events[event_id])

    def resend(self, event_id: str) -> Response:
        """``webhooks-events.resend``."""
        self.event(event_id)
        self.send(event_id)
        return Response(202, self.events[event_id])


def _signed(transmission: str, stamp: str, webhook_id: str, body: bytes) -> bytes:
    return f"{transmission}|{stamp}|{webhook_id}|{zlib.crc32(body)}".encode()
