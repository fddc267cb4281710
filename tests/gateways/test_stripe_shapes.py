"""Requests against the library's typed parameters, responses against Stripe's schemas, amounts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from payctl.gateways.base import (
    DECLINE_CODES,
    FAIL_OVER_CODES,
    CaptureRequest,
    Destination,
    PayoutRequest,
    Reference,
)
from payctl.gateways.disputes import DisputeResponse
from payctl.gateways.stripe_answers import DECLINES, STATE_ERRORS
from payctl.gateways.stripe_money import CURRENCIES, from_stripe, limits, to_stripe
from payctl.money import EXPONENTS
from payctl.testing.stripe_fake import StripeFake
from tests.gateways.harnesses import (
    FIXTURES,
    CheckoutHarness,
    ConnectHarness,
    StripeHarness,
    resources,
)
from tests.gateways.stripe_calls import by_ours, known, refund, request

pytestmark = pytest.mark.gateways


# --- requests ---------------------------------------------------------------------------------


def _parameters(path: str, method: str) -> tuple[frozenset[str], frozenset[str]]:
    """Names the library's typed dict knows for a request, and those it demands."""
    from stripe.params._balance_retrieve_params import BalanceRetrieveParams
    from stripe.params._customer_create_params import CustomerCreateParams
    from stripe.params._dispute_close_params import DisputeCloseParams
    from stripe.params._dispute_list_params import DisputeListParams
    from stripe.params._dispute_retrieve_params import DisputeRetrieveParams
    from stripe.params._dispute_update_params import DisputeUpdateParams
    from stripe.params._payment_intent_cancel_params import PaymentIntentCancelParams
    from stripe.params._payment_intent_capture_params import PaymentIntentCaptureParams
    from stripe.params._payment_intent_confirm_params import PaymentIntentConfirmParams
    from stripe.params._payment_intent_create_params import PaymentIntentCreateParams
    from stripe.params._payment_intent_list_params import PaymentIntentListParams
    from stripe.params._payment_intent_retrieve_params import PaymentIntentRetrieveParams
    from stripe.params._refund_create_params import RefundCreateParams
    from stripe.params._refund_list_params import RefundListParams
    from stripe.params._transfer_create_params import TransferCreateParams
    from stripe.params._transfer_list_params import TransferListParams
    from stripe.params._transfer_retrieve_params import TransferRetrieveParams
    from stripe.params.checkout._session_create_params import SessionCreateParams
    from stripe.params.checkout._session_expire_params import SessionExpireParams
    from stripe.params.checkout._session_list_params import SessionListParams
    from stripe.params.checkout._session_retrieve_params import SessionRetrieveParams

    table: dict[tuple[str, str], Any] = {
        ("GET", "disputes"): DisputeListParams,
        ("GET", "disputes/ID"): DisputeRetrieveParams,
        ("POST", "disputes/ID"): DisputeUpdateParams,
        ("POST", "disputes/ID/close"): DisputeCloseParams,
        ("POST", "transfers"): TransferCreateParams,
        ("GET", "transfers"): TransferListParams,
        ("GET", "transfers/ID"): TransferRetrieveParams,
        ("POST", "checkout/sessions"): SessionCreateParams,
        ("GET", "checkout/sessions"): SessionListParams,
        ("GET", "checkout/sessions/ID"): SessionRetrieveParams,
        ("POST", "checkout/sessions/ID/expire"): SessionExpireParams,
        ("POST", "payment_intents"): PaymentIntentCreateParams,
        ("GET", "payment_intents"): PaymentIntentListParams,
        ("GET", "payment_intents/ID"): PaymentIntentRetrieveParams,
        ("POST", "payment_intents/ID/confirm"): PaymentIntentConfirmParams,
        ("POST", "payment_intents/ID/capture"): PaymentIntentCaptureParams,
        ("POST", "payment_intents/ID/cancel"): PaymentIntentCancelParams,
        ("POST", "refunds"): RefundCreateParams,
        ("GET", "refunds"): RefundListParams,
        ("POST", "customers"): CustomerCreateParams,
        ("GET", "balance"): BalanceRetrieveParams,
    }
    parts = path.removeprefix("/v1/").split("/")
    place = 2 if parts[0] == "checkout" else 1
    if len(parts) > place:
        parts[place] = "ID"
    typed = table[(method, "/".join(parts))]
    return frozenset(typed.__annotations__), frozenset(typed.__required_keys__)


