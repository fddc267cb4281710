"""Changing a threshold: asked for by one person, put into force when another approves."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from payctl import ids
from payctl.db.actor import Actor
from payctl.db.approvals import Approvals, fetch
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.operators import require
from payctl.db.tables import approval_threshold
from payctl.db.thresholds import ANY_CURRENCY, Threshold, current, every, newest
from payctl.errors import Conflict, InvalidInput
from payctl.money import exponent

KIND = "threshold_change"


class Thresholds:
    """What is set, and how it changes."""

    def __init__(self, db: Database, approvals: Approvals) -> None:
        self._db = db
        self._approvals = approvals

    def list(self, *, history: bool = False) -> Sequence[Threshold]:
        """What is set now, or with *history* everything that ever was."""
        with self._db.read() as tx:
            rules = every(tx)
        return rules if history else newest(rules)

    def request(
        self,
        actor: Actor,
        *,
        kind: str,
        currency: str,
        limit_minor: int,
        daily_limit_minor: int,
        reason: str,
        dry_run: bool = False,
    ) -> UUID:
        """Ask for another threshold, in minor units; it holds once a second person approves.

        Raises:
            InvalidInput: ``approval.bad_limits``, ``approval.unknown_kind``, ``currency.unknown``,
                ``reason.missing``.
        """
        require(actor, "threshold.request")
        if currency != ANY_CURRENCY:
            exponent(currency)
        if not 0 <= limit_minor <= daily_limit_minor:
            raise InvalidInput("approval.bad_limits", field="limit")
        known = sorted({rule.kind for rule in self.list()})
        if kind not in known:
            listed = ", ".join(known)
            raise InvalidInput("approval.unknown_kind", field="kind", kind=kind, known=listed)
        content = {
            "kind": kind,
            "currency": currency,
            "limit_minor": limit_minor,
            "daily_limit_minor": daily_limit_minor,
        }
        with self._db.writing(dry_run) as tx:
            return self._approvals.request(
                tx, actor, kind=KIND, subject_kind="threshold", subject_id=None,
                amount_minor=None, currency=None, content=content, reason=reason,
            )  # fmt: skip

    def apply(self, actor: Actor, approval_id: UUID) -> Threshold:
        """Put an approved threshold into force.

        Raises:
            Conflict: ``approval.not_granted``.
        """
        with self._db.transaction() as tx:
            asked = fetch(tx, approval_id)
            if asked.kind != KIND:
                raise Conflict("approval.not_granted", id=ids.encode("approval", approval_id))
            self._approvals.use(tx, actor, approval_id, asked.content)
            kind, currency = str(asked.content["kind"]), str(asked.content["currency"])
            before = current(tx, kind, currency)
            after = Threshold(
                kind=kind,
                currency=currency,
                version=1 if before is None else before.version + 1,
                limit_minor=int(asked.content["limit_minor"]),
                daily_limit_minor=int(asked.content["daily_limit_minor"]),
                set_at=self._db.clock.now(),
                set_by=asked.requested_by,
                reason=asked.reason,
            )
            values = {name: getattr(after, name) for name in Threshold.__dataclass_fields__}
            tx.execute(sa.insert(approval_threshold).values(approval_id=approval_id, **values))
            record(self._db, tx, actor, "threshold.set", "approval", approval_id, asked.content)
        return after
