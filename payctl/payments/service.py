"""Taking payments.

One payment's way: claim the key, write payment and first attempt in one commit (T1 and T2), call
the provider with no transaction open, apply the answer in one commit (T3). After a definite no that
allows it, T3 also writes the next attempt, so there is never a payment without its next step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db import audit, idempotency
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.gateways.base import Answer, NextAction, Outcome
from payctl.ledger.model import Posted
from payctl.notifications.outbox import Outbox
from payctl.parties.service import Parties
from payctl.payments import store
from payctl.payments.announcements import announce
from payctl.payments.breaker import Breakers
from payctl.payments.dispatch import Dispatch, once_sent
from payctl.payments.model import (
    DEADLINE_S,
    LEASE,
    AttemptState,
    Operation,
    PaymentStatus,
    may_supersede,
)
from payctl.payments.outcomes import Applied, Outcomes
from payctl.payments.provider_requests import Target, describe, payment_request
from payctl.payments.records import Attempt, Payment
from payctl.payments.requests import PaymentInput
from payctl.payments.results import PaymentResult, view
from payctl.payments.routing import Decision, Router, RouteRequest

SCOPE = "payment"
#: Different gateways tried for one payment at most.
MAX_GATEWAYS = 5
#: How long a caller with a key that is being worked on waits for that work's answer.
REPLAY_WAIT_S = DEADLINE_S + 5
_REPLAY_STEP_S = 0.05


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What processing would do: the route, the request to the provider, and the entries."""

    result: PaymentResult
    route: Mapping[str, Any]
    request: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class _Begun:
    payment: Payment
    attempt: Attempt | None
    probe: str
    replayed: bool = False


