"""CinetPay, both generations at one root: the checkout v2 with the transfers v1 of the same
account, and the new API.

==================================  ============================================================
checkout ``/v2/...``                :mod:`payctl.testing.emulators.cinetpay_checkout`
transfers ``/v1/auth/login`` ...    :mod:`payctl.testing.emulators.cinetpay_transfers`
new API ``/v1/oauth/login`` ...     :mod:`payctl.testing.emulators.cinetpay_v1`
the customer's page ``/pay/TOKEN``  opened with ``?outcome=paid`` (default), ``refused``, ``cancel``
==================================  ============================================================

Besides the common faults there is ``code:N``: the answer is CinetPay's code N, without effect, with
:attr:`CinetPayEmulator.error_status`, since errors are seen with 4xx and with 200 alike.

Written from docs.cinetpay.com (checkout: "Initiating a payment", "Check", "HMAC", "Table of codes";
transfer: "Using the API", "Steps", "Annexe", "Notification") and, for the new API, from CinetPay's
sandbox documentation as published clients record it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from payctl.testing.emulators.cinetpay_checkout import Checkout
from payctl.testing.emulators.cinetpay_transfers import Transfers
from payctl.testing.emulators.cinetpay_v1 import NewApi
from payctl.testing.emulators.core import Emulator, Request, Response

#: Credentials of the one merchant; no key of anything.
APIKEY = "1357924680a1b2c3d4e5f6.01234567"
SITE_ID = "445160"
SECRET_KEY = "emulated-hmac-key-0123456789"  # noqa: S105 - of the emulator
API_PASSWORD = "emulated-password-0123456789"  # noqa: S105 - of the emulator
V1_KEY = "sk_test_" + "emulated0123456789"

_ROUTES: Mapping[tuple[str, str], str] = {
    ("POST", "/v2/payment"): "payment.create",
    ("POST", "/v2/payment/check"): "payment.check",
    ("POST", "/v1/auth/login"): "transfer.login",
    ("GET", "/v1/transfer/check/balance"): "transfer.balance",
    ("POST", "/v1/transfer/contact"): "transfer.contact",
    ("POST", "/v1/transfer/money/send/contact"): "transfer.send",
    ("GET", "/v1/transfer/check/money"): "transfer.check",
    ("POST", "/v1/oauth/login"): "v1.login",
    ("POST", "/v1/payment"): "v1.payment.create",
    ("POST", "/v1/transfer"): "v1.transfer.create",
    ("GET", "/v1/balances"): "v1.balance",
}
#: What a refusal of that status looks like where CinetPay documents none: only a message.
_PROBLEMS: Mapping[int, tuple[str, str]] = {
    401: ("609", "AUTH_NOT_FOUND"), 403: ("609", "AUTH_NOT_FOUND"),
}  # fmt: skip


class CinetPayEmulator(Emulator):
    """See the module.

    Args:
        public_url: where customers reach it; from the request's ``Host`` when not given.
        float_units: what the transfer accounts hold, in whole units.

    Attributes:
        error_status: HTTP status of the checkout's and the transfers' errors.
    """

    name = "cinetpay"

    def __init__(
        self,
        now: Callable[[], datetime] | None = None,
        *,
        public_url: str | None = None,
        float_units: int = 1_000_000,
        v1_key: str = V1_KEY,
    ) -> None:
        super().__init__(now)
        self.error_status = 400
        self.public_url = public_url
        self.checkout = Checkout(self, APIKEY, SITE_ID, SECRET_KEY)
        self.transfers = Transfers(self, APIKEY, API_PASSWORD, float_units)
        self.v1 = NewApi(self, v1_key, API_PASSWORD, float_units)
        self._asked = ""

    def operation(self, request: Request) -> str:
        self._asked = self._operation(request)
        return self._asked

    def _operation(self, request: Request) -> str:
        named = _ROUTES.get((request.method, request.path))
        if named is not None:
            return named
        if request.method == "GET":
            for start, operation in (
                ("/v1/payment/", "v1.payment.get"), ("/v1/transfer/", "v1.transfer.get"),
                ("/pay/", "page"),
            ):  # fmt: skip
                if request.path.startswith(start) and request.path.count("/") == start.count("/"):
                    return operation
        return "unknown"

    def handle(self, request: Request, fault: str | None) -> Response:
        operation = self._operation(request)
        agent = request.headers.get("user-agent", "")
        if agent.startswith("Python-urllib"):
            # Cloudflare's "browser_signature_banned", which clients of both generations report.
            return Response(403, "<html>error code: 1010</html>", {"Content-Type": "text/html"})
        kind, _, code = (fault or "").partition(":")
        if kind == "code":
            return self.coded(operation, code)
        if operation == "page":
            return self._page(request)
        if operation.startswith("payment."):
            return self.checkout.handle(operation, request)
        if operation.startswith("transfer."):
            return self.transfers.handle(operation, request)
        if operation.startswith("v1."):
            return self.v1.handle(operation, request)
        return Response(404, "<html>404</html>", {"Content-Type": "text/html"})

    def coded(self, operation: str, code: str) -> Response:
        """CinetPay's *code* as the answer to *operation*."""
        if operation.startswith("v1."):
            return self.v1.coded(code)
        if operation.startswith("transfer."):
            return self.transfers.error(code)
        return self.checkout.error(code)

    def problem(self, status: int) -> Response:
        if self._asked.startswith("v1.") and status in (401, 403):
            return Response(status, {"code": 1002, "status": "INVALID_TOKEN"})
        code, name = _PROBLEMS.get(status, ("", "ERROR"))
        body = {"message": name, "description": f"status {status}"} | (
            {"code": code} if code else {}
        )
        return Response(status, body)

    def state(self) -> Mapping[str, Any]:
        return {
            "payments": self.checkout.state(),
            "transfers": self.transfers.state(),
            "v1": self.v1.state(),
        }

    def page_of(self, request: Request, token: str) -> str:
        """The address of a payment's page."""
        root = self.public_url or f"http://{request.headers.get('host', 'localhost')}"
        return f"{root}/pay/{token}"

    def _page(self, request: Request) -> Response:
        token = request.path.rpartition("/")[2]
        outcome = request.query.get("outcome", "paid")
        done = self.checkout.visit(token, outcome) or self.v1.visit(token, outcome)
        text = f"<html><body>{done or 'unknown payment'}</body></html>"
        return Response(200 if done else 404, text, {"Content-Type": "text/html"})
