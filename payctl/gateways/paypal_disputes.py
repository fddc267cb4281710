"""PayPal's disputes: read, listed, accepted, contested.

**What PayPal allows is in the links** of a dispute that was just read; each answer of ours begins
with that look. PayPal does not know a repeated answer again (``PayPal-Request-Id`` does nothing
here), so the look is also what keeps one from being given twice.

**Money.** A dispute at PayPal itself holds the amount back until it is decided; a card's chargeback
takes it at once. What was taken is told by ``money_movements`` of the seller. PayPal's API has been
seen to call them ``fund_movements`` and to name holds among them, and to write its links with
underscores; both are read.

Source: Customer Disputes v1 (1.10) as published; developer.paypal.com/docs/disputes for the bodies
of answers, which the specification leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from payctl.gateways.base import Answer, Fee, Outcome, Reference, RejectKind
from payctl.gateways.checks import rejected
from payctl.gateways.disputes import Dispute, DisputeResponse, DisputeStatus
from payctl.gateways.http import Reply
from payctl.gateways.paypal_api import BROKEN, Api, dressed, failed, unreadable
from payctl.gateways.paypal_evidence import LONGEST, accepted, contested, notes, refuse_file
from payctl.gateways.paypal_money import from_money
from payctl.gateways.rest import json_object

_ROOT = "/v1/customer/disputes"
_MAX_PAGES, _PAGE_SIZE, _PAGE_S = 50, 50, 20.0
#: ``status`` of a claim that is not decided. What is open and nobody's turn may be answered, so a
#: person is told. A status that is not here is new: under review until somebody has looked it up.
STATUSES: Mapping[str, DisputeStatus] = {
    "OPEN": DisputeStatus.NEEDS_RESPONSE,
    "WAITING_FOR_SELLER_RESPONSE": DisputeStatus.NEEDS_RESPONSE,
    "WAITING_FOR_BUYER_RESPONSE": DisputeStatus.UNDER_REVIEW,
    "UNDER_REVIEW": DisputeStatus.UNDER_REVIEW,
    "OTHER": DisputeStatus.UNDER_REVIEW,
    "RESOLVED": DisputeStatus.CLOSED,  # its outcome says how
}
#: ``dispute_outcome.outcome_code``. With a payout PayPal paid from its own pocket.
OUTCOMES: Mapping[str, DisputeStatus] = {
    "RESOLVED_BUYER_FAVOUR": DisputeStatus.LOST,
    "ACCEPTED": DisputeStatus.LOST,
    "RESOLVED_SELLER_FAVOUR": DisputeStatus.WON,
    "RESOLVED_WITH_PAYOUT": DisputeStatus.WON,
    "DENIED": DisputeStatus.WON,
    "CANCELED_BY_BUYER": DisputeStatus.CLOSED,
    "NONE": DisputeStatus.CLOSED,  # another dispute of the same payment took its place
}
#: ``dispute_life_cycle_stage`` -> whether PayPal or a bank decides; else the two sides talk.
CLAIMS: Mapping[str, bool] = {
    "INQUIRY": False,
    "CHARGEBACK": True,
    "PRE_ARBITRATION": True,
    "ARBITRATION": True,
}
#: PayPal's reasons in the words that Stripe has for them too.
REASONS: Mapping[str, str] = {
    "MERCHANDISE_OR_SERVICE_NOT_RECEIVED": "product_not_received",
    "MERCHANDISE_OR_SERVICE_NOT_AS_DESCRIBED": "product_unacceptable",
    "UNAUTHORISED": "fraudulent",
    "CREDIT_NOT_PROCESSED": "credit_not_processed",
    "DUPLICATE_TRANSACTION": "duplicate",
    "INCORRECT_AMOUNT": "incorrect_amount",
    "PAYMENT_BY_OTHER_MEANS": "paid_by_other_means",
    "CANCELED_RECURRING_BILLING": "subscription_canceled",
    "PROBLEM_WITH_REMITTANCE": "problem_with_remittance",
    "OTHER": "general",
}
#: ``reason`` of a movement: ``taken`` of the contested money, ``fee``, ``held`` back (a hold moves
#: no money). One that is not here is money.
MOVEMENTS: Mapping[str, str] = {
    "DISPUTE_SETTLEMENT": "taken",
    "DISPUTE_SETTLEMENT_FEE": "fee",
    "DISPUTE_FEE": "fee",
    "CHARGEBACK_FEE": "fee",
    "REVERSED_TRANSACTION_FEE": "fee",
    "HOLD_PLACED": "held",
    "HOLD_RELEASED": "held",
}
#: Whose account a movement is of, where it is ours; the second as PayPal has been seen to say.
_OURS = frozenset({"SELLER", "RECEIVER"})


@dataclass(frozen=True, slots=True)
class _Seen:
    """A dispute as it was just read, and what may be done about it."""

    data: Mapping[str, Any]
    told: Answer

    @property
    def may(self) -> frozenset[str]:
        links = self.data.get("links")
        found = links if isinstance(links, list) else []
        return frozenset(str(each.get("rel")).replace("-", "_") for each in found
                         if isinstance(each, dict))  # fmt: skip


class Disputes:
    """Exchanges about disputes of one account."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def get(self, reference: str, deadline_s: float) -> Answer:
        seen = self._look(reference, self._api.until(deadline_s))
        return seen if isinstance(seen, Answer) else seen.told

    def listed(self, since: datetime) -> Iterator[Answer]:
        """What has changed since, newest first. A list names no payment, so each is asked for."""
        query = {"update_time_after": _text(since), "page_size": str(_PAGE_SIZE)}
        for _ in range(_MAX_PAGES):
            reply = self._api.get(f"{_ROOT}?{urlencode(query)}", _PAGE_S)
            if bad := failed(reply):
                yield bad
                return
            data = json_object(reply)
            try:
                names = [str(each["dispute_id"]) for each in data.get("items") or ()]
                token = _next_page(data)
            except BROKEN:
                yield unreadable(reply)
                return
            for name in names:
                answer = self.get(name, _PAGE_S)
                yield answer
                if answer.dispute is None:
                    return
            if token is None or not names:
                return
            query["next_page_token"] = token
        yield Answer(Outcome.UNKNOWN, message="the list is longer than we read")

    def respond(self, response: DisputeResponse) -> Answer:
        """Accept the claim with a full refund, or send evidence where PayPal asks for it, else as
        information beside it. Then the dispute is read again: an answer of PayPal's has only links.
        """
        if refusal := refuse_file(response):
            return refusal
        left = self._api.until(response.deadline_s)
        seen = self._look(response.reference, left)
        if isinstance(seen, Answer):
            return replace(seen, outcome=Outcome.NOT_SENT) if _unsure(seen) else seen
        assert seen.told.dispute is not None
        if str(seen.data.get("status")) == "RESOLVED" or _said(seen.data, response):
            return seen.told
        sent = self._send(seen, response, left)
        if sent.outcome is not Outcome.SUCCEEDED:
            return sent
        after = self._look(response.reference, left)
        if isinstance(after, Answer):
            return replace(after, outcome=Outcome.UNKNOWN, reject=None, code=None,
                           message="sent; what became of it could not be read")  # fmt: skip
        return after.told

    def _send(self, seen: _Seen, response: DisputeResponse, left: Callable[[], float]) -> Answer:
        path = f"{_ROOT}/{quote(response.reference, safe='')}"
        if response.accept:
            if "accept_claim" not in seen.may:
                return _not_now("PayPal does not let it be accepted now")
            if not _refund_allowed(seen.data):
                return _not_now("PayPal lets it be accepted only against goods sent back")
            return _done(self._api.post(f"{path}/accept-claim", accepted(), left()))
        verb = next((each for each in ("provide_evidence", "provide_supporting_info")
                     if each in seen.may), None)  # fmt: skip
        if verb is None:
            return _not_now("PayPal asks for no evidence now")
        if verb == "provide_supporting_info" and len(response.text) > LONGEST:
            return rejected("text_too_long", f"at most {LONGEST} letters while PayPal reviews it")
        body, kind = contested(response, asked=verb == "provide_evidence")
        path = f"{path}/{verb.replace('_', '-')}"
        return _done(self._api.post(path, body, left(), content_type=kind))

    def _look(self, reference: str, left: Callable[[], float]) -> _Seen | Answer:
        reply = self._api.get(f"{_ROOT}/{quote(reference, safe='')}", left())
        if bad := failed(reply):
            return bad
        data = json_object(reply)
        try:
            dispute, capture_id = read_dispute(data)
        except BROKEN:
            return unreadable(reply, "a dispute without its fields")
        if dispute.payment.our_reference is None and capture_id:
            placed = self._payment(capture_id, left())
            if isinstance(placed, Answer):
                return placed
            dispute = replace(dispute, payment=placed)
        answer = Answer(Outcome.SUCCEEDED, provider_reference=dispute.reference, dispute=dispute)
        return _Seen(data, dressed(answer, reply))

    def _payment(self, capture_id: str, deadline_s: float) -> Reference | Answer:
        """Which payment a capture is of, where the dispute does not say it in our words."""
        reply = self._api.get(f"/v2/payments/captures/{quote(capture_id, safe='')}", deadline_s)
        if bad := failed(reply):
            return Reference(None, capture_id) if bad.outcome is Outcome.NOT_FOUND else bad
        data = json_object(reply)
        related = (data.get("supplementary_data") or {}).get("related_ids") or {}
        return Reference(data.get("custom_id"), str(related.get("order_id") or capture_id))


