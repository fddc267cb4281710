"""Where a payment's money is: one answer, from its entries and its open attempts.

Pure. What the ledger says comes from the entries alone, so the answer cannot disagree with the
books; what is not known yet comes from the attempts that are still live and is said to be unknown,
never guessed. Amounts are positive minor units.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from payctl.ledger import accounts
from payctl.payments.model import AttemptState, Operation


class Part(StrEnum):
    """What one line of the answer says about its amount."""

    UNKNOWN = "unknown"  # may be at this provider (or may have left it): only asking can tell
    BELONGS = "belongs_to"  # in the books, in favour of this account
    HELD = "held_at"  # where the money of the books lies
    AUTHORIZED = "authorized"  # reserved at the customer's bank, not taken
    APPROVED = "approved"  # the customer has agreed, and this provider waits for us to take it
    WAITING = "waiting"  # with the customer until this provider confirms
    BORNE = "borne_by"  # more went out than this payment had: who bears it
    COST = "cost"  # the providers' fees
    RETURNED = "returned"  # paid back to the customer


class Verdict(StrEnum):
    """The whole answer in one word, the most urgent first."""

    UNKNOWN = "unknown"
    HELD = "held"
    AUTHORIZED = "authorized"
    WAITING = "waiting"
    RETURNED = "returned"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Booked:
    """One entry of the payment: debits positive, in minor units of ``currency``."""

    kind: str
    account: str
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Live:
    """A live attempt of the payment."""

    operation: Operation
    gateway: str
    state: AttemptState
    amount_minor: int
    currency: str
    #: the provider's last word was that the customer has agreed
    approved: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """One line of the answer. ``account`` is the ledger account the money is in, or would be."""

    part: Part
    account: str
    gateway: str | None
    amount_minor: int
    currency: str
    operation: str | None = None


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the money is."""

    verdict: Verdict
    places: tuple[Place, ...]

    def of(self, *parts: Part) -> tuple[Place, ...]:
        """The lines of these parts."""
        return tuple(place for place in self.places if place.part in parts)

    def accounts(self) -> frozenset[str]:
        """Every account the answer names."""
        return frozenset(place.account for place in self.places)


#: Journals by which money goes back to the customer, or comes back from there.
_PAID_BACK = frozenset({"refund_paid", "refund_returned", "refunded_twice"})
#: Accounts that say where money lies rather than whose it is.
_HOLDERS = frozenset({"gateway", "transit", "bank", "dispute", "opening"})
_UNSURE = frozenset({AttemptState.SENDING, AttemptState.UNKNOWN, AttemptState.QUARANTINED})
_WAITING = frozenset({AttemptState.REQUIRES_ACTION, AttemptState.PENDING})
_VERDICTS = (
    (Part.UNKNOWN, Verdict.UNKNOWN),
    (Part.BELONGS, Verdict.HELD),
    (Part.AUTHORIZED, Verdict.AUTHORIZED),
    (Part.APPROVED, Verdict.WAITING),
    (Part.WAITING, Verdict.WAITING),
    (Part.RETURNED, Verdict.RETURNED),
)


def locate(
    booked: Iterable[Booked], live: Iterable[Live], authorized_left_minor: int = 0
) -> Whereabouts:
    """Say where the money is.

    Args:
        booked: every entry of every journal of the payment.
        live: its live attempts, refunds' included.
        authorized_left_minor: what is reserved and not captured, in minor units.
    """
    places = [*_open(list(live), authorized_left_minor), *_posted(list(booked))]
    order = list(Part)
    places.sort(key=lambda place: (order.index(place.part), place.currency, -place.amount_minor))
    found = {place.part for place in places if not gives_back(place)}
    verdict = next((word for part, word in _VERDICTS if part in found), Verdict.NOWHERE)
    return Whereabouts(verdict, tuple(places))


def gives_back(place: Place) -> bool:
    """Whether a line is about money on its way back to the customer."""
    return place.operation is not None and Operation(place.operation).gives_back


def _open(live: list[Live], authorized_left_minor: int) -> Iterable[Place]:
    capturing = sum(
        each.amount_minor
        for each in live
        if each.operation is Operation.CAPTURE and each.state in _UNSURE | _WAITING
    )
    for each in live:
        part, amount = Part.UNKNOWN, each.amount_minor
        if each.state is AttemptState.AUTHORIZED:
            part, amount = Part.AUTHORIZED, authorized_left_minor - capturing
        elif each.state in _WAITING:
            part = Part.APPROVED if each.approved else Part.WAITING
        if each.operation is Operation.VOID or amount <= 0:
            continue  # what is being released is still told by the authorisation itself
        name = accounts.refund_outgoing if each.operation.gives_back else accounts.collect
        yield Place(
            part, name(each.gateway), each.gateway, amount, each.currency, str(each.operation)
        )


def _posted(booked: list[Booked]) -> Iterable[Place]:
    sums: dict[tuple[str, str], int] = defaultdict(int)
    back: dict[tuple[str, str], int] = defaultdict(int)
    for entry in booked:
        sums[entry.account, entry.currency] += entry.amount_minor
        paid_back = entry.kind in _PAID_BACK and entry.account.endswith((":collect", ":float"))
        if paid_back or (entry.kind == "dispute_lost" and entry.account.startswith("dispute:")):
            back[entry.account, entry.currency] -= entry.amount_minor
    for (account, currency), amount in sums.items():
        part = _part_of(account, amount)
        if part is not None:
            yield Place(part, account, _gateway_of(account), abs(amount), currency)
    for (account, currency), amount in back.items():
        if amount > 0:
            yield Place(Part.RETURNED, account, _gateway_of(account), amount, currency)


def _part_of(account: str, amount_minor: int) -> Part | None:
    head = account.partition(":")[0]
    if head in _HOLDERS:
        # Less than nothing lies there only for the fee of a payment that was given back.
        return Part.HELD if amount_minor > 0 else None
    if amount_minor == 0:
        return None
    if amount_minor < 0:
        return Part.BELONGS
    return Part.COST if head == "expense" else Part.BORNE


def _gateway_of(account: str) -> str | None:
    """The provider an account is about, when it is about one."""
    parts = account.split(":")
    if parts[0] in ("gateway", "transit", "dispute", "suspense", "refund", "unapplied"):
        return parts[1]
    return parts[2] if parts[0] == "expense" and len(parts) == 3 else None
