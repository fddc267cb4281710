"""The terms of one sandbox account, read from its settings: what it can do, how it behaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from payctl.errors import NotConfigured
from payctl.gateways.base import Capabilities
from payctl.gateways.sandbox_provider import Rules
from payctl.gateways.sandbox_script import (
    Dice,
    Outage,
    ScriptLine,
    read_outages,
    read_script,
)
from payctl.gateways.settings import Settings

_METHODS = ("card", "mobile_money", "wallet", "paypal", "bank_transfer")


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything a sandbox account is told at its start. ``secrets`` sign its webhooks."""

    rules: Rules
    capabilities: Capabilities
    name: str = "sandbox"
    latency_ms: int = 0
    dice: Dice = field(default_factory=Dice)
    script: tuple[ScriptLine, ...] = ()
    outages: tuple[Outage, ...] = ()
    secrets: Callable[[], tuple[str, ...]] = lambda: ("sandbox",)
    event_proof: str = "signature"


def read_terms(settings: Settings) -> Terms:
    """Read the section of a sandbox account.

    Settings beside those of random mode: ``book`` (path of its file), ``name``, ``currencies``,
    ``countries``, ``methods``, ``networks``, ``limits`` {CUR=[min,max]}, ``steps`` {CUR=minor},
    ``resend_window_s`` (0: a key must not
    be sent twice), ``query_by``, ``late_horizon_s``, ``completes`` (``at_once``, ``redirect``,
    ``push``), ``completes_after_s``, ``create_moves_money``, ``revocable``, ``manual_capture``,
    ``refunds``, ``payouts`` (kinds of destinations), ``float`` {CUR=minor}, ``payout_limits``
    {CUR=[min,max]}, ``payout_steps`` {CUR=minor}, ``payout_fee_ppm``, ``payout_fee_fixed``
    {CUR=minor}, ``reports_payer``, ``gives_tokens`` (a question must bring one along),
    ``event_proof`` (``signature``, ``token``, ``none``), ``query_refunds``, ``reports_balance``,
    ``lists_payments``, ``reference_format``,
    ``status_reports_amount``, ``unique_reference``, ``fee_ppm``, ``fee_fixed`` {CUR=minor},
    ``fee_after_s``, ``authorization_s``, ``latency_ms``, ``script``, ``outages``,
    ``webhook_secrets``.

    Raises:
        NotConfigured: a key that is unknown or has a value of the wrong kind.
    """
    completes = settings.one_of("completes", "at_once", ("at_once", "redirect", "push"))
    secrets = settings.secret_list("webhook_secrets")
    terms = Terms(
        rules=_rules(settings, completes),
        capabilities=_capabilities(settings, completes),
        name=settings.text("name", "sandbox"),
        latency_ms=settings.whole("latency_ms", 0),
        dice=Dice.from_settings(settings),
        script=_script(settings),
        outages=read_outages(settings.account, settings.words("outages") or ()),
        secrets=lambda: secrets() or (f"sandbox {settings.account}",),
        event_proof=settings.one_of("event_proof", "signature", ("signature", "token", "none")),
    )
    settings.done()
    return terms


def _rules(settings: Settings, completes: str) -> Rules:
    return Rules(
        account=settings.account,
        completes=completes,
        completes_after_s=settings.whole_or_none("completes_after_s"),
        unique_reference=settings.flag("unique_reference", True),
        fee_ppm=settings.whole("fee_ppm", 0),
        fee_fixed=settings.amounts("fee_fixed"),
        fee_after_s=settings.whole("fee_after_s", 0),
        authorization_s=settings.whole("authorization_s", 7 * 86_400),
        refunds=settings.one_of("refunds", "partial", ("none", "full", "partial")),
        revocable=settings.flag("revocable", True),
        status_reports_amount=settings.flag("status_reports_amount", True),
        gives_tokens=settings.flag("gives_tokens", False),
        float_minor=settings.amounts("float"),
        payout_fee_ppm=settings.whole("payout_fee_ppm", 0),
        payout_fee_fixed=settings.amounts("payout_fee_fixed"),
    )


def _capabilities(settings: Settings, completes: str) -> Capabilities:
    methods, currencies = settings.words("methods"), settings.words("currencies")
    countries, query_by = settings.words("countries"), settings.words("query_by")
    return Capabilities(
        methods=frozenset(methods or _METHODS),
        currencies=frozenset(currencies) if currencies else None,
        countries=frozenset(countries) if countries else None,
        resend_window_s=settings.whole("resend_window_s", 86_400) or None,
        query_by=frozenset(
            ("our_reference", "provider_reference") if query_by is None else query_by
        ),
        late_horizon_s=settings.whole("late_horizon_s", 1800),
        # A page the customer has not seen cannot take money; a push or a charge can.
        create_moves_money=settings.flag("create_moves_money", completes != "redirect"),
        revocable=settings.flag("revocable", True),
        manual_capture=settings.flag("manual_capture", completes == "at_once"),
        refunds=settings.one_of("refunds", "partial", ("none", "full", "partial")),
        query_refunds=settings.flag("query_refunds", True),
        payouts=frozenset(settings.words("payouts") or ()),
        payout_limits=settings.ranges("payout_limits"),
        payout_steps=settings.amounts("payout_steps"),
        reports_payer=settings.flag("reports_payer", False),
        balance=settings.flag("reports_balance", True),
        lists_payments=settings.flag("lists_payments", True),
        reference_format=settings.one_of(
            "reference_format", "typeid", ("typeid", "uuid4", "plain30")
        ),
        status_reports_amount=settings.flag("status_reports_amount", True),
        limits=settings.ranges("limits"),
        steps=settings.amounts("steps"),
        networks=frozenset(settings.words("networks") or ()),
    )


def _script(settings: Settings) -> tuple[ScriptLine, ...]:
    lines = settings.words_or_text("script")
    if isinstance(lines, str):
        try:
            lines = tuple(Path(lines).expanduser().read_text("utf-8").splitlines())
        except OSError as cannot:
            raise NotConfigured(
                "gateway.script_unreadable",
                field="script",
                account=settings.account,
                path=lines,
                why=cannot.strerror or "unreadable",
            ) from cannot
    return read_script(settings.account, lines or ())