def read_dispute(data: Mapping[str, Any]) -> tuple[Dispute, str | None]:
    """A dispute, and our id of the capture it is about.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not what the specification says.
    """
    reference = str(data["dispute_id"])
    about = (data.get("disputed_transactions") or [{}])[0]
    amount, currency = from_money(data["dispute_amount"])
    moves = [*(data.get("money_movements") or ()), *(data.get("fund_movements") or ())]
    told = any(MOVEMENTS.get(str(each.get("reason"))) != "held" for each in moves)
    taken, fees, held = _money(reference, moves, amount, currency)
    status = _status(data, taken, told=told)
    if status is DisputeStatus.LOST and not told:
        taken = _refunded(data, currency)
    claim = CLAIMS.get(str(data.get("dispute_life_cycle_stage")), True)
    ended = status in (DisputeStatus.WON, DisputeStatus.LOST, DisputeStatus.CLOSED)
    if held is None:
        held = amount if claim and not taken else 0
    due = data.get("seller_response_due_date")
    capture = about.get("seller_transaction_id")
    reason = str(data.get("reason") or "")
    dispute = Dispute(
        reference=reference,
        payment=Reference(about.get("custom"), str(capture) if capture else None),
        amount_minor=amount,
        currency=currency,
        status=status,
        reason=REASONS.get(reason, reason.lower()),
        due_at=datetime.fromisoformat(str(due)) if due else None,
        withdrawn_minor=max(taken, 0),
        held_minor=0 if ended else max(held, 0),
        fees=fees,
    )
    return dispute, dispute.payment.provider_reference