def test_every_request_uses_only_parameters_the_library_knows(stripe: StripeHarness) -> None:
    gateway = stripe.gateway
    paid = known(gateway.create_payment(request(description="two seats", customer_reference="c")))
    held = known(
        gateway.create_payment(request("m", manual_capture=True, return_url="https://a.example"))
    )
    page = known(gateway.create_payment(request("p", payment_token=None, metadata={"a": "b"})))
    gateway.confirm_payment(
        str(page.provider_reference), "pm_x", "k", return_url="https://b.example"
    )
    gateway.capture_payment(CaptureRequest(held, "cap_1", "k1", 500, "EUR", final=False))
    gateway.capture_payment(CaptureRequest(held, "cap_2", "k2", 500, "EUR"))
    gateway.cancel_payment(held, "k3")
    gateway.refund_payment(refund(paid, reason="duplicate"))
    gateway.refund_payment(refund(paid, name="free", reason="the show was cancelled"))
    gateway.query_payment(Reference(our_reference="att_m"))
    gateway.query_refund(Reference(our_reference="rfd_r"))
    gateway.customers.create(email="a@example.com", name="A", idempotency_key="k4")
    gateway.balance()
    reasons = []
    for method, path, params, _ in stripe.fake.requests:
        names = {name.partition("[")[0] for name in params}
        may, must = _parameters(path, method)
        assert names <= may, (method, path, names - may)
        assert must <= names, (method, path, must - names)
        reasons.append(params.get("reason"))
    assert "duplicate" in reasons
    assert "the show was cancelled" not in reasons  # Stripe takes three words only


def _more(fake: StripeFake) -> None:
    """A page, a transfer and a dispute: every request the adapter can make about them."""
    page, connect = CheckoutHarness(fake), ConnectHarness(fake)
    asked = request("page", payment_token=None, return_url="https://a.example", email="a@b.example",
                    cancel_url="https://b.example", description="two seats")  # fmt: skip
    first = known(page.gateway.create_payment(asked))
    page.gateway.query_payment(first)
    page.gateway.query_payment(by_ours("page"))
    fake.checkout.pay(str(first.provider_reference))
    intent = page.gateway.query_payment(first).provider_reference
    held = known(page.gateway.create_payment(replace(asked, idempotency_key="k", amount_minor=99)))
    page.gateway.cancel_payment(held, "k_expire")
    payout = PayoutRequest("po_1", "key_po", 500, "EUR", Destination("stripe_account", "acct_1"),
                           "for May")  # fmt: skip
    sent = connect.gateway.create_payout(payout)
    connect.gateway.query_payout(known(sent))
    connect.gateway.query_payout(Reference(our_reference="po_1"))
    disputed = fake.disputes.open(fake.intents[str(intent)])
    page.gateway.query_dispute(disputed, 5.0)
    list(page.gateway.list_disputes(datetime.now(UTC) - timedelta(days=1)))
    page.gateway.respond_to_dispute(
        DisputeResponse(disputed, "key_d", False, "seen", "a.pdf", b"%PDF-1.7")
    )
    page.gateway.respond_to_dispute(DisputeResponse(disputed, "key_e", True))
    page.close()
    connect.close()


def test_pages_transfers_and_disputes_use_only_parameters_the_library_knows(
    stripe: StripeHarness,
) -> None:
    _more(stripe.fake)
    paths = set()
    for method, path, params, _ in stripe.fake.requests:
        if path == "/v1/files":
            continue  # a form with a file in it, which the fake does not read
        names = {name.partition("[")[0] for name in params}
        may, must = _parameters(path, method)
        assert names <= may, (method, path, names - may)
        assert must <= names, (method, path, must - names)
        paths.add((method, path.split("/")[2]))
    assert paths == {(method, noun) for method in ("GET", "POST")
                     for noun in ("checkout", "transfers", "disputes")} | {
                         ("GET", "payment_intents")}  # fmt: skip


