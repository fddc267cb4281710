"""Cases: what payctl cannot decide by itself, and what a person decided.

A case is opened in the transaction that met the matter, once however often it is met, and stays
until somebody resolves it with evidence or the matter resolves itself. Its history is append-only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.cases import store
from payctl.cases.model import (
    DEFAULT,
    KINDS,
    STATES,
    Case,
    CaseEvent,
    Resolver,
    checked_evidence,
    content_of,
    scrubbed,
)
from payctl.db.actor import Actor
from payctl.db.approvals import Approvals, content_hash, fetch
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.db.tables import operator
from payctl.errors import ApprovalRequired, Conflict, InvalidInput, NotFound
from payctl.ids import encode
from payctl.notifications.outbox import Outbox

_MAX_TURNS = 10
#: Which case a transaction is resolving, so that the resolver's own work does not close it first.
_RESOLVING = "payctl_resolving_case"


class Cases:
    """Opens, lists, assigns and resolves cases.

    ``resolvers`` maps a kind to what resolving it does; other floors register theirs there.
    """

    def __init__(self, db: Database, outbox: Outbox, approvals: Approvals | None = None) -> None:
        self._db = db
        self._outbox = outbox
        self._approvals = approvals or Approvals(db)
        self.resolvers: dict[str, Resolver] = {}

    # -- in the caller's transaction ------------------------------------------------------------

    def open(
        self,
        tx: sa.Connection,
        *,
        kind: str,
        subject_kind: str,
        subject_id: UUID | None,
        dedupe_key: str,
        actor: Actor,
        detail: Mapping[str, Any],
        gateway: str | None = None,
        amount_minor: int | None = None,
        currency: str | None = None,
    ) -> UUID:
        """Open a case, or return the one that is already unresolved for *dedupe_key*.

        Args:
            amount_minor: money at risk in minor units of *currency*; both or none.
            detail: what is known, for the operator; card numbers in it are scrubbed.
        """
        now = self._db.clock.now()
        values = {
            "id": self._db.ids.new(),
            "kind": kind,
            "state": "open",
            "dedupe_key": dedupe_key,
            "subject_kind": subject_kind,
            "subject_id": subject_id,
            "gateway": gateway,
            "amount_minor": amount_minor,
            "currency": currency,
            "detail": scrubbed(detail),
            "opened_at": now,
            "opened_by": actor.name,
            "due_at": now + KINDS.get(kind, DEFAULT).due_after,
        }
        for _turn in range(_MAX_TURNS):
            if store.insert(tx, values, is_sqlite=self._db.is_sqlite):
                case = store.get(tx, values["id"])
                self._event(tx, actor, case, "opened", {"kind": kind})
                return case.id
            known = store.unresolved(tx, dedupe_key)
            if known is not None:
                return known
        raise AssertionError("a case is opened and resolved again and again")

    def is_open(self, tx: sa.Connection, dedupe_key: str) -> bool:
        """Whether an unresolved case of this matter is there."""
        return store.unresolved(tx, dedupe_key) is not None

    def close(
        self, tx: sa.Connection, dedupe_key: str, *, resolution: str, evidence: str, actor: Actor
    ) -> bool:
        """Resolve the case of a matter that has answered itself; says whether there was one."""
        case_id = store.unresolved(tx, dedupe_key)
        if case_id is None or tx.info.get(_RESOLVING) == case_id:
            return False
        case = store.update(
            tx,
            case_id,
            state="resolved",
            resolution=resolution,
            evidence=evidence or resolution,
            resolved_by=actor.name,
            resolved_at=self._db.clock.now(),
        )
        if case is None:
            return False
        self._event(tx, actor, case, "closed", {"resolution": resolution, "evidence": evidence})
        return True

    # -- looking --------------------------------------------------------------------------------

    def get(self, case_id: UUID) -> Case:
        """One case.

        Raises:
            NotFound: ``case.not_found``.
        """
        with self._db.read() as tx:
            return store.get(tx, case_id)

    def history(self, case_id: UUID) -> Sequence[CaseEvent]:
        """What was done about a case, oldest first."""
        with self._db.read() as tx:
            return store.events(tx, case_id)

    def list(
        self,
        *,
        kind: str | None = None,
        state: str | None = "unresolved",
        assigned: str | None = None,
        subject_id: UUID | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Sequence[Case]:
        """Cases by amount at risk: the largest first within each currency (amounts of different
        currencies are never compared), then those that put no money at risk, oldest first.

        Args:
            state: one of ``STATES``, or ``None`` for all.
            after: the last case of the page before.

        Raises:
            InvalidInput: ``case.unknown_state``. NotFound: ``case.not_found`` for *after*.
        """
        if state is not None and state not in STATES:
            raise InvalidInput(
                "case.unknown_state", field="status", state=state[:40], known=", ".join(STATES)
            )
        where = store.conditions(kind=kind, state=state, assigned=assigned, subject_id=subject_id)
        with self._db.read() as tx:
            last = store.get(tx, after) if after is not None else None
            return store.listing(tx, where, last, limit)

    def resolutions(self, kind: str) -> tuple[str, ...]:
        """The words a case of this kind can be resolved with."""
        resolver = self.resolvers.get(kind)
        return resolver.resolutions if resolver else KINDS.get(kind, DEFAULT).resolutions

    # -- working --------------------------------------------------------------------------------

    def assign(self, actor: Actor, case_id: UUID, to: str | None, *, dry_run: bool = False) -> Case:
        """Give a case to the operator named *to*, or back to everyone (``None``).

        Raises:
            Forbidden: ``operator.not_allowed``. NotFound: ``case.not_found``,
                ``operator.not_found``. Conflict: ``case.already_resolved``.
        """
        require(actor, "case.work")
        with self._db.rehearsal() if dry_run else self._db.transaction() as tx:
            before = store.get(tx, case_id)
            if to is not None:
                _check_operator(tx, to)
            state = "assigned" if to is not None else "open"
            case = store.update(tx, case_id, state=state, assigned_to=to)
            if case is None:
                raise _resolved(store.get(tx, case_id))
            data = {"from": before.assigned_to, "to": to}
            self._event(tx, actor, case, "assigned", data)
            record(self._db, tx, actor, "case.assigned", "case", case_id, data)
        return case

    def resolve(
        self,
        actor: Actor,
        case_id: UUID,
        resolution: str,
        evidence: str,
        *,
        dry_run: bool = False,
    ) -> Case:
        """Decide a case on evidence, and do what the decision means, in one commit.

        Args:
            resolution: one of :meth:`resolutions`.
            evidence: what the decision rests on: a provider's reference, a ticket, a sentence.
            dry_run: run everything and roll it back.

        Raises:
            Forbidden: ``operator.not_allowed``.
            InvalidInput: ``case.evidence_missing``, ``case.evidence_too_long``,
                ``case.evidence_has_card``, ``case.unknown_resolution``.
            NotFound: ``case.not_found``. Conflict: ``case.already_resolved``.
            ApprovalRequired: ``case.approval_required``; the request is made and committed.
        """
        require(actor, "case.resolve")
        text = checked_evidence(evidence)
        waiting: UUID | None = None
        with self._db.rehearsal() if dry_run else self._db.transaction() as tx:
            case = self._resolvable(tx, case_id, resolution)
            content = content_of(case, resolution, text)
            if self._needs_approval(tx, actor, case, resolution, content):
                waiting = self._ask(tx, actor, case, content)
            else:
                case = self._carry_out(tx, actor, case, resolution, text, actor.name)
        if waiting is not None:
            raise ApprovalRequired(
                "case.approval_required",
                case=encode("case", case_id),
                approval=encode("approval", waiting),
            )
        return case

    def resolve_approved(self, actor: Actor, approval_id: UUID) -> Case:
        """Carry out the resolution that *approval_id* was given for; *actor* is who approved it.

        Raises:
            Conflict: ``approval.not_granted``, ``case.already_resolved``.
        """
        with self._db.transaction() as tx:
            approval = fetch(tx, approval_id)
            if approval.kind != "case_resolve" or approval.subject_id is None:
                raise Conflict("approval.not_granted", id=encode("approval", approval_id))
            resolution = str(approval.content["resolution"])
            evidence = str(approval.content["evidence"])
            case = self._resolvable(tx, approval.subject_id, resolution)
            if not self._approvals.granted(tx, approval_id, content_of(case, resolution, evidence)):
                raise Conflict("approval.not_granted", id=encode("approval", approval_id))
            return self._carry_out(tx, actor, case, resolution, evidence, approval.requested_by)

    # -- steps ----------------------------------------------------------------------------------

    def _resolvable(self, tx: sa.Connection, case_id: UUID, resolution: str) -> Case:
        case = store.get(tx, case_id)
        if case.state == "resolved":
            raise _resolved(case)
        known = self.resolutions(case.kind)
        if resolution not in known:
            raise InvalidInput(
                "case.unknown_resolution",
                field="as",
                resolution=resolution[:40],
                kind=case.kind,
                known=", ".join(known),
            )
        return case

    def _needs_approval(
        self,
        tx: sa.Connection,
        actor: Actor,
        case: Case,
        resolution: str,
        content: Mapping[str, Any],
    ) -> bool:
        resolver = self.resolvers.get(case.kind)
        if resolver is None or resolution not in resolver.four_eyes:
            return False
        if case.approval_id is not None and self._approvals.granted(tx, case.approval_id, content):
            return False
        why = self._approvals.needed(tx, "case_resolve", case.amount_minor, case.currency, actor)
        return why is not None

    def _ask(self, tx: sa.Connection, actor: Actor, case: Case, content: Mapping[str, Any]) -> UUID:
        """Request a second person, unless the same request is still waiting."""
        if case.approval_id is not None:
            known = fetch(tx, case.approval_id)
            fresh = known.state == "pending" and known.expires_at > self._db.clock.now()
            if fresh and content_hash(known.content) == content_hash(content):
                return known.id
        approval_id = self._approvals.request(
            tx,
            actor,
            kind="case_resolve",
            subject_kind="case",
            subject_id=case.id,
            amount_minor=case.amount_minor,
            currency=case.currency,
            content=content,
            reason=str(content["evidence"]),
        )
        if store.update(tx, case.id, approval_id=approval_id) is None:
            raise _resolved(store.get(tx, case.id))
        data = {"approval": encode("approval", approval_id), **content}
        self._event(tx, actor, case, "approval_requested", data)
        return approval_id

    def _carry_out(
        self,
        tx: sa.Connection,
        actor: Actor,
        case: Case,
        resolution: str,
        evidence: str,
        resolved_by: str,
    ) -> Case:
        """The resolver first (it locks the payment, as every other change of it does), then the
        case: the other way round would wait in a circle with a webhook for the same payment.
        """
        resolver = self.resolvers.get(case.kind)
        if resolver is not None:
            tx.info[_RESOLVING] = case.id
            try:
                resolver.act(tx, actor, case, resolution, evidence)
            finally:
                tx.info.pop(_RESOLVING, None)
        done = store.update(
            tx,
            case.id,
            state="resolved",
            resolution=resolution,
            evidence=evidence,
            resolved_by=resolved_by,
            resolved_at=self._db.clock.now(),
        )
        if done is None:
            raise _resolved(store.get(tx, case.id))
        data = {"resolution": resolution, "evidence": evidence, "resolved_by": resolved_by}
        self._event(tx, actor, done, "resolved", data)
        record(self._db, tx, actor, "case.resolved", "case", case.id, data, evidence)
        return done

    def _event(
        self, tx: sa.Connection, actor: Actor, case: Case, action: str, data: Mapping[str, Any]
    ) -> None:
        store.add_event(
            tx,
            {
                "id": self._db.ids.new(),
                "case_id": case.id,
                "at": self._db.clock.now(),
                "actor": actor.name,
                "action": action,
                "data": dict(data),
            },
        )
        if action == "approval_requested":
            return
        self._outbox.append(
            tx,
            {"closed": "case.resolved"}.get(action, f"case.{action}"),
            "case",
            case.id,
            {
                "kind": case.kind,
                "status": case.state,
                "amount_minor": case.amount_minor,
                "currency": case.currency,
                "subject": case.subject_kind,
                "resolution": case.resolution,
            },
        )


def _check_operator(tx: sa.Connection, name: str) -> None:
    query = sa.select(operator.c.id).where(operator.c.name == name, operator.c.state == "active")
    if tx.execute(query).first() is None:
        raise NotFound("operator.not_found", field="to", name=name[:60])


def _resolved(case: Case) -> Conflict:
    return Conflict(
        "case.already_resolved",
        id=encode("case", case.id),
        resolution=str(case.resolution),
        by=str(case.resolved_by),
    )
