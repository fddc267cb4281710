"""A stateful fake of Stripe over real HTTP, for the faults no test mode can make.

It listens on 127.0.0.1 in a thread of its own and does what money safety depends on: keys replay
their first answer (a 500 included), another body with the same key is refused, a key in progress
answers 409, refunds never exceed the charge, an effect may happen without an answer. Answers start
from Stripe's own sample objects (:func:`samples`), so field names stay true.

Means of payment: any ``pm_…`` succeeds, but ``pm_decline_CODE`` is declined with that
``decline_code``, ``pm_action`` wants the customer, ``pm_processing`` stays in progress.
Faults wait in a queue, each for one matching request: see :meth:`StripeFake.fault`.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from importlib.resources import files
from typing import Any, Self

from payctl.testing.emulators.core import Emulator, Exchange, Request, Response
from payctl.testing.emulators.server import EmulatorServer
from payctl.testing.stripe_disputes import FakeDisputes
from payctl.testing.stripe_more import FakeCheckout, FakeTransfers
from payctl.testing.stripe_wire import Params, Result, error_of, nested, page, params_of


def samples() -> dict[str, dict[str, Any]]:
    """Stripe's sample objects by name; where they are from says ``stripe_samples.md``."""
    text = files("payctl.testing").joinpath("stripe_samples.json").read_text()
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found


