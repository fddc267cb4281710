"""``payctl stripe``: intents and customers as Stripe sees them.

An intent is a payment: creating, confirming and cancelling one goes the way every payment goes,
with its key, its attempt and its entries. There is no side door to the provider.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import UUID

import typer

from payctl import ids
from payctl.cli import payment_options as o
from payctl.cli.framework import (
    AmountMinorOption,
    AmountOption,
    Column,
    CurrencyOption,
    ExitCode,
    KeyOption,
    LimitOption,
    ReasonOption,
    command,
    confirm,
    emit,
    emit_list,
    finish,
    group,
    noun,
    required_amount,
    session,
)
from payctl.cli.payment_input import metadata_of, payment_input
from payctl.cli.payment_views import emit_payment, emit_rehearsal, emit_result, emit_step_rehearsal
from payctl.cli.standing import exit_of, exit_of_step, new_key, tell
from payctl.errors import Conflict, InvalidInput, NotConfigured
from payctl.payments.details import PaymentDetail
from payctl.payments.model import Operation

if TYPE_CHECKING:
    from payctl.gateways.stripe import StripeGateway
    from payctl.gateways.stripe_customers import Customer

app = noun("stripe")
intents = group(app, "intents", "payments as Stripe's payment intents")
customers = group(app, "customers", "Stripe's customers; they move no money")
CUSTOMERS = (
    Column("id", rank=0),
    Column("email", rank=0),
    Column("name", rank=1),
    Column("created_at", "time", rank=1),
    Column("metadata", rank=3),
)
BALANCE = (
    Column("gateway", rank=1),
    Column("currency", rank=0),
    Column("available_minor", "money", rank=0),
    Column("pending_minor", "money", rank=0),
)
Account = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="Which Stripe account, if several.")
]
Intent = Annotated[
    str, typer.Argument(metavar="INTENT", help="The intent (pi_...) or the payment (pay_...).")
]
_OPEN = {ExitCode.OPEN: "sent, not known yet, or the customer must act"}


@command(
    intents,
    "create",
    changes=True,
    examples=[
        "payctl stripe intents create --amount 25.00 --currency EUR --organiser org-1"
        " --order o-1 --key o-1",
        "payctl stripe intents create --amount 25.00 --currency EUR --organiser org-1"
        " --payment-token pm_card_visa --dry-run",
    ],
    exits={**_OPEN, ExitCode.DECLINED: "declined for good; no money moved"},
)
def create(
    currency: CurrencyOption,
    organiser: o.Organiser,
    amount: AmountOption = None,
    amount_minor: AmountMinorOption = None,
    order: o.Order = None,
    event: o.Event = None,
    email: o.Email = None,
    country: o.Country = None,
    description: o.Description = "",
    sale_type: o.SaleType = "ticket_sale",
    capture: o.CaptureMode = "automatic",
    payment_token: o.PaymentToken = None,
    metadata: o.Metadata = None,
    return_url: o.ReturnUrl = None,
    account: Account = None,
    key: KeyOption = None,
) -> None:
    """Take a payment by card, Stripe first.

    Without --payment-token the answer carries the client secret for the customer's page, once.
    """
    run = session()
    gateway = _gateway(account)
    minor = required_amount(amount, amount_minor, currency)
    wanted = payment_input(
        key=key or "none", amount_minor=minor, currency=currency, method="card",
        organiser=organiser, order=order, event=event, email=email, country=country,
        description=description, preferred=gateway.account, sale_type=sale_type, capture=capture,
        payment_token=payment_token, lines=(), metadata=metadata or (), return_url=return_url,
        expires_in=None,
    ).validated()  # fmt: skip
    confirm([f"take a payment at {gateway.account} for {organiser}"], minor, currency)
    if run.dry_run:
        emit_rehearsal(run.app.payments.rehearse(run.actor, wanted))
        return
    result = run.app.payments.process(run.actor, replace(wanted, key=key or new_key()))
    emit_result(result)
    finish(exit_of(result.payment, result.attempts))


@command(
    intents,
    "show",
    examples=["payctl stripe intents show pi_...", "payctl stripe intents show pay_... --json"],
    exits={ExitCode.NOT_FOUND: "no payment of this book has that intent"},
)
def show(intent: Intent, account: Account = None) -> None:
    """Show the payment of an intent, and where its money is."""
    found = _found(intent, account)
    emit_payment(found, full=True)
    tell(session().app.lookup.situation(found.payment.id))


@command(
    intents,
    "confirm",
    changes=True,
    examples=[
        "payctl stripe intents confirm pi_... --payment-token pm_card_visa --key o-1-confirm",
        "payctl stripe intents confirm pay_... --payment-token pm_card_visa --dry-run",
    ],
    exits={**_OPEN, ExitCode.CONFLICT: "it does not wait for a means of payment"},
)
def confirm_intent(
    intent: Intent,
    payment_token: Annotated[
        str, typer.Option("--payment-token", metavar="pm_...", help="The means of payment.")
    ],
    account: Account = None,
    key: KeyOption = None,
) -> None:
    """Give an intent the means of payment it was made without."""
    run = session()
    payment = _found(intent, account).payment
    confirm([f"confirm {ids.encode('payment', payment.id)}"], payment.amount_minor,
            payment.currency)  # fmt: skip
    if not run.dry_run and key is None:
        key = new_key()
    result = run.app.captures.confirm(
        run.actor, payment.id, payment_token=payment_token, key=key or "none",
        dry_run=run.dry_run,
    )  # fmt: skip
    if run.dry_run:
        emit_step_rehearsal(result)
        return
    if not result.journals and not result.replayed:
        # A confirmation that did not take the money proves little; what the intent is now does.
        run.app.sync.payment(run.actor, payment.id)
        now = run.app.queries.payment(payment.id)
        result = replace(result, payment=now.payment, attempts=now.attempts)
    emit_result(result)
    finish(exit_of(result.payment, result.attempts))


@command(
    intents,
    "cancel",
    changes=True,
    examples=[
        'payctl stripe intents cancel pi_... --reason "order withdrawn"',
        "payctl stripe intents cancel pay_... --reason test --dry-run",
    ],
    exits={**_OPEN, ExitCode.CONFLICT: "it has ended already"},
)
def cancel(intent: Intent, reason: ReasonOption, account: Account = None) -> None:
    """End an intent without money; a captured one is refunded instead."""
    run = session()
    payment = _found(intent, account).payment
    confirm([f"cancel {ids.encode('payment', payment.id)}"], payment.amount_minor,
            payment.currency)  # fmt: skip
    result = run.app.captures.cancel(run.actor, payment.id, reason=reason, dry_run=run.dry_run)
    if run.dry_run:
        emit_step_rehearsal(result)
        return
    emit_result(result)
    finish(exit_of_step(result.attempts, Operation.VOID))


# -- customers ------------------------------------------------------------------------------


@command(
    customers,
    "create",
    changes=True,
    examples=[
        "payctl stripe customers create --email client@example.com --name 'Awa K.'",
        "payctl stripe customers create --email client@example.com --dry-run",
    ],
    exits={ExitCode.OPEN: "no answer: repeat with the same key"},
)
def create_customer(
    email: Annotated[str, typer.Option("--email", metavar="ADDRESS", help="Mail address.")],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Full name.")] = None,
    metadata: o.Metadata = None,
    account: Account = None,
    key: KeyOption = None,
) -> None:
    """Create a customer at Stripe. No money is involved."""
    run = session()
    gateway = _gateway(account)
    pairs = metadata_of(metadata or ())
    confirm([f"create customer at {gateway.account}"])
    if run.dry_run:
        return
    made = gateway.customers.create(
        email=email, idempotency_key=key or new_key(), name=name, metadata=pairs
    )
    emit(_customer(made), "payctl.stripe_customer/1", CUSTOMERS)


@command(
    customers,
    "show",
    examples=[
        "payctl stripe customers show cus_...",
        "payctl stripe customers show cus_... --json",
    ],
    exits={ExitCode.NOT_FOUND: "Stripe knows no such customer"},
)
def show_customer(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="The customer (cus_...).")],
    account: Account = None,
) -> None:
    """Show a customer as Stripe has it."""
    emit(_customer(_gateway(account).customers.get(customer)), "payctl.stripe_customer/1",
         CUSTOMERS)  # fmt: skip


@command(
    customers,
    "list",
    examples=[
        "payctl stripe customers list",
        "payctl stripe customers list --email client@example.com --json",
    ],
)
def list_customers(
    email: Annotated[
        str | None, typer.Option("--email", metavar="ADDRESS", help="Only with this address.")
    ] = None,
    limit: LimitOption = 20,
    account: Account = None,
) -> None:
    """List the newest customers of the account, at most 100."""
    found = _gateway(account).customers.list(limit=limit, email=email)
    emit_list(map(_customer, found), "payctl.stripe_customers/1", CUSTOMERS)


@command(
    app,
    "balance",
    examples=["payctl stripe balance", "payctl stripe balance --account stripe --json"],
    exits={ExitCode.NOT_SENT: "Stripe cannot be reached"},
)
def balance(account: Account = None) -> None:
    """What Stripe says it holds for us."""
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
    emit_list(lines, "payctl.stripe_balance/1", BALANCE, id_key="currency")


# -- finding --------------------------------------------------------------------------------


def _gateway(account: str | None) -> StripeGateway:
    """The Stripe account to use.

    Raises:
        NotConfigured: ``stripe.not_configured``.
        InvalidInput: ``stripe.which_account``, ``choice.unknown``.
    """
    found = {
        name: gateway
        for name, gateway in session().app.gateways.items()
        if gateway.name == "stripe"
    }
    if not found:
        raise NotConfigured("stripe.not_configured")
    names = ", ".join(found)
    if account is None and len(found) > 1:
        raise InvalidInput("stripe.which_account", field="account", accounts=names)
    if account is not None and account not in found:
        raise InvalidInput("choice.unknown", field="account", value=account[:40], allowed=names)
    return cast("StripeGateway", found[account or next(iter(found))])


def _found(intent: str, account: str | None) -> PaymentDetail:
    """The payment of an intent.

    Raises:
        NotFound: ``payment.not_found``. Conflict: ``stripe.other_gateway``.
    """
    run = session()
    gateway = _gateway(account)
    found = run.app.queries.payment(_payment_id(intent, gateway.account))
    if found.payment.gateway_account != gateway.account:
        raise Conflict(
            "stripe.other_gateway",
            id=ids.encode("payment", found.payment.id),
            gateway=str(found.payment.gateway_account),
        )
    return found


def _payment_id(intent: str, account: str) -> UUID:
    if intent.startswith("pay_"):
        return ids.decode(intent, "payment")
    return session().app.queries.payment_of(account, intent)


def _customer(found: Customer) -> dict[str, Any]:
    return {
        "id": found.id,
        "email": found.email,
        "name": found.name,
        "created_at": found.created_at,
        "metadata": dict(found.metadata),
    }
