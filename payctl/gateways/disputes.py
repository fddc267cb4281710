"""Disputes (chargebacks, claims) as every gateway tells them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from payctl.gateways.base import Fee, Reference


class DisputeStatus(StrEnum):
    """Where a dispute stands, the same words for every provider."""

    INQUIRY = "inquiry"  # a question of the customer's bank; no money has moved
    NEEDS_RESPONSE = "needs_response"  # ours to answer until ``due_at``
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"
    CLOSED = "closed"  # ended without a decision about money: an inquiry that was dropped


@dataclass(frozen=True, slots=True)
class Dispute:
    """A payment that its customer contests, as the provider has it now.

    ``withdrawn_minor`` is what the provider has taken back for it so far, in minor units of
    ``currency`` and without its ``fees``; 0 again when it was given back. ``held_minor`` is what it
    keeps us from using meanwhile, or may do, without having taken it: no money has moved, and the
    owner must not have it. Each of ``fees`` has its own reference; one below zero was given back.
    """

    reference: str
    payment: Reference
    amount_minor: int
    currency: str
    status: DisputeStatus
    reason: str = ""
    due_at: datetime | None = None
    withdrawn_minor: int = 0
    held_minor: int = 0
    fees: tuple[Fee, ...] = ()


@dataclass(frozen=True, slots=True)
class DisputeResponse:
    """What we say to a dispute: we accept it, or contest it with ``text`` and one file."""

    reference: str
    idempotency_key: str
    accept: bool
    text: str = ""
    file_name: str = ""
    file: bytes = field(default=b"", repr=False)
    deadline_s: float = 20.0
