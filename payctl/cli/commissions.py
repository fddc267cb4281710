"""``payctl commissions``: the platform's rates and what a sale would give."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl.cli.framework import (
    AmountMinorOption,
    AmountOption,
    AsOfOption,
    Column,
    CurrencyOption,
    ExitCode,
    ReasonOption,
    Section,
    amount_of,
    command,
    confirm,
    emit,
    emit_list,
    group,
    moment_of,
    noun,
    required_amount,
    session,
)
from payctl.errors import InvalidInput
from payctl.money import format_rate, parse_amount

if TYPE_CHECKING:
    from payctl.commissions.model import Rate, Scope, Split
    from payctl.commissions.service import RoleRow, Simulation

app = noun("commissions")
rates = group(app, "rates", "what the platform takes, by sale type, organiser, country, currency")
roles = group(app, "roles", "whether the platform sells as agent or in its own name")
COLUMNS = (
    Column("sale_type", rank=0),
    Column("organiser", rank=1),
    Column("country", rank=1),
    Column("currency", rank=0),
    Column("rate_ppm", "rate", label="rate", rank=0),
    Column("minimum_minor", "money", label="minimum", rank=2),
    Column("maximum_minor", "money", label="maximum", rank=2),
    Column("vat_country", rank=1),
    Column("vat_ppm", "rate", label="vat", rank=0),
    Column("valid_from", "time", rank=1),
    Column("status", "state", rank=3),
    Column("set_by", rank=3),
    Column("reason", rank=4),
)
ROLES = (
    Column("sale_type", rank=0),
    Column("role", rank=0),
    Column("valid_from", "time"),
    Column("set_by", rank=2),
    Column("reason", rank=3),
)
_PARTS = (
    Column("amount_minor", "money"),
    Column("commission_minor", "money"),
    Column("vat_minor", "money"),
    Column("owner_minor", "money"),
)
SIMULATION = (
    Column("sale_type"),
    Column("role"),
    Column("amount_minor", "money"),
    Column("net_minor", "money"),
    Column("commission_minor", "money"),
    Column("vat_minor", "money"),
    Column("vat_country"),
    Column("owner_minor", "money"),
    Column("rate_ppm", "rate", label="rate"),
    Column("vat_ppm", "rate", label="vat rate"),
    Column("rate_valid_from", "time"),
    Section("refund", _PARTS),
)
_PERCENT = re.compile(r"([0-9]{1,3})(?:[.,]([0-9]{1,4}))?")


def _percent(text: str) -> int:
    """A percentage as people write it, in parts per million: ``5``, ``19.25``, ``2,5``."""
    found = _PERCENT.fullmatch(text.strip().removesuffix("%").strip())
    if found is None:
        raise InvalidInput("commission.bad_rate", field="percent")
    return int(found[1] + (found[2] or "").ljust(4, "0"))


def _from(text: str) -> datetime:
    return moment_of(text, field="from")


TypeFilter = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="ticket_sale or template_sale.")
]
TypeOption = Annotated[
    str, typer.Option("--type", metavar="TYPE", help="ticket_sale or template_sale.")
]
OrganiserFilter = Annotated[
    str | None, typer.Option("--organiser", metavar="REF", help="Only this organiser's own rates.")
]
OrganiserOption = Annotated[
    str, typer.Option("--organiser", metavar="REF", help="Only for this organiser.")
]
CountryOption = Annotated[
    str, typer.Option("--country", metavar="CI", help="Only for sales in this country.")
]
AnyCurrencyOption = Annotated[
    str, typer.Option("--currency", metavar="EUR", help="Only for this currency.")
]
PercentOption = Annotated[
    int | None,
    typer.Option("--percent", metavar="5", parser=_percent, help="The rate, in per cent."),
]
VatOption = Annotated[
    int | None,
    typer.Option("--vat-percent", metavar="20", parser=_percent, help="VAT on the commission."),
]
FromOption = Annotated[
    datetime | None,
    typer.Option("--from", metavar="DATE", parser=_from, help="Valid from then; default now."),
]


@command(
    rates,
    "list",
    examples=["payctl commissions rates list", "payctl commissions rates list --as-of 2026-11-01"],
)
def list_rates(
    sale_type: TypeFilter = None, organiser: OrganiserFilter = None, as_of: AsOfOption = None
) -> None:
    """List the rates that count now, or did then; the most specific one is used."""
    found = session().app.commissions.rates(sale_type=sale_type, organiser=organiser, at=as_of)
    emit_list(
        map(_rate, found),
        "payctl.commission_rates/1",
        COLUMNS,
        id_key="sale_type",
        hint="payctl commissions simulate --amount 25.00 --currency EUR",
    )


@command(
    rates,
    "history",
    examples=[
        "payctl commissions rates history",
        "payctl commissions rates history --type ticket_sale --organiser org-1 --json",
    ],
)
def history(sale_type: TypeFilter = None, organiser: OrganiserFilter = None) -> None:
    """List every rate ever set, with who and why, the newest first."""
    found = session().app.commissions.history(sale_type=sale_type, organiser=organiser)
    emit_list(map(_rate, found), "payctl.commission_rates/1", COLUMNS, id_key="sale_type")


@command(
    rates,
    "set",
    changes=True,
    examples=[
        "payctl commissions rates set --type ticket_sale --currency EUR --percent 4.5"
        ' --vat-percent 20 --vat-country FR --from 2027-01-01 --reason "price list 2027"',
        "payctl commissions rates set --type ticket_sale --organiser org-1 --withdraw"
        ' --reason "special terms ended" --dry-run',
    ],
    exits={ExitCode.CONFLICT: "a rate is already set for that scope and moment"},
)
def set_rate(
    sale_type: TypeOption,
    reason: ReasonOption,
    percent: PercentOption = None,
    vat_percent: VatOption = None,
    vat_country: Annotated[
        str | None, typer.Option("--vat-country", metavar="FR", help="Where that VAT is owed.")
    ] = None,
    organiser: OrganiserOption = "",
    country: CountryOption = "",
    currency: AnyCurrencyOption = "",
    minimum: Annotated[
        str | None, typer.Option("--min", metavar="0.50", help="Smallest commission.")
    ] = None,
    maximum: Annotated[
        str | None, typer.Option("--max", metavar="20.00", help="Largest commission.")
    ] = None,
    valid_from: FromOption = None,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="End this scope; the next wider rate counts.")
    ] = False,
) -> None:
    """Set the rate of a scope from a moment on; earlier sales keep theirs."""
    from payctl.commissions.model import Scope

    run = session()
    if (percent is None) != withdraw:
        raise InvalidInput("commission.bad_rate", field="percent")
    scope = Scope(sale_type, organiser, currency, country)
    what = "withdraw the rate" if withdraw else f"commission {format_rate(percent or 0)}"
    confirm([f"{what} of {_scope_words(scope)}"])
    done = run.app.commissions.set_rate(
        run.actor,
        scope,
        rate_ppm=percent or 0,
        vat_ppm=vat_percent or 0,
        vat_country=vat_country,
        minimum_minor=_bound(minimum, currency, "min"),
        maximum_minor=_bound(maximum, currency, "max"),
        valid_from=valid_from,
        withdrawn=withdraw,
        reason=reason,
        dry_run=run.dry_run,
    )
    emit(_rate(done), "payctl.commission_rate/1", COLUMNS, id_key="sale_type")


@command(
    roles,
    "list",
    examples=["payctl commissions roles list", "payctl commissions roles list --json"],
)
def list_roles() -> None:
    """List in whose name each sale type is sold, with its history."""
    found = session().app.commissions.roles()
    emit_list(map(_role, found), "payctl.commission_roles/1", ROLES, id_key="sale_type")


@command(
    roles,
    "set",
    changes=True,
    examples=[
        'payctl commissions roles set template_sale principal --reason "art. 9a applies"',
        "payctl commissions roles set template_sale agent --reason test --dry-run",
    ],
)
def set_role(
    sale_type: Annotated[str, typer.Argument(metavar="TYPE", help="The sale type.")],
    role: Annotated[str, typer.Argument(metavar="ROLE", help="agent or principal.")],
    reason: ReasonOption,
) -> None:
    """Let the platform sell a type as agent or as principal from now on."""
    run = session()
    confirm([f"sell {sale_type} as {role}"])
    done = run.app.commissions.set_role(run.actor, sale_type, role, reason, dry_run=run.dry_run)
    emit(_role(done), "payctl.commission_role/1", ROLES, id_key="sale_type")


@command(
    app,
    "simulate",
    examples=[
        "payctl commissions simulate --amount 100.00 --currency EUR --refund 33.33",
        "payctl commissions simulate --amount 15000 --currency XOF --organiser org-1 --json",
    ],
    exits={ExitCode.CONFIG: "no rate is set for such a sale"},
)
def simulate(
    currency: CurrencyOption,
    amount: AmountOption = None,
    amount_minor: AmountMinorOption = None,
    sale_type: TypeOption = "ticket_sale",
    organiser: OrganiserOption = "",
    country: CountryOption = "",
    refund: Annotated[
        str | None,
        typer.Option("--refund", metavar="10.00", help="Also what refunding this would take back."),
    ] = None,
    as_of: AsOfOption = None,
) -> None:
    """Show who would get what of a sale; nothing is recorded."""
    from payctl.commissions.model import Scope

    value = required_amount(amount, amount_minor, currency)
    back = amount_of(refund, None, currency, required=False)
    found = session().app.commissions.simulate(
        Scope(sale_type, organiser, currency, country), value, refund_minor=back, at=as_of
    )
    emit(_simulation(found, value, currency), "payctl.commission_simulation/1", SIMULATION,
         id_key="sale_type")  # fmt: skip


def _bound(text: str | None, currency: str, field: str) -> int | None:
    if text is None:
        return None
    if not currency:
        raise InvalidInput("commission.bounds_need_currency", field="currency")
    return parse_amount(text, currency, field=field)


def _scope_words(scope: Scope) -> str:
    parts = (scope.sale_type, scope.organiser, scope.country, scope.currency)
    return ", ".join(part for part in parts if part)


def _rate(rate: Rate) -> dict[str, Any]:
    scope = rate.scope
    return {
        "sale_type": scope.sale_type,
        "organiser": scope.organiser or None,
        "country": scope.country or None,
        "currency": scope.currency or None,
        "rate_ppm": rate.rate_ppm,
        "minimum_minor": rate.minimum_minor,
        "maximum_minor": rate.maximum_minor,
        "vat_country": rate.vat_country,
        "vat_ppm": rate.vat_ppm,
        "valid_from": rate.valid_from,
        "status": "withdrawn" if rate.withdrawn else "set",
        "set_by": rate.set_by,
        "reason": rate.reason,
    }


def _role(row: RoleRow) -> dict[str, Any]:
    return {
        "sale_type": row.sale_type,
        "role": row.role,
        "valid_from": row.valid_from,
        "set_by": row.set_by,
        "reason": row.reason,
    }


def _simulation(found: Simulation, amount_minor: int, currency: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "sale_type": found.rate.scope.sale_type,
        "role": found.role,
        "amount_minor": amount_minor,
        "currency": currency,
        "rate_ppm": found.rate.rate_ppm,
        "vat_ppm": found.rate.vat_ppm,
        "vat_country": found.rate.vat_country,
        "rate_valid_from": found.rate.valid_from,
    }
    if found.own_sale is not None:
        shown |= {
            "net_minor": found.own_sale.net_minor,
            "vat_minor": found.own_sale.vat_minor,
            "owner_minor": found.own_sale.owner_minor,
        }
    if found.split is not None:
        shown |= _parts(found.split)
    if found.given_back is not None:
        back = found.given_back
        shown["refund"] = [
            {"amount_minor": back.amount_minor, "currency": currency, **_parts(back)}
        ]
    return shown


def _parts(split: Split) -> dict[str, int]:
    return {
        "commission_minor": split.commission_minor,
        "vat_minor": split.vat_minor,
        "owner_minor": split.owner_minor,
    }
