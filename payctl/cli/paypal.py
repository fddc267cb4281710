"""``payctl paypal``: orders as PayPal sees them.

An order is a payment: making one and taking its money go the way every payment goes, with its key,
its attempt and its entries. There is no side door to the provider.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from payctl import ids
from payctl.cli import payment_options as o
from payctl.cli.framework import (
    AmountMinorOption,
    AmountOption,
    CurrencyOption,
    ExitCode,
    KeyOption,
    command,
    confirm,
    finish,
    group,
    noun,
    required_amount,
    session,
)
from payctl.cli.payment_input import payment_input
from payctl.cli.payment_views import emit_payment, emit_rehearsal, emit_result
from payctl.cli.provider import Account, add_balance, add_status, one_of
from payctl.cli.standing import exit_of, new_key, tell
from payctl.errors import Conflict

if TYPE_CHECKING:
    from payctl.payments.details import PaymentDetail

FAMILY = "paypal"
app = noun(FAMILY)
orders = group(app, "orders", "payments as PayPal's orders")
Order = Annotated[
    str, typer.Argument(metavar="ORDER", help="PayPal's order or the payment (pay_...).")
]
_OPEN = {ExitCode.OPEN: "the customer must approve it, or it is not known yet"}


@command(
    orders,
    "create",
    changes=True,
    examples=[
        "payctl paypal orders create --amount 25.00 --currency EUR --organiser org-1"
        " --order o-1 --return-url https://shop.example/back --key o-1",
        "payctl paypal orders create --amount 25.00 --currency EUR --organiser org-1"
        " --return-url https://shop.example/back --dry-run",
    ],
    exits={**_OPEN, ExitCode.DECLINED: "refused for good; no money moved"},
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
    metadata: o.Metadata = None,
    return_url: o.ReturnUrl = None,
    cancel_url: o.CancelUrl = None,
    account: Account = None,
    key: KeyOption = None,
) -> None:
    """Make an order, PayPal first; the answer has the page where the customer approves it.

    No money moves before 'payctl paypal orders capture', the janitor or an event takes it.
    """
    run = session()
    gateway = one_of(FAMILY, account)
    minor = required_amount(amount, amount_minor, currency)
    wanted = payment_input(
        key=key or "none", amount_minor=minor, currency=currency, method="paypal",
        organiser=organiser, order=order, event=event, email=email, country=country,
        description=description, preferred=gateway.account, sale_type=sale_type, capture=capture,
        lines=(), metadata=metadata or (), return_url=return_url, cancel_url=cancel_url,
        expires_in=None,
    ).validated()  # fmt: skip
    confirm([f"make an order at {gateway.account} for {organiser}"], minor, currency)
    if run.dry_run:
        emit_rehearsal(run.app.payments.rehearse(run.actor, wanted))
        return
    result = run.app.payments.process(run.actor, replace(wanted, key=key or new_key()))
    emit_result(result)
    finish(exit_of(result.payment, result.attempts))


@command(
    orders,
    "show",
    examples=[
        "payctl paypal orders show 5O190127TN364715T",
        "payctl paypal orders show pay_... --json",
    ],
    exits={ExitCode.NOT_FOUND: "no payment of this book has that order"},
)
def show(order: Order, account: Account = None) -> None:
    """Show the payment of an order, and where its money is."""
    found = _found(order, account)
    emit_payment(found, full=True)
    tell(session().app.lookup.situation(found.payment.id))


@command(
    orders,
    "capture",
    changes=True,
    examples=[
        "payctl paypal orders capture 5O190127TN364715T",
        "payctl paypal orders capture pay_... --dry-run",
    ],
    exits={**_OPEN, ExitCode.DECLINED: "PayPal refused it for good; no money moved"},
)
def capture_order(order: Order, account: Account = None) -> None:
    """Take the money of an order that its customer has approved, or reserve it.

    PayPal is asked first: an order that is taken already is not taken again.
    """
    run = session()
    found = _found(order, account)
    payment = found.payment
    confirm([f"take {ids.encode('payment', payment.id)}"], payment.amount_minor, payment.currency)
    if not run.dry_run:
        run.app.sync.payment(run.actor, payment.id)
        found = run.app.queries.payment(payment.id)
    emit_payment(found)
    tell(run.app.lookup.situation(payment.id))
    if not run.dry_run:
        finish(exit_of(found.payment, found.attempts))


add_status(app, FAMILY, "5O190127TN364715T")
add_balance(app, FAMILY)


def _found(order: str, account: str | None) -> PaymentDetail:
    """The payment of an order.

    Raises:
        NotFound: ``payment.not_found``. Conflict: ``provider.other_gateway``.
    """
    run = session()
    gateway = one_of(FAMILY, account)
    ours = order.startswith("pay_")
    payment_id = (
        ids.decode(order, "payment") if ours else run.app.queries.payment_of(gateway.account, order)
    )
    found = run.app.queries.payment(payment_id)
    if found.payment.gateway_account != gateway.account:
        raise Conflict(
            "provider.other_gateway",
            id=ids.encode("payment", payment_id),
            gateway=str(found.payment.gateway_account),
            family=FAMILY,
        )
    return found