def test_what_a_create_says(stripe: StripeHarness) -> None:
    stripe.gateway.create_payment(
        request(manual_capture=True, metadata={"order": "o-1", "n" * 60: "v" * 600})
    )
    sent = stripe.fake.requests[-1][2]
    assert sent == {
        "amount": "2500",
        "currency": "eur",
        "capture_method": "manual",
        "confirm": "true",
        "payment_method": "pm_card_visa",
        "payment_method_options[card][request_multicapture]": "if_available",
        "automatic_payment_methods[enabled]": "true",
        "automatic_payment_methods[allow_redirects]": "never",
        "expand[0]": "latest_charge.balance_transaction",
        "metadata[order]": "o-1",
        f"metadata[{'n' * 40}]": "v" * 500,
        "metadata[payctl_ref]": "att_a",
        "metadata[payctl_flow]": "server",
    }


def test_metadata_of_the_caller_cannot_replace_our_reference(stripe: StripeHarness) -> None:
    many = {"payctl_ref": "someone else's"} | {f"n{number}": "v" for number in range(60)}
    answer = stripe.gateway.create_payment(request(metadata=many))
    assert answer.our_reference == "att_a"
    sent = stripe.fake.requests[-1][2]
    assert sum(name.startswith("metadata[") for name in sent) <= 50


# --- responses --------------------------------------------------------------------------------


def _nullable(node: Any) -> Any:
    """OpenAPI 3.0 writes ``nullable``; JSON Schema wants a choice with null."""
    if isinstance(node, list):
        return [_nullable(each) for each in node]
    if not isinstance(node, dict):
        return node
    out = {key: _nullable(value) for key, value in node.items()}
    if out.pop("nullable", None) is True:
        return {"anyOf": [out, {"type": "null"}]}
    return out


@pytest.fixture(scope="module")
def registry() -> Registry[Any]:
    spec = _nullable(json.loads((FIXTURES / "stripe_schemas.json").read_text()))
    spec = json.loads(json.dumps(spec).replace("#/components", "spec#/components"))
    return Registry().with_resource(
        "spec", Resource.from_contents(spec, default_specification=DRAFT202012)
    )


def check(registry: Registry[Any], kind: str, data: Any) -> None:
    schema = {"$ref": f"spec#/components/schemas/{kind}"}
    jsonschema.Draft202012Validator(schema, registry=registry).validate(data)


def test_the_schemas_catch_a_fault(registry: Registry[Any]) -> None:
    intent = resources()["payment_intent"]
    check(registry, "payment_intent", intent)
    for broken in ({"amount": "25.00"}, {"status": "paid"}, {"metadata": {"a": 1}}):
        with pytest.raises(jsonschema.ValidationError):
            check(registry, "payment_intent", intent | broken)


def test_what_our_fake_answers_is_what_stripe_answers(
    stripe: StripeHarness, registry: Registry[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, dict[str, Any]]] = []
    answer = stripe.fake.answer

    def spy(*arguments: Any) -> Any:
        status, body, replay = answer(*arguments)
        seen.append((status, body))
        return status, body, replay

    monkeypatch.setattr(stripe.fake, "answer", spy)
    gateway = stripe.gateway
    paid = known(gateway.create_payment(request()))
    held = known(gateway.create_payment(request("m", manual_capture=True)))
    gateway.capture_payment(CaptureRequest(held, "cap_1", "k1", 500, "EUR"))
    gateway.create_payment(request("d", payment_token="pm_decline_fraudulent"))
    gateway.create_payment(request("z", payment_token="pm_action", return_url="https://a.example"))
    gateway.refund_payment(refund(paid))
    gateway.refund_payment(refund(paid, 99_999, "over"))
    gateway.query_payment(Reference(our_reference="att_m"))
    gateway.customers.create(email="a@example.com", idempotency_key="k4")
    kinds = set()
    for status, body in seen:
        for item in body["data"] if body.get("object") == "list" else [body]:
            kind = item.get("object", "error")
            kinds.add(kind)
            check(registry, kind, item)
        assert (status >= 400) == ("error" in body)
    assert kinds == {"payment_intent", "refund", "customer", "error"}
    seen.clear()
    _more(stripe.fake)
    kinds = set()
    for _status, body in seen:
        for item in body["data"] if body.get("object") == "list" else [body]:
            kinds.add(item.get("object", "error"))
            check(registry, item.get("object", "error"), item)
    assert kinds >= {"checkout.session", "transfer", "dispute", "file"}


