"""The list of routing rules in force, its history, and changing it with a second person's yes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
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
from payctl.payments.gateway_state import current_rules
from payctl.payments.gateway_tables import route_rules
from payctl.payments.requests import check_reason
from payctl.payments.route_rule_file import MAX_RULES, read_file, read_rules
from payctl.payments.route_rules import Rule, from_json

APPROVAL_KIND = "routing_change"


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One version of the whole list. Version 0 is the empty list a book begins with."""

    version: int
    rules: tuple[Rule, ...]
    reason: str = ""
    actor: str = ""
    at: datetime | None = None


class RuleBook:
    """The routing rules of a book.

    Args:
        gateways: the configured gateways; a rule may name only these.
        changed: called after each change, so that this process routes by it at once.
    """

    def __init__(
        self,
        db: Database,
        gateways: Mapping[str, Gateway],
        approvals: Approvals,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._db = db
        self._gateways = gateways
        self._approvals = approvals
        self._changed = changed

    def current(self) -> RuleSet:
        """The list in force."""
        with self._db.read() as tx:
            return self._current(tx)

    def history(self, limit: int = 50) -> list[RuleSet]:
        """The latest lists, newest first; their rules are left out."""
        c = route_rules.c
        with self._db.read() as tx:
            rows = tx.execute(
                sa.select(c.version, c.reason, c.actor, c.at)
                .order_by(c.version.desc())
                .limit(limit)
            ).all()
        return [RuleSet(row.version, (), row.reason, row.actor, row.at) for row in rows]

    def load(
        self,
        actor: Actor,
        path: Path,
        *,
        reason: str,
        dry_run: bool = False,
    ) -> RuleSet:
        """Replace the whole list by a file's.

        Raises:
            Forbidden: ``operator.not_allowed``.
            InvalidInput: what is wrong with the file; nothing is loaded.
            ApprovalRequired: ``route.approval_required``; the request was written, and the rules
                hold once a second person approves it.
        """
        rules = read_file(path, self._names())
        return self._replace(actor, lambda before: rules, reason=reason, dry_run=dry_run)

    def add(
        self,
        actor: Actor,
        written: Mapping[str, Any],
        *,
        reason: str,
        place: int | None = None,
        dry_run: bool = False,
    ) -> RuleSet:
        """Add one rule, given with the keys of a rule file, at the end or at *place* (1 is first).

        Raises: as :meth:`load`, and ``InvalidInput`` ``route.rule_exists``, ``route.too_many``.
        """
        (rule,) = read_rules([written], self._names(), file="payctl gateways rules add")

        def added(before: tuple[Rule, ...]) -> tuple[Rule, ...]:
            if any(rule.name == other.name for other in before):
                raise InvalidInput("route.rule_exists", field="name", rule=rule.name)
            if len(before) >= MAX_RULES:
                raise InvalidInput("route.too_many", field="rule", limit=MAX_RULES)
            at = len(before) if place is None else min(max(place - 1, 0), len(before))
            return (*before[:at], rule, *before[at:])

        return self._replace(actor, added, reason=reason, dry_run=dry_run)

    def remove(
        self,
        actor: Actor,
        name: str,
        *,
        reason: str,
        dry_run: bool = False,
    ) -> RuleSet:
        """Take one rule out.

        Raises: as :meth:`load`, and ``NotFound`` ``route.rule_not_found``.
        """

        def without(before: tuple[Rule, ...]) -> tuple[Rule, ...]:
            after = tuple(rule for rule in before if rule.name != name)
            if len(after) == len(before):
                known = ", ".join(rule.name for rule in before) or "-"
                raise NotFound("route.rule_not_found", field="name", rule=name[:80], known=known)
            return after

        return self._replace(actor, without, reason=reason, dry_run=dry_run)

    def apply(self, actor: Actor, approval_id: UUID) -> RuleSet:
        """Put an approved list into force.

        Raises:
            Conflict: ``approval.not_granted``, ``route.changed_meanwhile`` when another list came
                into force since it was asked for.
        """
        with self._db.transaction() as tx:
            asked = fetch(tx, approval_id)
            if asked.kind != APPROVAL_KIND:
                raise Conflict("approval.not_granted", id=str(approval_id))
            self._approvals.use(tx, actor, approval_id, asked.content)
            before = self._current(tx)
            if before.version != asked.content["replaces"]:
                raise Conflict("route.changed_meanwhile", version=before.version)
            rules = tuple(from_json(each) for each in asked.content["rules"])
            new = self._write(tx, actor, before, rules, asked.reason)
        self._changed()
        return new

    # -- the change itself ------------------------------------------------------------------------

    def _replace(
        self,
        actor: Actor,
        change: Callable[[tuple[Rule, ...]], tuple[Rule, ...]],
        *,
        reason: str,
        dry_run: bool,
    ) -> RuleSet:
        require(actor, "routing.manage")
        why = check_reason(reason)

        def work(tx: sa.Connection) -> RuleSet | UUID:
            before = self._current(tx)
            rules = change(before.rules)
            waiting = self._ask(tx, actor, before, rules, why)
            return waiting or self._write(tx, actor, before, rules, why)

        if dry_run:
            with self._db.rehearsal() as tx:
                before = self._current(tx)
                return self._write(tx, actor, before, change(before.rules), why)
        done = self._db.run(work)
        if isinstance(done, UUID):
            raise ApprovalRequired("route.approval_required", approval=encode("approval", done))
        self._changed()
        return done

    def _ask(
        self,
        tx: sa.Connection,
        actor: Actor,
        before: RuleSet,
        rules: Sequence[Rule],
        reason: str,
    ) -> UUID | None:
        """The request that now waits for a second person, or ``None`` when none is needed.

        The content names the version it replaces: it is void once another change came first.
        """
        content = {"replaces": before.version, "rules": [rule.as_json() for rule in rules]}
        if self._approvals.needed(tx, APPROVAL_KIND, None, None, actor) is None:
            return None
        return self._approvals.request(
            tx,
            actor,
            kind=APPROVAL_KIND,
            subject_kind="route_rules",
            subject_id=None,
            amount_minor=None,
            currency=None,
            content=content,
            reason=reason,
        )

    def _write(
        self,
        tx: sa.Connection,
        actor: Actor,
        before: RuleSet,
        rules: tuple[Rule, ...],
        reason: str,
    ) -> RuleSet:
        new = RuleSet(before.version + 1, rules, reason, actor.name, self._db.clock.now())
        stored = [rule.as_json() for rule in rules]
        try:
            with tx.begin_nested():
                tx.execute(
                    route_rules.insert().values(
                        version=new.version,
                        rules=stored,
                        reason=reason,
                        actor=actor.name,
                        at=new.at,
                    )
                )
        except sa.exc.IntegrityError:
            raise Conflict("route.changed_meanwhile", version=new.version) from None
        data = {"version": new.version, "rules": stored}
        record(self._db, tx, actor, "route.rules_set", "route_rules", None, data, reason)
        return new

    @staticmethod
    def _current(tx: sa.Connection) -> RuleSet:
        version, rules = current_rules(tx)
        c = route_rules.c
        row = tx.execute(
            sa.select(c.reason, c.actor, c.at).where(c.version == version)
        ).one_or_none()
        return RuleSet(0, ()) if row is None else RuleSet(version, rules, *row)

    def _names(self) -> frozenset[str]:
        return frozenset(self._gateways) | {each.name for each in self._gateways.values()}
