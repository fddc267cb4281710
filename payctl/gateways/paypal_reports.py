"""PayPal's reports: what it holds for us, and every movement of a span.

Transaction Search is up to three hours late, looks back three years, and takes spans of 31 days at
most. It cannot be asked for a reference of ours, so rows are compared here. A payout's
``sender_item_id``, an order's and a refund's ``custom_id`` stand in ``custom_field``.

Source: Transaction Search v1, ``search.get`` and ``balances.get``; developer.paypal.com/docs/
transaction-search/transaction-event-codes for the T-codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from payctl.errors import NotConfigured, NotSent
from payctl.gateways.base import Answer, BalanceLine, Fee, Outcome, Reference, RejectKind
from payctl.gateways.http import Reply
from payctl.gateways.paypal_api import BROKEN, Api, dressed, failed, unreadable
from payctl.gateways.paypal_money import from_money
from payctl.gateways.rest import json_object
from payctl.money import EXPONENTS

_SPAN = timedelta(days=31)
_PAGE_SIZE = 500
#: PayPal shows at most 10 000 rows of a span (``RESULTSET_TOO_LARGE``).
_MAX_PAGES = 20
#: Our clock and theirs may differ; a movement is looked for from this much earlier.
_SLACK = timedelta(minutes=10)
#: How late the reports may be.
LATE = timedelta(hours=3)
_ALL_S = 120.0
#: Payments received begin with this (T0006 by checkout, T0000 sent by hand, ...).
_RECEIVED = "T00"
_KIND = "paypal_reference_id_type"
_TOO_LARGE = "RESULTSET_TOO_LARGE"
#: Less time than this is not worth another page, in seconds.
_LEAST_S = 0.1
#: ``transaction_status``. A reversed movement has happened; its reversal is a row of its own.
_STATES: Mapping[str, Outcome] = {
    "S": Outcome.SUCCEEDED,
    "V": Outcome.SUCCEEDED,
    "P": Outcome.PENDING,
    "D": Outcome.DECLINED,
}


@dataclass(frozen=True, slots=True)
class _Read:
    """The rows of a span, oldest first; until when the reports reach; how the reading broke off."""

    rows: list[tuple[Mapping[str, Any], Reply]]
    reached: datetime | None = None
    broken: Answer | None = None


class Reports:
    """Reports of one account."""

    def __init__(self, account: str, api: Api) -> None:
        self._account = account
        self._api = api

    def balance(self) -> list[BalanceLine]:
        """See :meth:`Gateway.balance`. What PayPal withholds counts as pending."""
        reply = self._api.get("/v1/reporting/balances?currency_code=ALL", 10.0)
        bad = failed(reply)
        if bad is not None and bad.reject is RejectKind.AUTH:
            raise NotConfigured("gateway.refused_credentials", account=self._account)
        if bad is not None:
            raise NotSent("gateway.unreachable", account=self._account, why=str(bad.outcome))
        try:
            return [_line(each) for each in json_object(reply)["balances"]
                    if each["currency"] in EXPONENTS]  # fmt: skip
        except BROKEN:
            raise NotSent("gateway.unreachable", account=self._account, why="unreadable") from None

    def payments(self, since: datetime, until: datetime) -> Iterator[Answer]:
        """See :meth:`Gateway.list_payments`. What is younger than the reports is missing, and the
        list then ends as one that was cut.
        """
        left = self._api.until(_ALL_S)
        seen: set[str] = set()
        reached: datetime | None = None
        for start, end in _spans(since, until):
            read = self._span(start, end, left)
            for row, reply in read.rows:
                fresh = row["transaction_id"] not in seen and _is_payment(row)
                seen.add(row["transaction_id"])
                if fresh:
                    # The page's record would be repeated five hundred times.
                    yield _payment(row, replace(reply, exchange={}))
            if read.broken is not None:
                yield replace(read.broken, provider_reference=None, our_reference=None)
                return
            reached = read.reached or reached
        asked = min(until, self._api.clock.now())
        if reached is not None and reached < asked - _SLACK:
            yield Answer(Outcome.UNKNOWN, message=f"the reports reach to {reached.isoformat()}")

    def find(self, reference: Reference, code: str) -> Answer:
        """The movement that carries our reference, of T-codes that begin with *code*.

        Not found is what a report says within its three hours as well; only who waits longer may
        believe it. A report that is later than that says nothing.
        """
        now = self._api.clock.now()
        made = reference.created_at or now - timedelta(days=2)
        left = self._api.until(reference.deadline_s)
        reached: datetime | None = None
        for start, end in _spans(made - _SLACK, now + _SLACK):
            read = self._span(start, end, left)
            for row, reply in read.rows:
                named = reference.our_reference in (row.get("custom_field"), row.get("invoice_id"))
                if named and str(row.get("transaction_event_code")).startswith(code):
                    return _movement(row, reply)
            if read.broken is not None:
                return read.broken
            reached = read.reached or reached
        if reached is not None and reached < made and now - made > LATE:
            return Answer(Outcome.UNKNOWN, message=f"the reports reach to {reached.isoformat()}")
        return Answer(Outcome.NOT_FOUND)

    def _span(self, start: datetime, end: datetime, left: Callable[[], float]) -> _Read:
        """All rows of a span; one with more rows than PayPal shows is read in halves."""
        rows: list[tuple[Mapping[str, Any], Reply]] = []
        reached: datetime | None = None
        for page in range(1, _MAX_PAGES + 1):
            if left() <= _LEAST_S:
                return _Read(rows, broken=Answer(Outcome.UNKNOWN, message="no time left"))
            reply = self._api.get(_query(start, end, page), left())
            if bad := failed(reply):
                if bad.provider_code == _TOO_LARGE and end - start > _SLACK:
                    return self._halves(start, end, left)
                return _Read(rows, broken=bad)
            try:
                data = json_object(reply)
                found = [each["transaction_info"] for each in data.get("transaction_details") or ()]
                rows += [(each, reply) for each in found if each["transaction_id"]]
                reached = _time(data.get("last_refreshed_datetime")) or reached
                pages = int(data["total_pages"])
            except BROKEN:
                return _Read(rows, broken=unreadable(reply))
            if page >= pages:
                rows.sort(key=lambda pair: str(pair[0].get("transaction_initiation_date")))
                return _Read(rows, reached)
        return self._halves(start, end, left)

    def _halves(self, start: datetime, end: datetime, left: Callable[[], float]) -> _Read:
        middle = start + (end - start) / 2
        first = self._span(start, middle, left)
        if first.broken is not None:
            return first
        second = self._span(middle, end, left)
        return replace(second, rows=first.rows + second.rows)


def _spans(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """*since* to *until* in spans that PayPal takes."""
    while since < until:
        end = min(since + _SPAN, until)
        yield since, end
        since = end


def _query(start: datetime, end: datetime, page: int) -> str:
    return "/v1/reporting/transactions?" + urlencode(
        {
            "start_date": _text(start),
            "end_date": _text(end),
            "fields": "transaction_info",
            "balance_affecting_records_only": "N",
            "page_size": _PAGE_SIZE,
            "page": page,
        }
    )


def _is_payment(row: Mapping[str, Any]) -> bool:
    received = str(row.get("transaction_event_code")).startswith(_RECEIVED)
    return received and from_money(row.get("transaction_amount"))[0] > 0


def _payment(row: Mapping[str, Any], reply: Reply) -> Answer:
    """A payment received. Its order's id is there where PayPal names it; the id of the capture
    stands for a payment that is not ours.
    """
    answer = _movement(row, reply)
    order_id = row.get("paypal_reference_id") if row.get(_KIND) == "ODR" else None
    if order_id is None and answer.our_reference is None:
        order_id = row["transaction_id"]
    return replace(answer, provider_reference=order_id, fee=_fee(row))


def _movement(row: Mapping[str, Any], reply: Reply) -> Answer:
    status = str(row.get("transaction_status"))
    amount, currency = from_money(row.get("transaction_amount"))
    refund = str(row.get("transaction_event_code")).startswith("T11")
    outcome = _STATES.get(status, Outcome.PENDING)
    declined = outcome is Outcome.DECLINED
    answer = Answer(
        outcome,
        provider_reference=str(row["transaction_id"]) if refund else None,
        our_reference=row.get("custom_field") or row.get("invoice_id"),
        amount_minor=None if declined else abs(amount),
        currency=None if declined else currency,
        code="processing_error" if declined else None,
        provider_code=status,
    )
    return dressed(answer, reply)


def _fee(row: Mapping[str, Any]) -> Fee | None:
    if not row.get("fee_amount"):
        return None
    amount, currency = from_money(row["fee_amount"])
    return Fee(-amount, currency, str(row["transaction_id"])) if amount else None


def _line(data: Mapping[str, Any]) -> BalanceLine:
    total, currency = from_money(data["total_balance"])
    held = from_money(data["withheld_balance"])[0] if data.get("withheld_balance") else 0
    free = data.get("available_balance")
    return BalanceLine(currency, from_money(free)[0] if free else total - held, held)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(str(text)) if text else None
