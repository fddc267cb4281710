"""One provider's answer on its way through the books: what every step of it needs."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.gateways.base import Answer
from payctl.ledger.model import Posted
from payctl.payments.records import Attempt, Payment


@dataclass
class Work:
    """An answer being applied inside one transaction.

    ``payment`` is locked; ``payment`` and ``attempt`` are replaced as the steps change their rows,
    and ``journals`` gathers what they post.
    """

    tx: sa.Connection
    payment: Payment
    attempt: Attempt
    answer: Answer
    actor: Actor
    journals: list[Posted] = field(default_factory=list)
