"""``payctl gateways explain``: where a payment would go now, and why not elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl.cli import gateway_words
from payctl.cli.framework import (
    AmountMinorOption,
    AmountOption,
    Column,
    CurrencyOption,
    command,
    emit,
    emit_list,
    required_amount,
    session,
    write_text,
)
from payctl.cli.gateway_app import app
from payctl.countries import COUNTRIES
from payctl.errors import InvalidInput
from payctl.pan import mask_phone

if TYPE_CHECKING:
    from payctl.payments.candidates import RouteRequest
    from payctl.payments.ranking import Decision

CANDIDATES = (
    Column("rank", "number", rank=0),
    Column("gateway", "id", rank=0),
    Column("fee_minor", "money", rank=1),
    Column("success_ppm", "rate", label="success", rank=2),
    Column("reasons", rank=0),
)


@command(
    app,
    "explain",
    examples=[
        "payctl gateways explain --amount 25.00 --currency EUR --method card --country FR",
        "payctl gateways explain --amount 15000 --currency XOF --country CI"
        " --method mobile_money --phone +2250701020304",
        "payctl gateways explain --amount 15000 --currency XOF --preferred orange-ci --json",
    ],
)
def explain(
    currency: CurrencyOption,
    amount: AmountOption = None,
    amount_minor: AmountMinorOption = None,
    country: Annotated[
        str | None, typer.Option("--country", metavar="FR", help="The customer's country.")
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", metavar="METHOD", help="card, mobile_money, ...")
    ] = None,
    organiser: Annotated[
        str | None, typer.Option("--organiser", metavar="REF", help="Who sells.")
    ] = None,
    phone: Annotated[
        str | None, typer.Option("--phone", metavar="+225...", help="The customer's number.")
    ] = None,
    preferred: Annotated[
        str | None, typer.Option("--preferred", metavar="A,B", help="Gateways to prefer.")
    ] = None,
    manual_capture: Annotated[
        bool, typer.Option("--manual-capture", help="Authorise now, capture later.")
    ] = False,
) -> None:
    """Explain where a payment would go now, and why not elsewhere.

    The first line is the choice and its reason; then each gateway, and what would change the
    choice. Nothing is sent and nothing is changed.
    """
    from payctl.payments.candidates import RouteRequest
    from payctl.payments.requests import METHODS

    run = session()
    _known_word("country", country, COUNTRIES)
    _known_word("method", method, METHODS)
    request = RouteRequest(
        amount_minor=required_amount(amount, amount_minor, currency),
        currency=currency,
        at=run.now(),
        country=country,
        method=method,
        organiser=organiser,
        phone=phone,
        preferred=tuple(name.strip() for name in (preferred or "").split(",") if name.strip()),
        needs=frozenset({"manual_capture"} if manual_capture else ()),
    )
    decision = run.app.router.explain(None, request, fresh=True)
    if run.output == "table" and not run.quiet and not run.fields:
        write_text("\n".join(gateway_words.answer(request, decision)))
        return
    found = _route(request, decision)
    if run.output in ("plain", "csv") and not run.quiet:
        emit_list(found["candidates"], "payctl.route/1", CANDIDATES, id_key="gateway")
        return
    emit(found, "payctl.route/1", id_key="gateway")


def _route(request: RouteRequest, decision: Decision) -> dict[str, Any]:
    from payctl.payments.decision_reasons import changes, decisive

    stored = decision.as_json()
    rows = []
    for ranked in decision.candidates:
        rows.append(
            {
                "gateway": ranked.account,
                "type": ranked.gateway,
                "rank": ranked.rank,
                "fee_minor": ranked.fee_minor,
                "currency": request.currency,
                "success_ppm": ranked.success_ppm,
                "samples": ranked.samples,
                "preferred": ranked.preferred is not None,
                "rule": ranked.rule,
                "lagging": ranked.lagging,
                "probe": ranked.probe,
                "priority": ranked.priority,
                "network_fit": ranked.network_fit or None,
                **_float(ranked.account, request.currency),
                "codes": [each.code for each in ranked.dropped],
                "reasons": [gateway_words.reason(ranked.account, each) for each in ranked.dropped]
                or list(gateway_words.merits(request, ranked)),
            }
        )
    return {
        "gateway": decision.chosen,
        "amount_minor": request.amount_minor,
        "currency": request.currency,
        "method": request.method,
        "country": request.country,
        "candidates": rows,
        "rules_version": stored["rules_version"],
        "rules": stored["rules"],
        "unknown_preferred": stored["unknown_preferred"],
        "phone": mask_phone(request.phone) if request.phone is not None else None,
        "network": decision.network,
        "why": decisive(decision),
        "explanation": gateway_words.headline(request, decision),
        "changes": [
            {"gateway": each.account, "code": each.code, "amounts_minor": list(each.amounts_minor)}
            for each in changes(decision)
        ],
    }


def _float(account: str, currency: str) -> dict[str, Any]:
    told = session().app.float_watch.last_told(account, currency)
    return {
        "float_minor": told.available_minor if told is not None else None,
        "float_read_at": told.read_at if told is not None else None,
    }


def _known_word(field: str, value: str | None, known: frozenset[str]) -> None:
    if value is None or value in known:
        return
    if field == "country":
        raise InvalidInput("country.unknown", field=field, country=value[:20])
    allowed = ", ".join(sorted(known))
    raise InvalidInput("choice.unknown", field=field, value=value[:40], allowed=allowed)
