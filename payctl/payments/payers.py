"""Who paid, where only the provider's signed callback says so.

A status is asked for and believed; a callback comes from outside. So the payer a callback names
counts only where the provider's signature proves it, only once the provider has confirmed the
payment itself, and only where nobody is known yet: a later callback changes nobody's account.
"""

from __future__ import annotations

from dataclasses import asdict
from uuid import UUID

import sqlalchemy as sa

from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.gateways.base import Event
from payctl.payments import store
from payctl.payments.destinations import masked
from payctl.payments.model import AttemptState


def remember(db: Database, actor: Actor, attempt_id: UUID, event: Event) -> bool:
    """Keep the payer that *event* names with the attempt; whether it was kept."""
    payer = event.payer
    if payer is None or event.proof != "signature":
        return False

    def keep(tx: sa.Connection) -> bool:
        store.payment(tx, store.attempt(tx, attempt_id).payment_id, lock=True)
        attempt = store.attempt(tx, attempt_id)
        if attempt.state is not AttemptState.SUCCEEDED or attempt.payer is not None:
            return False
        store.update_attempt(tx, attempt, db.clock.now(), payer=asdict(payer))
        data = {"payer": masked(payer), "event": event.event_id}
        audit.record(db, tx, actor, "payment.payer_told", "attempt", attempt_id, data)
        return True

    return db.run(keep)
