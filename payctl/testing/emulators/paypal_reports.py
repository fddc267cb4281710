"""Reports of the emulated PayPal: every movement, three hours late, and balances.

Shapes: Transaction Search v1 (spec 1.9) ``search_response``, ``balances_response``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from payctl.testing.emulators.core import Response
from payctl.testing.emulators.paypal_state import Movement, Object, SaysNo, State, money, refusal

#: Longest span of a search, most rows of one, and how late its data may be.
SPAN, MOST, LATE = timedelta(days=31), 10_000, timedelta(hours=3)
ACCOUNT = "QF4TD2JHSNF5C"


class Reports:
    """The endpoints below ``/v1/reporting``.

    Attributes:
        late: how late a movement appears.
        most: how many rows a search shows at most.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.late = LATE
        self.most = MOST

    def search(self, query: Mapping[str, str]) -> Response:
        """``search.get``."""
        start, end = _time(query.get("start_date")), _time(query.get("end_date"))
        size, page = int(query.get("page_size", "100")), int(query.get("page", "1"))
        if end - start > SPAN or end < start or not 1 <= size <= 500 or page < 1:
            raise SaysNo(refusal(400))
        reaches = self._state.now() - self.late
        rows = [each for each in self._state.movements if start <= each.at < end]
        rows = [each for each in rows if each.at <= reaches]
        if len(rows) > self.most:
            raise SaysNo(refusal(400, None, "RESULTSET_TOO_LARGE"))
        shown = rows[(page - 1) * size : page * size]
        body: Object = {
            "account_number": ACCOUNT,
            "start_date": query["start_date"],
            "end_date": query["end_date"],
            "last_refreshed_datetime": _text(reaches),
            "page": page,
            "total_items": len(rows),
            "total_pages": -(-len(rows) // size),
            "links": [self._state.link("/v1/reporting/transactions", "self")],
        }
        if shown:
            body["transaction_details"] = [{"transaction_info": _row(each)} for each in shown]
        return Response(200, body)

    def balances(self) -> Response:
        """``balances.get``, of all currencies that ever moved."""
        used = {each.currency for each in self._state.movements} | set(self._state.opening)
        lines = []
        for currency in sorted(used):
            waiting = [each for each in self._state.movements if each.status == "P"]
            held = sum(
                each.amount for each in waiting if each.currency == currency and each.amount > 0
            )
            free = self._state.holds(currency)
            lines.append(
                {
                    "currency": currency,
                    "total_balance": money(free + held, currency),
                    "available_balance": money(free, currency),
                    "withheld_balance": money(held, currency),
                }
            )
        body = {
            "balances": lines,
            "account_id": ACCOUNT,
            "as_of_time": self._state.stamp(),
            "last_refresh_time": self._state.stamp(),
        }
        return Response(200, body)


def _row(each: Movement) -> Object:
    row: Object = {
        "transaction_id": each.transaction_id,
        "transaction_event_code": each.code,
        "transaction_initiation_date": _text(each.at),
        "transaction_updated_date": _text(each.at),
        "transaction_amount": money(each.amount, each.currency),
        "transaction_status": each.status,
    }
    if each.fee:
        row["fee_amount"] = money(each.fee, each.currency)
    if each.custom_id:
        row["custom_field"] = each.custom_id
    if each.invoice_id:
        row["invoice_id"] = each.invoice_id
    if each.order_id:
        row["paypal_reference_id"] = each.order_id
        order = each.code.startswith("T0006")
        row["paypal_reference_id_type"] = "ODR" if order else "TXN"
    return row


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _time(text: str | None) -> datetime:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        raise SaysNo(refusal(400)) from None
