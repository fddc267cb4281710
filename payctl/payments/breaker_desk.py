"""Breakers as an operator sees and turns them: show, reset, open by force."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import sqlalchemy as sa

from payctl.db.actor import Actor
from payctl.db.approvals import Approvals, fetch
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.operators import require
from payctl.errors import ApprovalRequired, Conflict, InvalidInput, NotFound
from payctl.gateways.base import Gateway
from payctl.ids import encode
from payctl.payments import breaker_store as store
from payctl.payments.breaker import Breakers
from payctl.payments.breaker_model import (
    WINDOW_MINUTES,
    Breaker,
    Verdict,
    closed,
    forced_open,
    look,
    minute_of,
    often_slow,
)
from payctl.payments.gateway_tables import OP_CLASSES, breaker_change
from payctl.payments.requests import check_reason

T = TypeVar("T")

APPROVAL_KIND = "breaker_force"
#: The audit's word for opening by force.
FORCED = "breaker.forced_open"
#: Forcing a breaker open for longer than this needs a second person (payments design, 7).
FREE_FORCE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class BreakerView:
    """One breaker with the last minutes' counts. ``slow`` is a warning: calls come close to their
    deadline."""

    account: str
    op_class: str
    verdict: Verdict
    since: datetime | None
    open_count: int
    forced_by: str | None
    calls: int
    failed: int
    limited: int
    slow: bool


@dataclass(frozen=True, slots=True)
class _Turn:
    """Who turns which breaker, and why."""

    actor: Actor
    account: str
    op_class: str
    reason: str
    action: str


@dataclass(frozen=True, slots=True)
class Change:
    """One change of state in the history."""

    op_class: str
    from_state: str
    to_state: str
    reason: str | None
    actor: str
    at: datetime


class BreakerDesk:
    """What operators do with breakers.

    Args:
        gateways: the configured gateways by account.
    """

    def __init__(
        self,
        db: Database,
        gateways: Mapping[str, Gateway],
        breakers: Breakers,
        approvals: Approvals,
    ) -> None:
        self._db = db
        self._gateways = gateways
        self._breakers = breakers
        self._approvals = approvals

    def show(self, account: str | None = None) -> list[BreakerView]:
        """Every breaker of the configured gateways that was ever used, or all of one account.

        Raises:
            NotFound: ``gateway.not_found``.
        """
        if account is not None:
            self._known(account)
        with self._db.read() as tx:
            states, now = store.read_all(self._db, tx)
            since = minute_of(now) - WINDOW_MINUTES + 1
            counts = {each: store.totals(tx, each, since) for each in OP_CLASSES}
        names = [account] if account is not None else sorted(self._gateways)
        views = []
        for name in names:
            for op_class in OP_CLASSES:
                state, seen = states.get((name, op_class)), counts[op_class].get(name, {})
                if account is not None or state is not None or seen:
                    views.append(_view(name, op_class, state, seen, now))
        return views

    def history(self, account: str, limit: int = 20) -> list[Change]:
        """The latest changes of an account's breakers, newest first."""
        c = breaker_change.c
        with self._db.read() as tx:
            rows = tx.execute(
                sa.select(c.op_class, c.from_state, c.to_state, c.reason, c.actor, c.at)
                .where(c.account == account)
                .order_by(c.id.desc())
                .limit(limit)
            ).all()
        return [Change(*row) for row in rows]

    def reset(
        self, actor: Actor, account: str, op_class: str, *, reason: str, dry_run: bool = False
    ) -> BreakerView:
        """Close a breaker, whatever opened it; the only way out after refused credentials.

        Raises:
            Forbidden: ``operator.not_allowed``.
            NotFound: ``gateway.not_found``.
            InvalidInput: ``choice.unknown``, ``reason.missing``.
        """
        why = self._allowed(actor, account, op_class, reason)
        turn = _Turn(actor, account, op_class, why, "breaker.reset")
        return self._run(lambda tx: self._turned(tx, turn, closed), dry_run)

    def open(
        self,
        actor: Actor,
        account: str,
        op_class: str,
        *,
        reason: str,
        lasting: timedelta | None,
        dry_run: bool = False,
    ) -> BreakerView:
        """Open a breaker by force, for a while or (``None``) until it is reset.

        Raises:
            Forbidden: ``operator.not_allowed``.
            NotFound: ``gateway.not_found``.
            InvalidInput: ``choice.unknown``, ``reason.missing``, ``breaker.no_time``.
            ApprovalRequired: ``breaker.approval_required`` above an hour; the request was written,
                and the breaker opens once a second person approves it.
        """
        why = self._allowed(actor, account, op_class, reason)
        if lasting is not None and lasting <= timedelta():
            raise InvalidInput("breaker.no_time", field="for")
        turn = _Turn(actor, account, op_class, why, FORCED)

        def work(tx: sa.Connection) -> BreakerView | UUID:
            waiting = None if dry_run else self._ask(tx, turn, lasting)
            return waiting or self._turned(tx, turn, _forced(actor.name, lasting))

        done = self._run(work, dry_run)
        if isinstance(done, UUID):
            raise ApprovalRequired("breaker.approval_required", approval=encode("approval", done))
        return done

    def apply(self, actor: Actor, approval_id: UUID) -> BreakerView:
        """Open a breaker as approved; its time counts from now.

        Raises:
            Conflict: ``approval.not_granted``.
        """
        with self._db.transaction() as tx:
            asked = fetch(tx, approval_id)
            if asked.kind != APPROVAL_KIND:
                raise Conflict("approval.not_granted", id=str(approval_id))
            self._approvals.use(tx, actor, approval_id, asked.content)
            account, op_class = str(asked.content["account"]), str(asked.content["op_class"])
            seconds = asked.content["seconds"]
            lasting = timedelta(seconds=int(seconds)) if seconds is not None else None
            turn = _Turn(actor, account, op_class, asked.reason, FORCED)
            done = self._turned(tx, turn, _forced(asked.requested_by, lasting))
        self._breakers.forget()
        return done

    # -- shared -----------------------------------------------------------------------------------

    def _ask(self, tx: sa.Connection, turn: _Turn, lasting: timedelta | None) -> UUID | None:
        """The request that now waits for a second person, or ``None`` when none is needed."""
        seconds = int(lasting.total_seconds()) if lasting is not None else None
        content = {"account": turn.account, "op_class": turn.op_class, "seconds": seconds}
        if lasting is not None and lasting <= FREE_FORCE:
            return None
        if self._approvals.needed(tx, APPROVAL_KIND, None, None, turn.actor) is None:
            return None
        return self._approvals.request(
            tx,
            turn.actor,
            kind=APPROVAL_KIND,
            subject_kind="breaker",
            subject_id=None,
            amount_minor=None,
            currency=None,
            content=content,
            reason=turn.reason,
        )

    def _turned(
        self, tx: sa.Connection, turn: _Turn, change: Callable[[Breaker, datetime], Breaker]
    ) -> BreakerView:
        before, now = store.lock(self._db, tx, turn.account, turn.op_class)
        after = change(before, now)
        detail = {"reason": turn.reason}
        store.write(self._db, tx, before, after, actor=turn.actor.name, now=now, detail=detail)
        data = {"account": turn.account, "op_class": turn.op_class, "before": str(before.state)}
        data |= {"state": str(after.state), "reason_before": str(before.reason or "")}
        record(self._db, tx, turn.actor, turn.action, "breaker", None, data, turn.reason)
        return _view(turn.account, turn.op_class, after, {}, now)

    def _run(self, work: Callable[[sa.Connection], T], dry_run: bool) -> T:
        if dry_run:
            with self._db.rehearsal() as tx:
                return work(tx)
        done = self._db.run(work)
        self._breakers.forget()
        return done

    def _allowed(self, actor: Actor, account: str, op_class: str, reason: str) -> str:
        require(actor, "gateway.control")
        self._known(account)
        if op_class not in OP_CLASSES:
            allowed = ", ".join(OP_CLASSES)
            raise InvalidInput(
                "choice.unknown", field="class", value=op_class[:40], allowed=allowed
            )
        return check_reason(reason)

    def _known(self, account: str) -> None:
        if account not in self._gateways:
            known = ", ".join(sorted(self._gateways)) or "-"
            raise NotFound("gateway.not_found", field="gateway", gateway=account[:60], known=known)


def _forced(name: str, lasting: timedelta | None) -> Callable[[Breaker, datetime], Breaker]:
    def force(before: Breaker, now: datetime) -> Breaker:
        return forced_open(before, name, now, now + lasting if lasting is not None else None)

    return force


def _view(
    account: str,
    op_class: str,
    state: Breaker | None,
    seen: Mapping[str, int],
    now: datetime,
) -> BreakerView:
    failed = seen.get("tech_fail", 0) + seen.get("not_sent", 0)
    calls = seen.get("ok", 0) + seen.get("refused", 0) + failed
    return BreakerView(
        account=account,
        op_class=op_class,
        verdict=look(state, now) if state is not None else Verdict(True),
        since=state.since if state is not None else None,
        open_count=state.open_count if state is not None else 0,
        forced_by=state.forced_by if state is not None else None,
        calls=calls,
        failed=failed,
        limited=seen.get("limited", 0),
        slow=often_slow(seen.get("slow", 0), calls),
    )