def _status(data: Mapping[str, Any], taken: int, *, told: bool) -> DisputeStatus:
    """Where it stands; *told* is whether PayPal names any movement of money."""
    status = STATUSES.get(str(data["status"]), DisputeStatus.UNDER_REVIEW)
    if str(data["status"]) != "RESOLVED":
        claim = CLAIMS.get(str(data.get("dispute_life_cycle_stage")), True)
        asks = status is DisputeStatus.NEEDS_RESPONSE
        return DisputeStatus.INQUIRY if asks and not claim else status
    code = str((data.get("dispute_outcome") or {}).get("outcome_code") or "")
    ended = OUTCOMES.get(code)
    if ended is None:
        # Decided in words we do not know: whose the money is, nobody may guess.
        return DisputeStatus.CLOSED if not (code or taken) else DisputeStatus.UNDER_REVIEW
    if ended is not DisputeStatus.LOST or taken > 0:
        return ended
    if not told:
        # Nothing was told of the money but what the customer got. Until that is told, it is open.
        return ended if _refunded(data, None) else DisputeStatus.UNDER_REVIEW
    return DisputeStatus.CLOSED  # the customer was paid, and not by us


def _money(
    reference: str, moves: list[Mapping[str, Any]], amount: int, currency: str
) -> tuple[int, tuple[Fee, ...], int | None]:
    """What was taken, the fees, and what is held back (``None`` where no hold is named)."""
    taken, fees, held = 0, [], None
    for number, move in enumerate(moves):
        if str(move.get("affected_party") or move.get("party")) not in _OURS:
            continue
        value, code = from_money(move["amount"])
        value = value if str(move.get("type")) == "DEBIT" else -value
        kind = MOVEMENTS.get(str(move.get("reason")), "taken")
        if kind == "fee":
            at = move.get("initiated_time") or number
            name = f"{reference}:{move.get('reason')}:{move.get('type')}:{at}"
            fees.append(Fee(value, code, name))
            continue
        if code != currency:  # settled in another currency: only its direction says something
            value = amount if value > 0 else -amount
        if kind == "held":
            held = (held or 0) + value
        else:
            taken += value
    return taken, tuple(fees), held


def _refunded(data: Mapping[str, Any], currency: str | None) -> int:
    given = (data.get("dispute_outcome") or {}).get("amount_refunded")
    if not given:
        return 0
    amount, code = from_money(given)
    return amount if currency in (None, code) else from_money(data["dispute_amount"])[0]


def _said(data: Mapping[str, Any], response: DisputeResponse) -> bool:
    """Whether PayPal has what we say: a repetition is not a second answer."""
    if response.accept:
        return False
    given = [*(data.get("evidences") or ()), *(data.get("supporting_info") or ())]
    ours = [each for each in given if isinstance(each, dict)
            and str(each.get("source")) == "SUBMITTED_BY_SELLER"]  # fmt: skip
    return set(notes(response.text)) <= {str(each.get("notes")) for each in ours}


def _refund_allowed(data: Mapping[str, Any]) -> bool:
    options = (data.get("allowed_response_options") or {}).get("accept_claim") or {}
    kinds = options.get("accept_claim_types")
    return not kinds or "REFUND" in kinds


def _done(reply: Reply) -> Answer:
    return failed(reply) or dressed(Answer(Outcome.SUCCEEDED), reply)


def _not_now(message: str) -> Answer:
    return replace(rejected("not_answerable", message), reject=RejectKind.STATE)


def _unsure(answer: Answer) -> bool:
    return answer.outcome is Outcome.UNKNOWN


def _next_page(data: Mapping[str, Any]) -> str | None:
    """The token of the next page. Only that: an address in an answer is not followed."""
    for link in data.get("links") or ():
        if link.get("rel") == "next":
            found = parse_qs(urlsplit(str(link["href"])).query).get("next_page_token")
            return found[0] if found else None
    return None


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
