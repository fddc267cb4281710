"""The ledger's words: legs, drafts of journals, posted journals. Pure data and pure decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from payctl.errors import Conflict


class Leg(NamedTuple):
    """One side of a journal: a signed amount on an account.

    ``account`` is the code without its currency (``wallet:org-1:pending``); ``amount_minor`` is
    positive for a debit and negative for a credit, as it is stored.
    """

    account: str
    amount_minor: int
    currency: str


def dr(account: str, amount_minor: int, currency: str) -> Leg:
    """A debit of *amount_minor* (a positive number) on *account*."""
    return Leg(account, amount_minor, currency)


def cr(account: str, amount_minor: int, currency: str) -> Leg:
    """A credit of *amount_minor* (a positive number) on *account*."""
    return Leg(account, -amount_minor, currency)


@dataclass(frozen=True, slots=True)
class Draft:
    """A journal to be posted.

    Attributes:
        kind: what happened (``capture``, ``fee``, ``refund_reserved``, ``adjustment`` …).
        posting_key: unique in the book; the same key with the same content is posted once.
        legs: at least two, balanced per currency; legs of 0 are dropped by the book.
        effective_at: when it counts; ``None`` is now.
        payment_id: the payment it belongs to, when it does.
        meta: the provider's dates and references; part of the content hash.
    """

    kind: str
    posting_key: str
    legs: tuple[Leg, ...]
    actor: str
    payment_id: UUID | None = None
    reason: str | None = None
    effective_at: datetime | None = None
    reverses_id: UUID | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


class PostedEntry(NamedTuple):
    """One entry as stored. ``balance_after_minor`` is signed like the amount (debit positive).

    On a striped account it is the balance of the entry's stripe, and versions count per stripe.
    """

    leg: int
    account: str
    currency: str
    amount_minor: int
    balance_after_minor: int
    version: int
    stripe: int = 0


@dataclass(frozen=True, slots=True)
class Posted:
    """The result of posting a draft.

    ``replayed`` says the key was already there with the same content. ``suspense_reason`` is set
    when the normal posting was refused and the fact went to ``suspense:{gateway}`` instead: the
    caller opens a case in the same transaction.
    """

    journal_id: UUID
    kind: str
    entries: tuple[PostedEntry, ...]
    replayed: bool = False
    suspense_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal as stored, with its entries."""

    id: UUID
    kind: str
    posting_key: str
    posted_at: datetime
    effective_at: datetime
    period: int
    actor: str
    reason: str | None
    payment_id: UUID | None
    reverses_id: UUID | None
    meta: Mapping[str, Any]
    content_hash: bytes
    entries: tuple[PostedEntry, ...]


#: The key belongs to another content.
KEY_REUSED = "ledger.key_reused"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a well-formed draft may not be posted; kept under its key where refusals are sticky."""

    code: str
    params: Mapping[str, Any]
    replayed: bool = False

    def error(self) -> Conflict:
        """The error to raise for it."""
        match self.code:
            case "ledger.insufficient_funds":
                return Conflict("ledger.insufficient_funds", **self.params)
            case "ledger.account_closed":
                return Conflict("ledger.account_closed", **self.params)
            case "ledger.key_reused":
                return Conflict("ledger.key_reused", field="key", **self.params)
            case "ledger.reversal_exceeds":
                return Conflict("ledger.reversal_exceeds", **self.params)
            case _:
                return Conflict("ledger.period_closed", **self.params)
