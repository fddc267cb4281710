"""The options of a payment, shared by ``payments process`` and ``stripe intents create``."""

from __future__ import annotations

from typing import Annotated

import typer

PaymentId = Annotated[str, typer.Argument(metavar="PAYMENT", help="The payment (pay_...).")]
PaymentIdOrBatch = Annotated[
    str, typer.Argument(metavar="PAYMENT", help="The payment (pay_...), unless --batch.")
]
Batch = Annotated[
    str | None,
    typer.Option("--batch", metavar="FILE", help="JSON lines to answer; - is the standard input."),
]
Workers = Annotated[
    int, typer.Option("--workers", metavar="N", help="With --batch: requests at one time.")
]
Method = Annotated[
    str,
    typer.Option(
        "--method", metavar="METHOD", help="card, mobile_money, paypal, bank_transfer, wallet."
    ),
]
Organiser = Annotated[str, typer.Option("--organiser", metavar="REF", help="Whose sale it is.")]
OrganiserFilter = Annotated[
    str | None, typer.Option("--organiser", metavar="REF", help="Only this organiser's.")
]
Order = Annotated[str | None, typer.Option("--order", metavar="REF", help="The order paid for.")]
OrderFilter = Annotated[
    str | None, typer.Option("--order", metavar="REF", help="Only of this order.")
]
Event = Annotated[
    str | None, typer.Option("--event", metavar="REF", help="The event of the tickets.")
]
EventFilter = Annotated[
    str | None, typer.Option("--event", metavar="REF", help="Only of this event.")
]
User = Annotated[str | None, typer.Option("--user", metavar="REF", help="The customer's account.")]
Email = Annotated[
    str | None, typer.Option("--email", metavar="ADDRESS", help="The customer's mail address.")
]
Phone = Annotated[
    str | None,
    typer.Option("--phone", metavar="+225...", help="The customer's number, for mobile money."),
]
Country = Annotated[
    str | None, typer.Option("--country", metavar="CI", help="The customer's country, ISO 3166.")
]
Description = Annotated[
    str, typer.Option("--description", metavar="TEXT", help="What the customer reads.")
]
Preferred = Annotated[
    str | None,
    typer.Option("--preferred", metavar="A,B", help="Gateways to try first, in this order."),
]
SaleType = Annotated[
    str, typer.Option("--sale-type", metavar="TYPE", help="ticket_sale or template_sale.")
]
CaptureMode = Annotated[
    str, typer.Option("--capture", metavar="MODE", help="automatic, or manual: hold it only.")
]
PaymentToken = Annotated[
    str | None,
    typer.Option("--payment-token", metavar="pm_...", help="The provider's token, never a card."),
]
Lines = Annotated[
    list[str] | None,
    typer.Option(
        "--line", metavar="TEXT;QTY;UNIT;VAT", help="A line of the order; repeat it per line."
    ),
]
Metadata = Annotated[
    list[str] | None,
    typer.Option("--metadata", metavar="NAME=VALUE", help="Kept with it; repeat it per value."),
]
ReturnUrl = Annotated[
    str | None, typer.Option("--return-url", metavar="URL", help="Where the customer comes back.")
]
CancelUrl = Annotated[
    str | None, typer.Option("--cancel-url", metavar="URL", help="Where a cancelling one does.")
]
ExpiresIn = Annotated[
    str | None,
    typer.Option("--expires-in", metavar="30m", help="How long the order waits for the money."),
]
