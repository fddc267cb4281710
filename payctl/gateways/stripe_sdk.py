"""Stripe's official library, held on a short lead: our HTTP underneath, none of its own habits.

By itself it retries twice, waits 80 s, invents idempotency keys, reports telemetry and turns a
notice of the server into a Python warning after the money has moved. Here it builds requests and
nothing else; what an exchange proves is read from our own :class:`Reply`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from payctl import __version__
from payctl.gateways.base import Answer, RejectKind
from payctl.gateways.checks import rejected
from payctl.gateways.http import Http, Reply

if TYPE_CHECKING:
    import stripe
    from stripe._v1_services import V1Services

#: The version of Stripe's API this adapter was written against. Without it an upgrade of the
#: library would silently change what requests mean.
API_VERSION = "2026-10-28.endive"


class Refusal(Exception):
    """The library refused to send: a malformed id or parameter. Nothing left."""


class Sdk:
    """One client for one account, made on first use (importing the library costs 200 ms)."""

    def __init__(self, http: Http, key: Callable[[], str], base: str | None = None) -> None:
        self._http = http
        self._key = key
        self._base = base
        self._lock = threading.Lock()
        self._client: stripe.StripeClient | None = None
        self._local = threading.local()

    def call(self, deadline_s: float, act: Callable[[V1Services], object]) -> Reply:
        """Let *act* make one request, and return what came back of it.

        Raises:
            Refusal: the library sent nothing.
        """
        client = self._open()
        self._local.reply, self._local.deadline_s, self._local.crash = None, deadline_s, None
        try:
            act(client.v1)
        except Exception as error:
            if self._local.crash is not None:
                raise  # ours, not the library's
            # Whatever it made of the answer: the answer itself is what counts.
            if self._local.reply is None:
                raise Refusal(type(error).__name__) from error
        reply: Reply | None = self._local.reply
        if reply is None:
            raise Refusal("nothing was sent")
        return reply

    def ask(self, deadline_s: float, act: Callable[[V1Services], object]) -> Reply | Answer:
        """As :meth:`call`; what the library refused to send is an answer too."""
        try:
            return self.call(deadline_s, act)
        except Refusal as refusal:
            kind = RejectKind.AUTH if "Authentication" in str(refusal) else RejectKind.VALIDATION
            return rejected("invalid_request", f"not sent: {refusal}", kind)

    def _open(self) -> stripe.StripeClient:
        with self._lock:
            if self._client is None:
                key = self._key().strip()
                # A header with such a key breaks only while it is written: that would be unknown.
                if not key or not key.isascii() or not key.isprintable() or " " in key:
                    raise Refusal("Authentication: the secret key is empty or malformed")
                self._client = _new_client(key, self._base, self._send)
            return self._client

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: str | bytes | None
    ) -> Reply:
        own = {name: value for name, value in headers.items() if "Client-User-Agent" not in name}
        own["User-Agent"] = f"payctl/{__version__}"
        try:
            reply = self._http.send(
                method,
                url,
                headers=own,
                body=body.encode() if isinstance(body, str) else body,
                deadline_s=self._local.deadline_s,
            )
        except Exception as crash:
            self._local.crash = crash
            raise
        self._local.reply = reply
        return reply


def _new_client(
    key: str,
    base: str | None,
    send: Callable[[str, str, Mapping[str, str], str | bytes | None], Reply],
) -> stripe.StripeClient:
    import stripe

    stripe.enable_telemetry = False

    class OverHttp(stripe.HTTPClient):
        name = "payctl"

        def request(
            self,
            method: str,
            url: str,
            headers: Mapping[str, str] | None,
            post_data: Any = None,
            *,
            _usage: list[str] | None = None,
        ) -> tuple[str, int, Mapping[str, str]]:
            reply = send(method, url, headers or {}, post_data)
            if reply.status is None:
                raise stripe.APIConnectionError(reply.error)  # type: ignore[no-untyped-call]
            return reply.body.decode("utf-8", "replace"), reply.status, {}

        def close(self) -> None:
            """Nothing of its own is open."""

    return stripe.StripeClient(
        key,
        stripe_version=API_VERSION,
        max_network_retries=0,
        base_addresses={"api": base, "files": base} if base else None,
        http_client=OverHttp(),
    )
