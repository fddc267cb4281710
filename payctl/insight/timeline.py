"""A dossier as one time-line: what happened, in order. Pure.

Words in it are the stable words of states, kinds and codes, the same in every language.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from payctl.ids import encode
from payctl.ledger.model import Journal, PostedEntry
from payctl.payments.destinations import masked
from payctl.payments.details import PaymentDetail
from payctl.payments.records import Attempt, Refund

if TYPE_CHECKING:
    from payctl.insight.dossier import Call, Dossier, Told

#: Things of one instant are told in this order: a cause before its effect.
_ORDER = (
    "payment", "route", "refund", "dispute", "capture", "approval", "attempt", "call", "webhook",
    "journal", "case", "notification",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that happened.

    Attributes:
        kind: one of the words of ``_ORDER``.
        what: what happened to it: a state, an act, a type.
        id: public id of what it happened to.
        amount_minor: in minor units of ``currency``.
        took_ms: how long an exchange took.
        note: codes and reasons.
        entries: a journal's debits and credits.
        correlation_id: joins an exchange or a notification to the log of whoever made it.
    """

    at: datetime
    kind: str
    what: str
    id: str | None = None
    gateway: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    took_ms: int | None = None
    note: str = ""
    entries: tuple[PostedEntry, ...] = ()
    correlation_id: str | None = None


def timeline(dossier: Dossier) -> list[Item]:
    """Everything that happened, oldest first."""
    items = list(_payment(dossier.found)) if dossier.found is not None else []
    items += _calls(dossier)
    items += [
        Item(each.received_at, "webhook", each.type or "unreadable", encode("event", each.id),
             each.account, note=_joined(each.state, each.reason))
        for each in dossier.hooks
    ]  # fmt: skip
    items += [_journal(each) for each in dossier.journals]
    items += [
        Item(each.created_at, "notification", each.type, encode("notification", each.id),
             note=_joined(f"#{each.sequence}", _delivered(each)),
             correlation_id=each.correlation_id)
        for each in dossier.told
    ]  # fmt: skip
    items += _cases(dossier)
    items += _approvals(dossier)
    return sorted(items, key=lambda item: (item.at, _ORDER.index(item.kind)))


def _delivered(told: Told) -> str | None:
    """How far the core service has it; nothing where nothing is delivered."""
    if told.state is None or told.settled_at is None:
        return told.state
    return f"{told.state} {told.settled_at:%Y-%m-%d %H:%M:%S} UTC"


def _payment(found: PaymentDetail) -> Iterator[Item]:
    payment = found.payment
    about = _joined(
        payment.method, f"order {payment.order_ref}" if payment.order_ref else None,
        f"organiser {payment.organiser}", f"by {payment.created_by}",
    )  # fmt: skip
    name = encode("payment", payment.id)
    yield Item(payment.created_at, "payment", "created", name, None, payment.amount_minor,
               payment.currency, note=about)  # fmt: skip
    if payment.route is not None:
        yield from _route(payment.created_at, payment.route)
    for part in found.captures:
        yield Item(part.created_at, "capture", part.state, encode("capture", part.id), None,
                   part.amount_minor, payment.currency, note=f"by {part.created_by}")  # fmt: skip
    for refund in found.refunds:
        yield Item(refund.created_at, "refund", str(refund.state), encode("refund", refund.id),
                   refund.gateway_account, refund.amount_minor, refund.currency,
                   note=_joined(refund.reason, refund.failure_code, _by_payout(refund),
                                f"by {refund.requested_by}"))  # fmt: skip
    for dispute in found.disputes:
        yield Item(dispute.created_at, "dispute", str(dispute.status),
                   encode("dispute", dispute.id), dispute.gateway_account, dispute.amount_minor,
                   dispute.currency, note=_joined(dispute.reason, dispute.provider_reference,
                                                  dispute.response))  # fmt: skip
    for attempt in found.attempts:
        yield _attempt(attempt)


def _by_payout(refund: Refund) -> str | None:
    """That a refund goes back as a payout, and to whom, masked."""
    payee = refund.payee()
    return f"payout to {masked(payee)}" if payee is not None else None


def _route(at: datetime, route: Mapping[str, Any]) -> Iterator[Item]:
    """The decision, and each later one after a fail-over."""
    for decision in (route, *route.get("fail_over", ())):
        chosen = decision.get("chosen")
        dropped = [
            f"{each['account']}: {'+'.join(reason['code'] for reason in each['dropped'])}"
            for each in decision.get("candidates", ())
            if each.get("dropped")
        ]
        what = "decided" if decision is route else "failed_over"
        yield Item(at, "route", what if chosen else "no_route", None, chosen,
                   note=", ".join(dropped))  # fmt: skip


def _attempt(attempt: Attempt) -> Item:
    return Item(
        attempt.created_at,
        "attempt",
        f"{attempt.operation} {attempt.no}",
        encode("attempt", attempt.id),
        attempt.gateway_account,
        attempt.amount_minor,
        attempt.currency,
        note=_joined(
            str(attempt.state), attempt.code, attempt.provider_reference,
            f"next look {attempt.next_check_at:%Y-%m-%d %H:%M:%S} UTC"
            if attempt.next_check_at and attempt.state.live else None,
        ),
    )  # fmt: skip


def _calls(dossier: Dossier) -> list[Item]:
    accounts = {each.id: each for each in dossier.found.attempts} if dossier.found else {}

    def item(call: Call) -> Item:
        attempt = accounts[call.attempt_id]
        status = f"HTTP {call.http_status}" if call.http_status is not None else None
        return Item(call.at, "call", call.call, encode("attempt", call.attempt_id),
                    attempt.gateway_account, took_ms=call.latency_ms,
                    note=_joined(call.outcome, status, call.source),
                    correlation_id=call.correlation_id)  # fmt: skip

    return [item(call) for call in dossier.calls]


def _journal(journal: Journal) -> Item:
    return Item(journal.posted_at, "journal", journal.kind, encode("journal", journal.id),
                note=_joined(journal.reason, f"by {journal.actor}"),
                entries=journal.entries)  # fmt: skip


def _cases(dossier: Dossier) -> Iterator[Item]:
    for case, events in dossier.cases:
        name = encode("case", case.id)
        for event in events:
            yield Item(event.at, "case", event.action, name, case.gateway, case.amount_minor,
                       case.currency, note=_joined(case.kind, event.data.get("resolution"),
                                                   f"by {event.actor}"))  # fmt: skip


def _approvals(dossier: Dossier) -> Iterator[Item]:
    for asked in dossier.approvals:
        name = encode("approval", asked.id)
        asking = _joined(asked.kind, f"by {asked.requested_by}")
        yield Item(asked.requested_at, "approval", "requested", name, None, asked.amount_minor,
                   asked.currency, note=asking)  # fmt: skip
        if asked.decided_at is not None:
            by = f"by {asked.decided_by}" if asked.decided_by else None
            yield Item(asked.decided_at, "approval", asked.state, name, None, asked.amount_minor,
                       asked.currency, note=_joined(asked.decision_reason, by))  # fmt: skip


def _joined(*parts: Any) -> str:
    return ", ".join(str(part) for part in parts if part)