# --- tables -----------------------------------------------------------------------------------


def _codes() -> Iterator[str]:
    """Every code the library knows for the last error of a payment."""
    import stripe

    pending = [stripe.PaymentIntent.LastPaymentError.__annotations__["code"]]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            yield part
        elif not isinstance(part, type):
            pending.extend(get_args(part))


def test_every_decline_has_a_code_of_ours() -> None:
    assert set(DECLINES.values()) <= DECLINE_CODES - {"unknown_reason"}
    for code in ("fraudulent", "lost_card", "stolen_card", "do_not_honor", "insufficient_funds",
                 "incorrect_pin", "pickup_card", "merchant_blacklist"):  # fmt: skip
        assert DECLINES[code] not in FAIL_OVER_CODES, code


def test_every_code_of_the_library_that_declines_is_mapped() -> None:
    known_codes = set(_codes())
    assert len(known_codes) > 200
    telling = ("declin", "card_velocity", "_cvc", "_pin", "expired_card", "_expiry", "funds",
               "customer_timeout", "authentication_fail", "payment_attempt")  # fmt: skip
    #: about bank accounts, sources, set-up intents and payouts, which this adapter never uses
    elsewhere = {"bank_account_declined", "setup_intent_authentication_failure",
                 "setup_attempt_failed", "setup_intent_setup_attempt_expired"}  # fmt: skip
    wanted = {code for code in known_codes if any(part in code for part in telling)} - elsewhere
    assert wanted <= set(DECLINES), wanted - set(DECLINES)
    assert STATE_ERRORS & known_codes
    assert not STATE_ERRORS & set(DECLINES)


# --- amounts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "ours", "theirs"),
    [
        ("EUR", 2500, 2500), ("XOF", 15_000, 15_000), ("XAF", 1, 1), ("GNF", 9, 9), ("JPY", 50, 50),
        ("TND", 12_340, 12_340), ("TND", 12_345, None), ("UGX", 5_000, 500_000),
        ("MGA", 500, 5), ("MGA", 550, None), ("HUF", 17_501, 17_501), ("RWF", 7, 7),
        ("BIF", 7, 7), ("DJF", 7, 7), ("KMF", 7, 7), ("MAD", 1050, 1050),
    ],
)  # fmt: skip
def test_amounts_at_stripe(currency: str, ours: int, theirs: int | None) -> None:
    assert to_stripe(ours, currency) == theirs
    if theirs is not None:
        assert from_stripe(theirs, currency) == ours


@given(st.sampled_from(sorted(CURRENCIES)), st.integers(1, 10**9))
def test_an_amount_comes_back_as_it_went_or_never_goes(currency: str, amount: int) -> None:
    there = to_stripe(amount, currency)
    assert there is None or from_stripe(there, currency) == amount
    whole = 10 ** EXPONENTS[currency]
    assert to_stripe(amount * whole, currency) is not None  # whole units always go


@given(st.sampled_from(sorted(limits().items())))
def test_limits_are_payable_amounts(item: tuple[str, tuple[int, int]]) -> None:
    currency, (smallest, largest) = item
    assert 0 < smallest < largest
    top = to_stripe(largest, currency)
    assert top is not None and 99_000_000 < top <= 99_999_999
