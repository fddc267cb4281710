"""``payctl cinetpay``: payments and the transfer account as CinetPay sees them. Only questions:
what is asked here changes neither the book nor anything at CinetPay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl import ids
from payctl.cli.framework import (
    Column,
    ExitCode,
    command,
    emit,
    emit_list,
    finish,
    noun,
    session,
)
from payctl.errors import Conflict, InvalidInput, NotConfigured, NotFound, NotSent
from payctl.gateways.base import Answer, Gateway, Outcome, Reference, RejectKind
from payctl.pan import mask_phone

if TYPE_CHECKING:
    from payctl.payments.records import Attempt

app = noun("cinetpay")
STATUS = (
    Column("our_reference", rank=0),
    Column("outcome", rank=0),
    Column("amount_minor", "money", rank=0),
    Column("provider_code", rank=1),
    Column("message", "long", rank=1),
    Column("payment_method", rank=1),
    Column("operator_id", rank=1),
    Column("payer", rank=1),
    Column("gateway", rank=2),
    Column("provider_reference", rank=2),
    Column("payment", rank=2),
    Column("attempt_state", rank=2),
)
BALANCE = (
    Column("gateway", rank=1),
    Column("currency", rank=0),
    Column("available_minor", "money", rank=0),
    Column("pending_minor", "money", rank=0),
)
Account = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="Which CinetPay account, if several."),
]


@command(
    app,
    "status",
    examples=[
        "payctl cinetpay status pay_01h455vb4pex5vsknk084sn02q",
        "payctl cinetpay status 4fd8a2c1... --account cinetpay-ci --json",
    ],
    exits={
        ExitCode.NOT_FOUND: "CinetPay knows no such payment (within half an hour: not yet)",
        ExitCode.NOT_SENT: "CinetPay cannot be reached",
        ExitCode.OPEN: "CinetPay's answer proves nothing",
    },
)
def status(
    payment: Annotated[
        str,
        typer.Argument(
            metavar="PAYMENT|REF", help="The payment (pay_...) or a reference CinetPay knows."
        ),
    ],
    account: Account = None,
) -> None:
    """Ask CinetPay about a payment and show what it says. Nothing in the book is changed."""
    attempt = _attempt(payment) if payment.startswith("pay_") else None
    gateway = _gateway(account or (attempt.gateway_account if attempt else None))
    if attempt is not None and attempt.gateway_account != gateway.account:
        raise Conflict("cinetpay.other_gateway", id=payment, gateway=attempt.gateway_account)
    reference = attempt.reference() if attempt else Reference(our_reference=payment)
    answer = _asked(gateway, reference, payment)
    emit(_shown(gateway.account, reference, answer, attempt), "payctl.cinetpay_status/1", STATUS)
    if answer.outcome in (Outcome.UNKNOWN, Outcome.REJECTED):
        finish(ExitCode.OPEN)


@command(
    app,
    "balance",
    examples=["payctl cinetpay balance", "payctl cinetpay balance --account cinetpay-ci --json"],
    exits={ExitCode.NOT_SENT: "CinetPay cannot be reached"},
)
def balance(account: Account = None) -> None:
    """What CinetPay holds for payouts; what customers have paid is not in it."""
    gateway = _gateway(account)
    lines = [
        {
            "gateway": gateway.account,
            "currency": line.currency,
            "available_minor": line.available_minor,
            "pending_minor": line.pending_minor,
        }
        for line in gateway.balance()
    ]
    emit_list(lines, "payctl.cinetpay_balance/1", BALANCE, id_key="currency")


def _asked(gateway: Gateway, reference: Reference, name: str) -> Answer:
    """The answer to a question about *reference*, when CinetPay has said anything about it.

    Raises:
        NotFound: ``gateway.no_such_object``. NotSent: ``gateway.unreachable``.
        NotConfigured: ``gateway.refused_credentials``.
    """
    answer = gateway.query_payment(reference)
    if answer.outcome is Outcome.NOT_FOUND:
        raise NotFound("gateway.no_such_object", account=gateway.account, id=name)
    if answer.outcome is Outcome.NOT_SENT:
        why = answer.message or "not sent"
        raise NotSent("gateway.unreachable", account=gateway.account, why=why)
    if answer.reject is RejectKind.AUTH:
        raise NotConfigured("gateway.refused_credentials", account=gateway.account)
    return answer


def _attempt(payment: str) -> Attempt:
    """The payment's newest attempt to collect.

    Raises:
        Conflict: ``cinetpay.never_tried``. NotFound: ``payment.not_found``.
    """
    found = session().app.queries.payment(ids.decode(payment, "payment"))
    tried = [each for each in found.attempts if each.operation == "collect"]
    if not tried:
        raise Conflict("cinetpay.never_tried", id=payment)
    return max(tried, key=lambda each: each.no)


def _gateway(account: str | None) -> Gateway:
    """The CinetPay account to ask.

    Raises:
        NotConfigured: ``cinetpay.not_configured``.
        InvalidInput: ``cinetpay.which_account``, ``choice.unknown``.
    """
    found = {
        name: gateway
        for name, gateway in session().app.gateways.items()
        if gateway.name == "cinetpay"
    }
    if not found:
        raise NotConfigured("cinetpay.not_configured")
    names = ", ".join(found)
    if account is None and len(found) > 1:
        raise InvalidInput("cinetpay.which_account", field="account", accounts=names)
    if account is not None and account not in found:
        raise InvalidInput("choice.unknown", field="account", value=account[:40], allowed=names)
    return found[account or next(iter(found))]


def _shown(
    account: str, reference: Reference, answer: Answer, attempt: Attempt | None
) -> dict[str, Any]:
    return {
        "gateway": account,
        "our_reference": answer.our_reference or reference.our_reference,
        "provider_reference": answer.provider_reference or reference.provider_reference,
        "outcome": str(answer.outcome),
        "amount_minor": answer.amount_minor,
        "currency": answer.currency,
        "provider_code": answer.provider_code,
        "message": answer.message,
        "payment_method": answer.provider_data.get("payment_method"),
        "operator_id": answer.provider_data.get("operator_id"),
        "payer": mask_phone(answer.payer.value) if answer.payer else None,
        "payment": ids.encode("payment", attempt.payment_id) if attempt else None,
        "attempt_state": str(attempt.state) if attempt else None,
    }