class Payments:
    """Use cases of payments; each owns its transactions."""

    def __init__(
        self,
        db: Database,
        router: Router,
        breakers: Breakers,
        dispatch: Dispatch,
        outcomes: Outcomes,
        outbox: Outbox,
        parties: Parties,
    ) -> None:
        self._db = db
        self._parties = parties
        self._router = router
        self._breakers = breakers
        self._dispatch = dispatch
        self._outcomes = outcomes
        self._outbox = outbox

    # -- process --------------------------------------------------------------------------------

    def process(self, actor: Actor, wanted: PaymentInput) -> PaymentResult:
        """Take a payment. The same key with the same content returns the same payment and calls
        nobody; while another process works on it, this one waits for that answer.

        Raises:
            InvalidInput: the field that is wrong; nothing was written.
            Conflict: ``key.reused``.
            Forbidden, Unavailable.
        """
        require(actor, "payment.process")
        wanted = wanted.validated()
        begun = self._db.run(lambda tx: self._begin(tx, actor, wanted))
        if begun.replayed:
            return self._replay(begun.payment.id)
        journals: list[Posted] = []
        action: NextAction | None = None
        attempt, payment, probe = begun.attempt, begun.payment, begun.probe
        while attempt is not None:
            probes: list[str] = []

            def fail_over(
                tx: sa.Connection, failed_for: Payment, failed: Attempt, answer: Answer,
                probes: list[str] = probes,
            ) -> Attempt | None:  # fmt: skip
                return self._next_gateway(tx, actor, failed_for, probes)

            applied, answer = self._dispatch.send(
                attempt, Target(payment), actor=actor, fail_over=fail_over, probe=probe
            )
            journals.extend(applied.journals)
            action, payment, attempt = answer.next_action, applied.payment, applied.next_attempt
            probe = probes[-1] if probes else ""
            if attempt is None:
                with once_sent(payment.id):
                    attempt, payment, probe = self._leave_behind(actor, applied)
        with once_sent(payment.id):
            return view(self._db, payment.id, journals=tuple(journals), action=action)

    def rehearse(self, actor: Actor, wanted: PaymentInput) -> Rehearsal:
        """The real code of :meth:`process` in a transaction that is rolled back, with the
        provider's success taken for granted.
        """
        require(actor, "payment.process")
        wanted = wanted.validated()
        with self._db.rehearsal() as tx:
            begun = self._begin(tx, actor, wanted)
            if begun.replayed or begun.attempt is None:
                result = PaymentResult(begun.payment, (), begun.replayed)
                return Rehearsal(result, begun.payment.route or {}, None)
            success = Outcome.AUTHORIZED if wanted.manual_capture else Outcome.SUCCEEDED
            answer = Answer(success, amount_minor=wanted.amount_minor, currency=wanted.currency)
            applied = self._outcomes.apply(
                tx, begun.attempt.id, answer, source="rehearsal", call="create", actor=actor
            )
            request = describe(payment_request(begun.attempt, Target(begun.payment), DEADLINE_S))
            result = PaymentResult(applied.payment, (applied.attempt,), journals=applied.journals)
            return Rehearsal(result, begun.payment.route or {}, request)

    def _begin(self, tx: sa.Connection, actor: Actor, wanted: PaymentInput) -> _Begun:
        """T1 and T2 in one commit: key, payment, route decision, first attempt."""
        claim = idempotency.claim(self._db, tx, SCOPE, wanted.key, wanted.fingerprint())
        if not claim.new and claim.subject_id is not None:
            return _Begun(store.payment(tx, claim.subject_id), None, "", replayed=True)
        self._parties.open(tx, wanted.organiser)
        payment_id, attempt_id = self._db.ids.new(), self._db.ids.new()
        idempotency.settle(tx, SCOPE, wanted.key, "created", payment_id)
        decision = self._router.decide(tx, self._route_request(wanted, payment_id))
        row = self._row(wanted, payment_id, actor, decision, attempt_id)
        payment = store.insert_payment(tx, row, [asdict(line) for line in wanted.lines])
        announce(self._db, self._outbox, tx, payment, actor)
        if decision.chosen is None:
            return _Begun(payment, None, "")
        attempt = self._dispatch.prepare(
            tx, Target(payment), Operation.COLLECT, decision.chosen, payment.amount_minor,
            attempt_id=attempt_id,
        )  # fmt: skip
        return _Begun(payment, attempt, decision.probe)

    def _next_gateway(
        self, tx: sa.Connection, actor: Actor, payment: Payment, probes: list[str]
    ) -> Attempt | None:
        """The next gateway after a definite no, or ``None`` when none is left."""
        tried = {a.gateway_account for a in store.attempts(tx, payment.id, Operation.COLLECT)}
        if len(tried) >= MAX_GATEWAYS:
            return None
        decision = self._router.decide(
            tx, self._route_request(payment, payment.id, frozenset(tried))
        )
        if decision.chosen is None:
            return None
        attempt = self._dispatch.prepare(
            tx, Target(payment), Operation.COLLECT, decision.chosen, payment.amount_minor
        )
        steps = [*(payment.route or {}).get("fail_over", []), decision.as_json()]
        moved = store.update_payment(
            tx,
            payment,
            self._db.clock.now(),
            status=PaymentStatus.PROCESSING,
            gateway_account=decision.chosen,
            attempt_id=attempt.id,
            next_check_at=attempt.next_check_at,
            route={**(payment.route or {}), "fail_over": steps},
        )
        if moved.status is not payment.status:
            announce(self._db, self._outbox, tx, moved, actor)
        data = {"from": sorted(tried), "to": decision.chosen}
        audit.record(self._db, tx, actor, "payment.failed_over", "payment", moved.id, data)
        probes.append(decision.probe)
        return attempt

    def _leave_behind(self, actor: Actor, applied: Applied) -> tuple[Attempt | None, Payment, str]:
        """Fail over after an *unknown* outcome, where that is provably harmless: creating moves no
        money at this gateway and the customer was never shown the means to pay.
        """
        attempt, payment = applied.attempt, applied.payment
        capabilities = self._dispatch.gateway(attempt.gateway_account).capabilities
        if not may_supersede(capabilities, attempt.state, attempt.exposed_at is not None):
            return None, payment, ""

        def supersede(tx: sa.Connection) -> tuple[Attempt | None, Payment, str]:
            fresh = store.payment(tx, payment.id, lock=True)
            seen = store.attempt(tx, attempt.id)
            if not may_supersede(capabilities, seen.state, seen.exposed_at is not None):
                return None, fresh, ""
            probes: list[str] = []
            with tx.begin_nested() as savepoint:
                store.update_attempt(
                    tx, seen, self._db.clock.now(), state=AttemptState.SUPERSEDED,
                    next_check_at=None, lease_until=None,
                )  # fmt: skip
                following = self._next_gateway(tx, actor, fresh, probes)
                if following is None:
                    savepoint.rollback()
                    return None, fresh, ""
            return following, store.payment(tx, payment.id), probes[-1]

        return self._db.run(supersede)

    def _replay(self, payment_id: UUID) -> PaymentResult:
        """The answer of the first submission; waits while that is still being worked on."""
        deadline = self._db.clock.monotonic() + REPLAY_WAIT_S
        while True:
            result = view(self._db, payment_id, replayed=True)
            busy = any(
                a.state is AttemptState.SENDING and a.operation is Operation.COLLECT
                for a in result.attempts
            )
            if not busy or self._db.clock.monotonic() >= deadline:
                return result
            self._db.clock.sleep(_REPLAY_STEP_S)

    # -- shared ---------------------------------------------------------------------------------

    def _row(
        self,
        wanted: PaymentInput,
        payment_id: UUID,
        actor: Actor,
        decision: Decision,
        attempt_id: UUID,
    ) -> dict[str, Any]:
        """The payment as it is first written: on its way, or failed because nobody can take it."""
        fields = asdict(replace(wanted, lines=()))
        for name in ("key", "lines"):
            fields.pop(name)
        for name in ("order", "event", "user"):
            fields[f"{name}_ref"] = fields.pop(name)
        now, sent = self._db.clock.now(), decision.chosen is not None
        return {
            **fields,
            "id": payment_id,
            "status": PaymentStatus.PROCESSING if sent else PaymentStatus.FAILED,
            "failure_code": None if sent else "no_route",
            "preferred": list(wanted.preferred),
            "metadata": dict(wanted.metadata),
            "route": decision.as_json(),
            "gateway_account": decision.chosen,
            "attempt_id": attempt_id if sent else None,
            "needs_review": False,
            "late": False,
            "created_by": actor.name,
            "created_at": now,
            "updated_at": now,
            "next_check_at": now + LEASE if sent else None,
        }

    def _route_request(
        self, what: PaymentInput | Payment, payment_id: UUID, tried: frozenset[str] = frozenset()
    ) -> RouteRequest:
        return RouteRequest(
            amount_minor=what.amount_minor,
            currency=what.currency,
            at=self._db.clock.now(),
            country=what.country,
            method=what.method,
            organiser=what.organiser,
            phone=what.phone,
            preferred=tuple(what.preferred),
            exclude=tried,
            needs=frozenset({"manual_capture"}) if what.manual_capture else frozenset(),
            key=payment_id.hex,
        )
