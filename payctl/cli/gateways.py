"""``payctl gateways``: which there are, how they are, and which one takes a payment."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from payctl.cli import (
    gateway_breaker,
    gateway_explain,
    gateway_rules,
    gateway_signs,
    gateway_terms,
)
from payctl.cli.framework import (
    Column,
    ExitCode,
    ReasonOption,
    Section,
    UntilOption,
    command,
    confirm,
    emit,
    emit_list,
    session,
    undo,
)
from payctl.cli.gateway_app import Account, ForOption, app, end_of

if TYPE_CHECKING:
    from payctl.gateways.base import Gateway
    from payctl.payments.gateway_state import Setting

__all__ = [
    "app", "gateway_breaker", "gateway_explain", "gateway_rules", "gateway_signs", "gateway_terms",
]  # fmt: skip

COLUMNS = (
    Column("gateway", "id", rank=0),
    Column("type", rank=2),
    Column("mode", rank=1),
    Column("status", "state", rank=0),
    Column("breaker", "state", rank=0),
    Column("methods", rank=1),
    Column("currencies", rank=2),
    Column("countries", rank=3),
    Column("priority", "number", rank=4),
    Column("until", "time", rank=4),
    Column("reason", rank=5),
)
VIEW = (
    *COLUMNS,
    Column("set_by"),
    Column("quarantine_s", "number"),
    Column("resend_window_s", "number"),
    Column("query_by"),
    Column("create_moves_money"),
    Column("revocable"),
    Column("manual_capture"),
    Column("refunds"),
    Column("payouts"),
    Column("networks"),
    Column("reference_format"),
    Column("status_reports_amount"),
    Section("limits", gateway_terms.LIMITS[1:]),
    Section("fees", gateway_terms.FEES[1:]),
    Section("breakers", gateway_breaker.COLUMNS[1:]),
    Section(
        "history",
        (
            Column("at", "time"),
            Column("status", "state"),
            Column("until", "time"),
            Column("set_by"),
            Column("reason"),
        ),
    ),
)
SETTING = (
    Column("gateway"),
    Column("status", "state"),
    Column("until", "time"),
    Column("reason"),
    Column("set_by"),
)


@command(app, "list", examples=["payctl gateways list", "payctl gateways list --json"])
def list_gateways() -> None:
    """List the gateways: whether each takes payments, and of which kind."""
    rows = [_row(gateway) for gateway in session().app.gateways.values()]
    emit_list(
        rows, "payctl.gateways/1", COLUMNS, id_key="gateway", hint="payctl gateways show GATEWAY"
    )


@command(
    app,
    "show",
    examples=["payctl gateways show stripe", "payctl gateways show stripe --json"],
    exits={ExitCode.NOT_FOUND: "no such gateway"},
)
def show(gateway: Account) -> None:
    """Show a gateway: what it can do, its terms, its breakers and its quarantine.

    The quarantine is how long a payment whose outcome is unknown is asked about before "not found"
    is believed.
    """
    run = session()
    settings = run.app.gateway_settings
    found = settings.known(gateway)
    can = found.capabilities
    whole = {
        **_row(found),
        "quarantine_s": can.late_horizon_s,
        "resend_window_s": can.resend_window_s,
        "query_by": sorted(can.query_by),
        "create_moves_money": can.create_moves_money,
        "revocable": can.revocable,
        "manual_capture": can.manual_capture,
        "refunds": can.refunds,
        "payouts": sorted(can.payouts),
        "networks": sorted(can.networks),
        "reference_format": can.reference_format,
        "status_reports_amount": can.status_reports_amount,
        "limits": [*_declared(found), *map(gateway_terms.limit_row, settings.limits(gateway))],
        "fees": list(map(gateway_terms.fee_row, settings.fees(gateway))),
        "breakers": list(map(gateway_breaker.row, run.app.breaker_desk.show(gateway))),
        "history": [_past(each) for each in settings.history(gateway, 10)],
    }
    emit(whole, "payctl.gateway/1", VIEW, id_key="gateway")


@command(
    app,
    "enable",
    changes=True,
    examples=[
        "payctl gateways enable stripe --reason 'incident over'",
        "payctl gateways enable stripe --reason 'incident over' --dry-run",
    ],
)
def enable(gateway: Account, reason: ReasonOption) -> None:
    """Let a gateway take new payments again."""
    confirm([f"{gateway}: enabled"])
    _set(gateway, "enabled", reason, None)
    undo(f"payctl gateways drain {gateway} --reason TEXT")


@command(
    app,
    "disable",
    changes=True,
    examples=[
        "payctl gateways disable stripe --for 30m --reason 'incident at Stripe'",
        "payctl gateways disable momo --until 2026-12-01 --reason 'contract'",
    ],
)
def disable(
    gateway: Account, reason: ReasonOption, until: UntilOption = None, lasting: ForOption = None
) -> None:
    """Stop sending anything to a gateway but questions about what is open.

    Its refunds wait. Use drain to stop new payments only.
    """
    confirm([f"{gateway}: disabled"])
    _set(gateway, "disabled", reason, end_of(until, lasting))
    undo(f"payctl gateways enable {gateway} --reason TEXT")


@command(
    app,
    "drain",
    changes=True,
    examples=[
        "payctl gateways drain stripe --reason 'contract ends'",
        "payctl gateways drain stripe --for 2h --reason 'maintenance'",
    ],
)
def drain(
    gateway: Account, reason: ReasonOption, until: UntilOption = None, lasting: ForOption = None
) -> None:
    """Take no new payments on a gateway, but finish, capture and refund what it has."""
    confirm([f"{gateway}: draining"])
    _set(gateway, "draining", reason, end_of(until, lasting))
    undo(f"payctl gateways enable {gateway} --reason TEXT")


# -- shared ---------------------------------------------------------------------------------------


def _set(gateway: str, state: str, reason: str, until: datetime | None) -> None:
    run = session()
    done = run.app.gateway_settings.set_state(
        run.actor, gateway, state, reason=reason, until=until, dry_run=run.dry_run
    )
    emit({"gateway": gateway, **_setting(done)}, "payctl.gateway_setting/1", SETTING)


def _row(gateway: Gateway) -> dict[str, Any]:
    run = session()
    app_, can = run.app, gateway.capabilities
    setting = app_.gateway_settings.current(gateway.account)
    off = gateway.account in app_.router.switched_off
    return {
        "gateway": gateway.account,
        "type": gateway.name,
        "mode": "live" if gateway.live else "test",
        **_setting(setting),
        "status": "switched_off" if off else setting.state,
        "breaker": str(app_.breakers.peek(None, gateway.account, "collect").state),
        "methods": sorted(can.methods),
        "currencies": sorted(can.currencies) if can.currencies is not None else None,
        "countries": sorted(can.countries) if can.countries is not None else None,
        "priority": app_.router.priority(gateway.account),
    }


def _setting(setting: Setting) -> dict[str, Any]:
    return {
        "status": setting.state,
        "until": setting.until,
        "reason": setting.reason or None,
        "set_by": setting.actor or None,
    }


def _past(setting: Setting) -> dict[str, Any]:
    return {"at": setting.at, **_setting(setting)}


def _declared(gateway: Gateway) -> list[dict[str, Any]]:
    return [
        {
            "gateway": gateway.account,
            "currency": currency,
            "min_minor": low,
            "max_minor": high,
            "valid_from": None,
            "set_by": "provider",
        }
        for currency, (low, high) in sorted(gateway.capabilities.limits.items())
    ]
