"""Four eyes: acts that need a second person, bound to exactly what was asked.

A request freezes its content as a SHA-256 of canonical JSON; whoever then acts must present the
same content. It is decided once, by another person than the requester (a constraint of the
database, not only of this code), within 72 hours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl import ids
from payctl.db.actor import Actor
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.operators import require
from payctl.db.tables import approval, approval_spend
from payctl.db.thresholds import ANY_CURRENCY, current
from payctl.db.types import canonical
from payctl.errors import Conflict, Forbidden, InvalidInput, NotFound

#: How long a request, and the permission it became, is good for.
EXPIRES_AFTER = timedelta(hours=72)
#: The window of the limit per operator: rolling, so midnight does not start it anew.
DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Approval:
    """A request as stored. ``amount_minor`` is ``None`` for acts that move no money."""

    id: UUID
    kind: str
    subject_kind: str
    subject_id: UUID | None
    amount_minor: int | None
    currency: str | None
    content: Mapping[str, Any]
    reason: str
    state: str
    requested_by: str
    requested_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    decision_reason: str | None


def content_hash(content: Mapping[str, Any]) -> bytes:
    """SHA-256 of the canonical JSON of *content* (text, ints, flags, lists and maps of them)."""
    return hashlib.sha256(canonical(content).encode()).digest()


class Approvals:
    """Requests for a second person."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # -- is one needed --------------------------------------------------------------------------

    def needed(
        self,
        tx: sa.Connection,
        kind: str,
        amount_minor: int | None,
        currency: str | None,
        actor: Actor,
    ) -> str | None:
        """Why *actor* needs a second person for this act, or ``None`` when not.

        With ``None`` the amount is counted against the operator's rolling 24 hours, so call it
        once, in the transaction that decides to act: many small amounts add up to one that needs
        approval.

        Returns:
            ``always``, ``no_threshold`` (none is set for this currency), ``above_limit``,
            ``above_daily_limit`` or ``None``.
        """
        rule = current(tx, kind, currency or ANY_CURRENCY) or current(tx, kind, ANY_CURRENCY)
        if rule is None:
            return "no_threshold"
        if rule.currency == ANY_CURRENCY:
            return "always" if rule.limit_minor == 0 else None
        if amount_minor is None or amount_minor > rule.limit_minor:
            return "above_limit"
        if actor.kind != "operator":
            return None
        self._serialise(tx, actor.name, kind, rule.currency)
        spent = tx.execute(
            sa.select(sa.func.coalesce(sa.func.sum(approval_spend.c.amount_minor), 0)).where(
                approval_spend.c.actor == actor.name,
                approval_spend.c.kind == kind,
                approval_spend.c.currency == rule.currency,
                approval_spend.c.at > self._db.clock.now() - DAY,
            )
        ).scalar_one()
        if int(spent) + amount_minor > rule.daily_limit_minor:
            return "above_daily_limit"
        tx.execute(
            sa.insert(approval_spend).values(
                id=self._db.ids.new(), actor=actor.name, kind=kind, currency=rule.currency,
                amount_minor=amount_minor, at=self._db.clock.now(),
            )
        )  # fmt: skip
        return None

    def _serialise(self, tx: sa.Connection, *parts: str) -> None:
        """Two acts of one operator at once must see each other's amount. SQLite has one writer."""
        if not self._db.is_sqlite:
            name = "\x1f".join(("approval_spend", *parts))
            lock = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
            tx.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))

    # -- requests -------------------------------------------------------------------------------

    def request(
        self,
        tx: sa.Connection,
        actor: Actor,
        *,
        kind: str,
        subject_kind: str,
        subject_id: UUID | None,
        amount_minor: int | None,
        currency: str | None,
        content: Mapping[str, Any],
        reason: str,
    ) -> UUID:
        """Ask for a second person; returns the approval's id.

        Raises:
            Forbidden: ``operator.not_allowed``.
            InvalidInput: ``reason.missing``.
        """
        require(actor, "approval.request")
        _need(reason)
        new, now = self._db.ids.new(), self._db.clock.now()
        tx.execute(
            sa.insert(approval).values(
                id=new, kind=kind, subject_kind=subject_kind, subject_id=subject_id,
                amount_minor=amount_minor, currency=currency, content=dict(content),
                content_hash=content_hash(content), reason=reason, state="pending",
                requested_by=actor.name, requested_at=now, expires_at=now + EXPIRES_AFTER,
            )
        )  # fmt: skip
        about = {"kind": kind, "amount_minor": amount_minor, "currency": currency,
                 "content": content}  # fmt: skip
        record(self._db, tx, actor, "approval.requested", "approval", new, about, reason)
        return new

    def granted(self, tx: sa.Connection, approval_id: UUID, content: Mapping[str, Any]) -> bool:
        """Whether exactly this content was approved, and the approval has not run out."""
        row = tx.execute(
            sa.select(approval.c.state, approval.c.expires_at, approval.c.content_hash).where(
                approval.c.id == approval_id
            )
        ).one_or_none()
        return (
            row is not None
            and row.state == "approved"
            and row.expires_at > self._db.clock.now()
            and row.content_hash == content_hash(content)
        )

    def use(
        self, tx: sa.Connection, actor: Actor, approval_id: UUID, content: Mapping[str, Any]
    ) -> None:
        """Spend an approval on an act that could be repeated (a forced breaker, a new rule).

        Raises:
            Conflict: ``approval.not_granted`` when it is not approved, ran out, was used before, or
                was given for something else.
        """
        if self.granted(tx, approval_id, content):
            done = tx.execute(
                sa.update(approval)
                .where(approval.c.id == approval_id, approval.c.state == "approved")
                .values(state="used")
            )
            if done.rowcount == 1:
                record(self._db, tx, actor, "approval.used", "approval", approval_id, {})
                return
        raise Conflict("approval.not_granted", id=ids.encode("approval", approval_id))

    # -- decisions ------------------------------------------------------------------------------

    def approve(
        self, actor: Actor, approval_id: UUID, reason: str, *, dry_run: bool = False
    ) -> Approval:
        """Say yes, as another person than the requester.

        Raises:
            Forbidden: ``operator.not_allowed``, ``approval.own_request``.
            NotFound: ``approval.not_found``.
            Conflict: ``approval.decided``, ``approval.expired``.
            InvalidInput: ``reason.missing``.
        """
        require(actor, "approval.decide")
        return self._decide(actor, approval_id, "approved", reason, dry_run)

    def reject(
        self, actor: Actor, approval_id: UUID, reason: str, *, dry_run: bool = False
    ) -> Approval:
        """Say no; the requester may do so too, which withdraws the request.

        Raises: as :meth:`approve`, except ``approval.own_request``.
        """
        with self._db.read() as tx:
            own = fetch(tx, approval_id).requested_by == actor.name
        require(actor, "approval.withdraw" if own else "approval.decide")
        return self._decide(actor, approval_id, "rejected", reason, dry_run)

    def _decide(
        self, actor: Actor, approval_id: UUID, state: str, reason: str, dry_run: bool
    ) -> Approval:
        _need(reason)
        now = self._db.clock.now()
        with self._db.writing(dry_run) as tx:
            before = fetch(tx, approval_id)
            if state == "approved" and before.requested_by == actor.name:
                raise Forbidden("approval.own_request", id=ids.encode("approval", approval_id))
            done = tx.execute(
                sa.update(approval)
                .where(
                    approval.c.id == approval_id,
                    approval.c.state == "pending",
                    approval.c.expires_at > now,
                )
                .values(state=state, decided_by=actor.name, decided_at=now, decision_reason=reason)
            )
            if done.rowcount != 1:
                self._explain(tx, approval_id)
            about = {"kind": before.kind, "amount_minor": before.amount_minor,
                     "currency": before.currency, "requested_by": before.requested_by}  # fmt: skip
            action = f"approval.{state}"
            record(self._db, tx, actor, action, "approval", approval_id, about, reason)
            return fetch(tx, approval_id)

    def _explain(self, tx: sa.Connection, approval_id: UUID) -> None:
        found = fetch(tx, approval_id)
        if found.state in ("pending", "expired"):
            raise Conflict(
                "approval.expired",
                id=ids.encode("approval", approval_id),
                expires_at=found.expires_at.isoformat(),
            )
        raise Conflict(
            "approval.decided",
            id=ids.encode("approval", approval_id),
            state=found.state,
            by=str(found.decided_by),
        )

    def expire(self, actor: Actor) -> int:
        """Close requests nobody decided in time; returns how many."""
        require(actor, "approval.expire")
        now = self._db.clock.now()
        with self._db.transaction() as tx:
            rows = tx.execute(
                sa.update(approval)
                .where(approval.c.state == "pending", approval.c.expires_at <= now)
                .values(state="expired", decided_at=now)
                .returning(approval.c.id, approval.c.kind)
            ).all()
            for row in rows:
                about = {"kind": row.kind}
                record(self._db, tx, actor, "approval.expired", "approval", row.id, about)
        return len(rows)

    # -- looking --------------------------------------------------------------------------------

    def get(self, approval_id: UUID) -> Approval:
        """One request.

        Raises:
            NotFound: ``approval.not_found``.
        """
        with self._db.read() as tx:
            return fetch(tx, approval_id)

    def list(
        self,
        *,
        state: str | None = None,
        not_by: str | None = None,
        since: datetime | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Sequence[Approval]:
        """Requests, newest first. ``not_by`` leaves out those a person asked for themselves;
        ``after`` is the last id of the page before.
        """
        query = sa.select(approval).order_by(approval.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(approval.c.state == state)
        if not_by is not None:
            query = query.where(approval.c.requested_by != not_by)
        if since is not None:
            query = query.where(approval.c.requested_at >= since)
        if after is not None:
            query = query.where(approval.c.id < after)
        with self._db.read() as tx:
            return [_approval(row) for row in tx.execute(query)]


def fetch(tx: sa.Connection, approval_id: UUID) -> Approval:
    """One request, inside a transaction.

    Raises:
        NotFound: ``approval.not_found``.
    """
    row = tx.execute(sa.select(approval).where(approval.c.id == approval_id)).one_or_none()
    if row is None:
        raise NotFound("approval.not_found", field="id", id=ids.encode("approval", approval_id))
    return _approval(row)


def _approval(row: sa.Row[Any]) -> Approval:
    return Approval(**{name: getattr(row, name) for name in Approval.__dataclass_fields__})


def _need(reason: str) -> None:
    if not reason.strip():
        raise InvalidInput("reason.missing", field="reason")