class StripeFake(Emulator):
    """The fake. Use as a context manager; ``url`` is the ``api_base`` for the adapter.

    Args:
        resources: sample objects by name: ``payment_intent``, ``charge``, ``refund``,
            ``balance_transaction``, ``customer``, ``dispute``, ``file``,
            ``checkout.session``, ``transfer``.
        now: the provider's time; the machine's when not given.
    """

    name = "stripe"
    example = "/payment_intents"

    def __init__(
        self,
        resources: Mapping[str, Mapping[str, Any]],
        now: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(now)
        self._resources = resources
        self._keys: dict[str, tuple[str, int, dict[str, Any]]] = {}
        self._serial = 0
        self.intents: dict[str, dict[str, Any]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.customers: dict[str, dict[str, Any]] = {}
        self.disputes = FakeDisputes(self._new)
        self.checkout = FakeCheckout(self._new, self._paid_on_a_page, self._expanded)
        self.transfers = FakeTransfers(self._new)

    @cached_property
    def _server(self) -> EmulatorServer:
        return EmulatorServer(self)

    @property
    def url(self) -> str:
        return self._server.url

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    # --- for tests ------------------------------------------------------------------------------

    def fault(self, name: str, operation: str = "", times: int = 1, after: int = 0) -> None:
        """As for every emulator; *operation* is any part of a request's address."""
        super().fault(name, f"*{operation}*", times, after)

    def calls(self) -> list[tuple[str, str, Params, Mapping[str, str]]]:
        """Every request seen: method, path, parameters, headers in lower case."""
        with self.lock:
            return [(r.method, r.path, params_of(r), r.headers) for r in self.requests]

    def settle(self, intent_id: str, status: str = "succeeded") -> None:
        """The customer acted, or an asynchronous method ended."""
        with self.lock:
            intent = self.intents[intent_id]
            intent["status"], intent["next_action"] = status, None
            if status == "succeeded":
                self._charge(intent, int(intent["amount"]))

    def fail_refund(self, refund_id: str, reason: str = "declined") -> None:
        """A refund that had succeeded fails after all."""
        with self.lock:
            self.refunds[refund_id] |= {"status": "failed", "failure_reason": reason}

    def taken(self, currency: str) -> int:
        """What was captured in *currency*, in Stripe's integers."""
        with self.lock:
            found = [i for i in self.intents.values() if i["currency"] == currency.lower()]
            return sum(int(intent["amount_received"]) for intent in found)

    # --- one request ----------------------------------------------------------------------------

    def operation(self, request: Request) -> str:
        return request.path

    def handle(self, request: Request, fault: str | None) -> Response:
        key = request.headers.get("idempotency-key")
        status, body, replayed = self.answer(
            request.method, request.path, params_of(request), key, fault
        )
        headers = {"Request-Id": f"req_fake{len(self.requests)}"}
        if replayed:
            headers["Idempotent-Replayed"] = "true"
        if fault == "notice":
            headers["Stripe-Notice"] = "this version is old"
        return Response(status, body, headers)

    def problem(self, status: int) -> Response:
        message, code, kind = _PROBLEMS.get(status, ("no", "", "api_error"))
        return Response(
            status, error_of(message, code, kind), {"Retry-After": "2"} if status == 429 else {}
        )

    def state(self) -> Mapping[str, Any]:
        return {
            "payment_intents": self.intents, "refunds": self.refunds, "customers": self.customers,
            "disputes": self.disputes.held, "sessions": self.checkout.held,
            "transfers": self.transfers.held,
        }  # fmt: skip

    def _exchange(self, request: Request, fault: str | None) -> Exchange:
        if fault in ("500", "500_after"):
            # Frozen for its key, unlike any other failure.
            return Exchange(self.handle(request, fault))
        if fault in ("html_400", "html_403"):
            return Exchange(Response(int(fault[-3:]), "<html>refused</html>"))
        return super()._exchange(request, fault)

    def answer(
        self, method: str, path: str, params: Params, key: str | None, fault: str | None
    ) -> tuple[int, dict[str, Any], bool]:
        """Status, body, and whether it is a replay; *fault* ``500`` freezes for the key."""
        if method == "GET":
            with self.lock:
                return *self._act(method, path, params), False
        if not key:
            return 400, error_of("a POST without an idempotency key", "key_missing"), False
        fingerprint = json.dumps([path, params], sort_keys=True)
        with self.lock:
            if kept := self._keys.get(key):
                if kept[0] != fingerprint:
                    return 400, error_of("other parameters", "", "idempotency_error"), False
                return kept[1], kept[2], True
            broken: Result = (500, error_of("we failed", "", "api_error"))
            result = broken if fault == "500" else self._act(method, path, params)
            if fault == "500_after":
                result = broken
            # What failed validation was never executed, so its key is free again.
            if result[0] not in (400, 404):
                self._keys[key] = (fingerprint, result[0], result[1])
        return *result, False

    def _act(self, method: str, path: str, params: Params) -> Result:
        for verb, pattern, act in self._routes():
            if verb == method and (match := re.fullmatch(pattern, path)):
                return act(params, *match.groups())
        return 404, error_of(f"no such address {path}", "resource_missing")

    def _routes(self) -> tuple[tuple[str, str, Callable[..., Result]], ...]:
        intents, refunds, customers = "/v1/payment_intents", "/v1/refunds", "/v1/customers"
        disputes, pages, one = "/v1/disputes", "/v1/checkout/sessions", "/([^/]+)"
        return (
            ("POST", intents, self._create),
            ("GET", intents, lambda params: page(self.intents, params)),
            ("GET", intents + one, lambda params, id_: self._show(self.intents, id_, params)),
            ("POST", intents + one + "/confirm", self._confirm),
            ("POST", intents + one + "/capture", self._capture),
            ("POST", intents + one + "/cancel", self._cancel),
            ("POST", refunds, self._refund),
            ("GET", refunds, lambda params: page(self.refunds, params)),
            ("GET", refunds + one, lambda params, id_: self._show(self.refunds, id_, params)),
            ("POST", customers, self._customer),
            ("GET", customers, lambda params: page(self.customers, params)),
            ("GET", customers + one, lambda params, id_: self._show(self.customers, id_, params)),
            ("GET", "/v1/balance", self._balance),
            ("GET", "/v1/events", lambda params: page(self.events, params)),
            ("POST", pages, self.checkout.create),
            ("GET", pages, lambda params: page(self.checkout.held, params)),
            ("GET", pages + one, self.checkout.retrieve),
            ("POST", pages + one + "/expire", self.checkout.expire),
            ("POST", "/v1/transfers", self.transfers.create),
            ("GET", "/v1/transfers", self.transfers.listed),
            ("GET", "/v1/transfers" + one, self.transfers.retrieve),
            ("GET", disputes, lambda params: page(self.disputes.held, params)),
            ("GET", disputes + one, self.disputes.retrieve),
            ("POST", disputes + one, self.disputes.update),
            ("POST", disputes + one + "/close", self.disputes.close),
            ("POST", "/v1/files", self.disputes.upload),
        )

    def _paid_on_a_page(self, params: Params) -> dict[str, Any]:
        _status, body = self._create(params)
        found = body if body.get("object") == "payment_intent" else body["error"]["payment_intent"]
        return self.intents[found["id"]]

    # --- payment intents ------------------------------------------------------------------------

    def _create(self, params: Params) -> Result:
        amount, currency = params.get("amount", ""), params.get("currency", "")
        if not amount.isdigit() or int(amount) < 1:
            return 400, error_of("bad amount", "parameter_invalid_integer")
        if int(amount) > 99_999_999:
            return 400, error_of("too large", "amount_too_large")
        if not re.fullmatch("[a-z]{3}", currency):
            return 400, error_of("bad currency", "parameter_invalid_empty")
        intent = self._new("payment_intent", "pi")
        intent |= {
            "amount": int(amount),
            "currency": currency,
            "metadata": nested(params, "metadata"),
            "capture_method": params.get("capture_method", "automatic"),
            "customer": params.get("customer"),
            "description": params.get("description"),
            "client_secret": f"{intent['id']}_secret_fake",
            "amount_received": 0, "amount_capturable": 0, "last_payment_error": None,
            "latest_charge": None, "next_action": None, "processing": None, "canceled_at": None,
            "shipping": None, "transfer_data": None, "status": "requires_payment_method",
        }  # fmt: skip
        self.intents[intent["id"]] = intent
        if params.get("confirm") == "true":
            return self._confirm(params, intent["id"])
        return 200, self._expanded(intent, params)

    def _confirm(self, params: Params, intent_id: str) -> Result:
        intent = self.intents.get(intent_id)
        if intent is None:
            return 404, error_of("no such payment_intent", "resource_missing", param="intent")
        if not intent["status"].startswith("requires_") or intent["status"] == "requires_capture":
            return 400, error_of("not now", "payment_intent_unexpected_state")
        means = params.get("payment_method", "")
        if not means.startswith("pm_"):
            return 400, error_of(
                "no such PaymentMethod", "resource_missing", param="payment_method"
            )
        intent["payment_method"] = means
        if code := means.removeprefix("pm_decline_") if "pm_decline_" in means else "":
            error = error_of("declined", "card_declined", "card_error")
            error["error"]["decline_code"] = code
            intent["last_payment_error"] = dict(error["error"])
            intent["status"] = "requires_payment_method"
            error["error"]["payment_intent"] = copy.deepcopy(intent)
            return 402, error
        if means == "pm_action":
            intent["status"] = "requires_action"
            url = params.get("return_url") and {"url": "https://hooks.stripe.com/3d_secure"}
            intent["next_action"] = {"type": "redirect_to_url", "redirect_to_url": url}
        elif means == "pm_processing":
            intent["status"] = "processing"
        elif intent["capture_method"] == "manual":
            intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
        else:
            intent["status"] = "succeeded"
            self._charge(intent, intent["amount"])
        return 200, self._expanded(intent, params)

    def _capture(self, params: Params, intent_id: str) -> Result:
        intent = self.intents.get(intent_id)
        if intent is None:
            return 404, error_of("no such payment_intent", "resource_missing", param="intent")
        if intent["status"] != "requires_capture":
            return 400, error_of("not capturable", "payment_intent_unexpected_state")
        amount = int(params.get("amount_to_capture", intent["amount_capturable"]))
        if amount > intent["amount_capturable"]:
            return 400, error_of("too much", "amount_too_large", param="amount_to_capture")
        self._charge(intent, amount)
        intent["amount_capturable"] -= amount
        if params.get("final_capture") != "false" or not intent["amount_capturable"]:
            intent |= {"status": "succeeded", "amount_capturable": 0}
        return 200, self._expanded(intent, params)

    def _cancel(self, params: Params, intent_id: str) -> Result:
        intent = self.intents.get(intent_id)
        if intent is None:
            return 404, error_of("no such payment_intent", "resource_missing", param="intent")
        if intent["status"] in ("succeeded", "canceled", "processing"):
            return 400, error_of("not cancelable", "payment_intent_unexpected_state")
        done = intent["amount_received"] > 0
        intent |= {"status": "succeeded" if done else "canceled", "amount_capturable": 0}
        return 200, self._expanded(intent, params)

    def _charge(self, intent: dict[str, Any], amount: int) -> None:
        booked = self._new("balance_transaction", "txn")
        fee = amount * 15 // 1000 + 25
        booked |= {"amount": amount, "fee": fee, "net": amount - fee}
        booked["currency"] = intent["currency"]
        charge = self._new("charge", "ch")
        charge |= {
            "amount": amount, "currency": intent["currency"], "payment_intent": intent["id"],
            "balance_transaction": booked, "captured": True, "paid": True, "amount_refunded": 0,
        }  # fmt: skip
        intent["latest_charge"] = charge
        intent["amount_received"] += amount

    # --- refunds, customers, balance ------------------------------------------------------------

    def _refund(self, params: Params) -> Result:
        intent = self.intents.get(params.get("payment_intent", ""))
        if intent is None:
            return 404, error_of(
                "no such payment_intent", "resource_missing", param="payment_intent"
            )
        given = [r for r in self.refunds.values() if r["payment_intent"] == intent["id"]]
        open_ = intent["amount_received"] - sum(
            r["amount"] for r in given if r["status"] in ("succeeded", "pending")
        )
        amount = int(params.get("amount", open_))
        if not open_ and intent["amount_received"]:
            return 400, error_of("already refunded", "charge_already_refunded")
        if amount > open_:
            return 400, error_of("greater than unrefunded amount", "", param="amount")
        refund = self._new("refund", "re")
        refund |= {
            "amount": amount, "currency": intent["currency"], "payment_intent": intent["id"],
            "metadata": nested(params, "metadata"), "status": "succeeded",
        }  # fmt: skip
        self.refunds[refund["id"]] = refund
        return 200, copy.deepcopy(refund)

    def _customer(self, params: Params) -> Result:
        customer = self._new("customer", "cus")
        customer |= {"email": params.get("email"), "name": params.get("name"), "discount": None}
        customer["metadata"] = nested(params, "metadata")
        self.customers[customer["id"]] = customer
        return 200, copy.deepcopy(customer)

    def _balance(self, params: Params) -> Result:
        del params
        sums: dict[str, int] = {}
        for intent in self.intents.values():
            currency = intent["currency"]
            sums[currency] = sums.get(currency, 0) + intent["amount_received"]
        lines = [{"amount": amount, "currency": code} for code, amount in sums.items()]
        body = {"object": "balance", "available": lines, "pending": [], "livemode": False}
        return 200, body

    # --- objects --------------------------------------------------------------------------------

    def _new(self, kind: str, prefix: str) -> dict[str, Any]:
        self._serial += 1
        data = copy.deepcopy(dict(self._resources[kind]))
        return data | {
            "id": f"{prefix}_fake{self._serial:06d}",
            "created": int(self.now().timestamp()),
        }

    def _show(self, table: dict[str, dict[str, Any]], id_: str, params: Params) -> Result:
        if id_ not in table:
            return 404, error_of(f"no such object {id_}", "resource_missing", param="id")
        return 200, self._expanded(table[id_], params)

    def _expanded(self, data: dict[str, Any], params: Params) -> dict[str, Any]:
        """A copy; the charge is only its id unless it was asked for."""
        out = copy.deepcopy(data)
        wanted = [value for name, value in params.items() if name.startswith("expand[")]
        if isinstance(out.get("latest_charge"), dict):
            if "latest_charge.balance_transaction" not in wanted:
                out["latest_charge"] = out["latest_charge"]["id"]
        return out


#: Refusals without any effect, in Stripe's words.
_PROBLEMS: Mapping[int, tuple[str, str, str]] = {
    401: ("Invalid API Key", "", "invalid_request_error"),
    409: ("key in use", "idempotency_key_in_use", "invalid_request_error"),
    429: ("slow down", "rate_limit", "invalid_request_error"),
    503: ("not now", "", "api_error"),
}
