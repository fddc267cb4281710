"""How payments look to people, and what is printed after an act on one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from payctl import ids
from payctl.cli.cells import lookup
from payctl.cli.entries import entries_json
from payctl.cli.framework import Column, Section, emit, note, session, undo, write_text
from payctl.cli.messages import say
from payctl.cli.standing import tell
from payctl.money import format_money
from payctl.payments.details import PaymentDetail
from payctl.payments.model import PaymentStatus
from payctl.payments.views import PAYMENT, payment_full_json, payment_json

if TYPE_CHECKING:
    from payctl.payments.results import PaymentResult, RefundResult
    from payctl.payments.service import Rehearsal
    from payctl.payments.sync import SyncReport

COLUMNS = (
    Column("id", "id", rank=0),
    Column("status", "state", rank=0),
    Column("amount_minor", "money", rank=0),
    Column("gateway", rank=1),
    Column("organiser", rank=2),
    Column("order", rank=2),
    Column("created_at", "time", rank=1),
    Column("refunded_minor", "money", rank=4),
    Column("failure_code", rank=3),
    Column("phone", rank=5),
)
VIEW = (
    Column("id", "id"),
    Column("status", "state"),
    Column("amount_minor", "money"),
    Column("captured_minor", "money"),
    Column("refunded_minor", "money"),
    Column("order"),
    Column("organiser"),
    Column("gateway"),
    Column("provider_reference"),
    Column("failure_code"),
    Column("next_action.type", label="next action"),
    Column("next_action.url", "long", label="url"),
    Column("next_check_at", "time"),
    Column("created_at", "time"),
)
ATTEMPTS = Section(
    "attempts",
    (
        Column("operation", rank=0),
        Column("gateway", rank=0),
        Column("status", "state", rank=0),
        Column("amount_minor", "money", rank=1),
        Column("code", rank=1),
        Column("created_at", "time", rank=2),
        Column("provider_reference", rank=3),
        Column("next_check_at", "time", rank=4),
        Column("id", "id", rank=5),
    ),
)
FULL = (
    Column("id", "id"),
    Column("status", "state"),
    Column("legacy_status"),
    Column("amount_minor", "money"),
    Column("authorized_minor", "money"),
    Column("captured_minor", "money"),
    Column("refund_reserved_minor", "money"),
    Column("refunded_minor", "money"),
    Column("order"),
    Column("event"),
    Column("organiser"),
    Column("user"),
    Column("email"),
    Column("phone"),
    Column("country"),
    Column("method"),
    Column("sale_type"),
    Column("capture"),
    Column("description", "long"),
    Column("metadata", "long"),
    Column("gateway"),
    Column("provider_reference"),
    Column("next_action", "long"),
    Column("failure_code"),
    Column("needs_review"),
    Column("late"),
    Column("created_at", "time"),
    Column("created_by"),
    Column("expires_at", "time"),
    Column("next_check_at", "time"),
    ATTEMPTS,
    Section(
        "lines",
        (
            Column("no", "number"),
            Column("description", rank=0),
            Column("quantity", "number", rank=0),
            Column("unit_price_minor", "money", rank=0),
            Column("vat_ppm", "rate", label="VAT", rank=0),
        ),
    ),
    Section(
        "captures",
        (
            Column("id", "id", rank=0),
            Column("status", "state", rank=0),
            Column("amount_minor", "money", rank=0),
            Column("created_at", "time", rank=1),
        ),
    ),
    Section(
        "refunds",
        (
            Column("id", "id", rank=0),
            Column("status", "state", rank=0),
            Column("amount_minor", "money", rank=0),
            Column("reason", rank=1),
        ),
    ),
)
STATISTICS = (
    Column("value", rank=0),
    Column("payments", "number", rank=0),
    Column("succeeded", "number", rank=4),
    Column("failed", "number", rank=2),
    Column("open", "number", rank=2),
    Column("success_ppm", "rate", label="success", rank=0),
    Column("captured_minor", "money", label="captured", rank=0),
    Column("refunded_minor", "money", label="refunded", rank=3),
    Column("gateway_p95_ms", "number", label="p95 ms", rank=1),
    Column("trend", "trend", rank=1),
    Column("commission_minor", "money", label="commission", rank=3),
    Column("gateway_p50_ms", "number", label="p50 ms", rank=3),
    Column("amount_minor", "money", label="asked for", rank=4),
)
_CANDIDATES = Section(
    "candidates",
    (
        Column("account", rank=0),
        Column("rank", "number", rank=0),
        Column("fee_minor", "money", label="fee", rank=0),
        Column("success_ppm", "rate", label="success", rank=2),
        Column("why", "long", label="why not", rank=1),
    ),
)
ENTRIES = Section(
    "entries",
    (
        Column("kind", rank=2),
        Column("side", rank=0),
        Column("account", rank=0),
        Column("amount_minor", "money", rank=0),
    ),
)


def emit_payment(found: PaymentDetail, *, full: bool = False, reveal: bool = False) -> None:
    """A payment; *full* with its lines, refunds and route."""
    shown = payment_full_json(found, reveal=reveal) if full else payment_json(found)
    emit(shown, PAYMENT, filled(FULL if full else VIEW, shown))


_NEVER_TOOK = (PaymentStatus.FAILED, PaymentStatus.EXPIRED)


def emit_result(result: PaymentResult) -> None:
    """A payment after an act, with what happened to the money and how to take it back."""
    found = PaymentDetail(result.payment, result.attempts, result.captures)
    shown = payment_json(found, next_action=result.next_action, replayed=result.replayed)
    emit(shown, PAYMENT, filled(VIEW, shown))
    run = session()
    if run.is_json or run.quiet:
        return
    from payctl.insight.whereabouts import Verdict

    if result.replayed:
        note(say("replayed", run.lang))
    story = run.app.lookup.situation(result.payment.id)
    if result.payment.status is PaymentStatus.SUCCEEDED and result.journals and story.next:
        tell(story, steps=story.next[:-1])
        undo(story.next[-1])
    else:
        tell(story)
    if result.payment.status in _NEVER_TOOK and story.whereabouts.verdict is Verdict.NOWHERE:
        note(say("pay_again", run.lang))


def filled(view: Sequence[Column | Section], shown: Mapping[str, Any]) -> list[Column | Section]:
    """The lines of *view* that have something to say; programs get all of them."""
    if session().output != "table":
        return list(view)
    return [part for part in view if lookup(shown, part.key) not in (None, "", [], {})]


def emit_rehearsal(done: Rehearsal) -> None:
    """What a payment would do: route, request to the provider, balanced entries."""
    currency = done.result.payment.currency
    ranked = [_candidate(each, currency) for each in done.route.get("candidates", ())]
    chosen = next((each for each in ranked if each["account"] == done.route["chosen"]), None)
    fee = chosen["fee_minor"] if chosen else None
    if fee is not None and session().output == "table":
        note(say("estimate", session().lang, amount=format_money(fee, currency)))
    request = dict(done.request) if done.request else None
    _emit_rehearsed(done.result, done.route.get("chosen"), ranked, request, fee)


def emit_step_rehearsal(result: PaymentResult) -> None:
    """What a capture, confirmation or cancellation would do: balanced entries."""
    _emit_rehearsed(result, result.payment.gateway_account, [], None, None)


def _emit_rehearsed(
    result: PaymentResult,
    gateway: str | None,
    candidates: list[dict[str, Any]],
    request: dict[str, Any] | None,
    fee_minor: int | None,
) -> None:
    found = PaymentDetail(result.payment, result.attempts, result.captures)
    shown = {
        "payment": payment_json(found, replayed=result.replayed),
        "currency": result.payment.currency,
        "gateway": gateway,
        "candidates": candidates,
        "request": request,
        "estimated_fee_minor": fee_minor,
        "entries": entries_json(result.journals),
    }
    view = (
        Column("payment.status", "state", label="status"),
        Column("payment.amount_minor", "money", label="amount"),
        Column("gateway"),
        Column("estimated_fee_minor", "money", label="fee (estimate)"),
        Column("request", "long"),
        *_sections(_CANDIDATES, ENTRIES),
    )
    emit(shown, "payctl.rehearsal/1", filled(view, shown), id_key="gateway")


def emit_refund_rehearsal(result: RefundResult, shown: Mapping[str, Any]) -> None:
    """What a refund would do; *shown* is the refund as JSON."""
    whole = {
        "refund": dict(shown),
        "currency": result.refund.currency,
        "approval_reason": result.approval_reason,
        "entries": entries_json(result.journals),
    }
    view = (
        Column("refund.status", "state", label="status"),
        Column("refund.amount_minor", "money", currency="currency", label="amount"),
        Column("refund.gateway", label="gateway"),
        Column("approval_reason"),
    )
    emit(whole, "payctl.refund_rehearsal/1", (*view, *_sections(ENTRIES)), id_key="refund.payment")


def emit_sync(report: SyncReport, planned: Iterable[UUID] = ()) -> None:
    """Counts of a run; *planned* are the payments a dry run would have asked about."""
    shown = {
        "counts": dict(report.counts),
        "changed": [ids.encode("payment", each) for each in dict.fromkeys(report.changed)],
        "planned": [ids.encode("payment", each) for each in planned],
    }
    if session().quiet:
        for name in shown["changed"]:
            write_text(name)
        return
    view = (Column("counts"), Column("changed", "long"), Column("planned", "long"))
    emit(shown, "payctl.sync/1", view, id_key="changed")


def _sections(*sections: Section) -> tuple[Column | Section, ...]:
    """Lists inside an object: tables to people, one cell each in plain and csv."""
    if session().output in ("plain", "csv"):
        return tuple(Column(section.key) for section in sections)
    return sections


def _candidate(ranked: Mapping[str, Any], currency: str) -> dict[str, Any]:
    dropped = [dict(reason) for reason in ranked.get("dropped", ())]
    return {
        "account": ranked["account"],
        "gateway": ranked["gateway"],
        "rank": ranked["rank"] or None,
        "fee_minor": ranked.get("fee_minor"),
        "currency": currency,
        "success_ppm": ranked.get("success_ppm"),
        "dropped": dropped,
        "why": ", ".join(reason["code"] for reason in dropped) or None,
    }
