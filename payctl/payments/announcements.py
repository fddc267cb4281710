"""What others hear of payments: notifications to the core service, and what may be shown again."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.gateways.base import NextAction
from payctl.ids import encode
from payctl.notifications.outbox import Outbox
from payctl.payments.records import Payment


def public_action(action: NextAction | None) -> dict[str, Any] | None:
    """A next action without its secret: what may be stored and shown again."""
    if action is None:
        return None
    fields = asdict(replace(action, client_secret=None))
    if action.expires_at is not None:
        fields["expires_at"] = action.expires_at.isoformat()
    return {name: value for name, value in fields.items() if value is not None}


def announce(
    db: Database, outbox: Outbox, tx: sa.Connection, payment: Payment, actor: Actor
) -> None:
    """Tell the core service and the audit about a payment's new status, in the same commit."""
    data = announcement(payment)
    kind = f"payment.{payment.status}"
    outbox.append(tx, kind, "payment", payment.id, data)
    audit.record(db, tx, actor, kind, "payment", payment.id, data)


def announcement(payment: Payment) -> dict[str, Any]:
    """What is told of a payment's status."""
    return {
        "id": encode("payment", payment.id),
        "status": str(payment.status),
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "order": payment.order_ref,
        "organiser": payment.organiser,
        "gateway": payment.gateway_account,
        "failure_code": payment.failure_code,
        "captured_minor": payment.captured_minor,
    }
