"""The first commit of a payment (T1 and T2): key, payment, route decision and first attempt.

For one payment or for many at once, in one statement on PostgreSQL. Everything is decided before,
from what this process knows of gateways and rules, so that the commit only writes; the database has
the last word on keys and on live attempts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl import log
from payctl.db import audit, rows
from payctl.db.actor import Actor
from payctl.db.driver import driver_execute
from payctl.db.engine import Database
from payctl.db.tables import idempotency as keys
from payctl.db.tally import metric_delta
from payctl.errors import Conflict, InvalidInput, PayctlError
from payctl.notifications import outbox
from payctl.notifications.tables import notification
from payctl.parties.service import Parties
from payctl.parties.tables import party
from payctl.payments import counted, store
from payctl.payments import tables as t
from payctl.payments.announcements import announcement
from payctl.payments.breaker import Breakers
from payctl.payments.dispatch import Dispatch
from payctl.payments.model import LEASE, Operation, PaymentStatus
from payctl.payments.records import Attempt, Payment, row_of
from payctl.payments.requests import SCOPE, PaymentInput
from payctl.payments.routing import Decision, Router, RouteRequest
from payctl.payments.unroutable import refusal


@dataclass(frozen=True, slots=True)
class Begun:
    """A payment that is written down.

    Attributes:
        attempt: what is to be sent now; ``None`` when no gateway can take it.
        probe: token of the breaker's probe it is.
        replayed: it had been written under the same key before, and nothing is to be sent for it
            here.
        correlation_id: the caller's, where it named one.
    """

    payment: Payment
    attempt: Attempt | None
    probe: str = ""
    replayed: bool = False
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Planned:
    """A payment about to be written: its rows."""

    wanted: PaymentInput
    begun: Begun
    key: rows.Row
    told: rows.Row
    audited: dict[str, Any]


class Intake:
    """Writes down payments before anything is sent for them."""

    def __init__(
        self,
        db: Database,
        router: Router,
        breakers: Breakers,
        dispatch: Dispatch,
        parties: Parties,
    ) -> None:
        self._db = db
        self._router = router
        self._breakers = breakers
        self._dispatch = dispatch
        self._parties = parties
        self._known_parties: set[str] = set()

    def begin(
        self, actor: Actor, wanted: Sequence[PaymentInput], tx: sa.Connection | None = None
    ) -> list[Begun | PayctlError]:
        """Write down all of *wanted*, which are valid; one result for each, in order.

        A key that is taken gives the payment it stands for, or ``key.reused`` when that was asked
        for with other words; the others are written all the same. What no gateway could ever take
        is refused (``route.no_currency``, ``no_method``, ``no_country``, ``no_amount``,
        ``no_manual_capture``), and nothing is written for it.

        Args:
            tx: write inside this transaction (a rehearsal); default: in one of its own.
        """
        results: dict[int, Begun | PayctlError] = {}
        planned: dict[int, _Planned] = {}
        first: dict[str, int] = {}
        for place, each in enumerate(wanted):
            if each.key in first:
                continue
            first[each.key] = place
            with log.correlated(each.correlation_id):
                plan = self._plan(actor, each, tx)
            if isinstance(plan, _Planned):
                planned[place] = plan
            else:
                results[place] = plan
        if results:
            # A key that stands for a payment answers with it, whatever gateways take today.
            taken = self._taken([wanted[place] for place in results], tx)
            results = {at: taken.get(wanted[at].key, each) for at, each in results.items()}
        while planned:
            if self._write(list(planned.values()), tx):
                results |= {place: one.begun for place, one in planned.items()}
                break
            taken = self._taken([one.wanted for one in planned.values()], tx)
            for place in [at for at, one in planned.items() if one.wanted.key in taken]:
                dropped = planned.pop(place)
                results[place] = taken[dropped.wanted.key]
                self._give_back(dropped)
        self._same_again(wanted, first, results)
        return [results[place] for place in range(len(wanted))]

    def _same_again(
        self,
        wanted: Sequence[PaymentInput],
        first: Mapping[str, int],
        results: dict[int, Begun | PayctlError],
    ) -> None:
        """Answer those whose key stands earlier in the same row of payments."""
        for place, each in enumerate(wanted):
            if place in results:
                continue
            leader = results[first[each.key]]
            if wanted[first[each.key]].fingerprint() != each.fingerprint():
                results[place] = Conflict("key.reused", field="key", key=each.key)
            elif isinstance(leader, Begun):
                results[place] = Begun(leader.payment, None, replayed=True)
            else:
                results[place] = leader

    def route_request(
        self,
        what: PaymentInput | Payment,
        payment_id: UUID,
        tried: frozenset[str] = frozenset(),
        at: datetime | None = None,
    ) -> RouteRequest:
        """What routing needs to know of a payment, now or *at* a moment; accounts that were *tried*
        are left out.
        """
        return RouteRequest(
            amount_minor=what.amount_minor,
            currency=what.currency,
            at=at or self._db.clock.now(),
            country=what.country,
            method=what.method,
            organiser=what.organiser,
            phone=what.phone,
            preferred=tuple(what.preferred),
            exclude=tried,
            needs=frozenset({"manual_capture"}) if what.manual_capture else frozenset(),
            key=payment_id.hex,
        )

    # -- planning ---------------------------------------------------------------------------------

    def _plan(
        self, actor: Actor, wanted: PaymentInput, tx: sa.Connection | None
    ) -> _Planned | InvalidInput:
        """The rows of a payment, or why no gateway could ever take it."""
        now, ids = self._db.clock.now(), self._db.ids
        payment_id, attempt_id = ids.several(2, now)
        request = self.route_request(wanted, payment_id, at=now)
        decision = self._router.decide(tx, request)
        if decision.chosen is None and (refused := refusal(request, decision)) is not None:
            return refused
        attempt = None
        if decision.chosen is not None:
            attempt = self._dispatch.draft(
                attempt_id, now, payment_id, Operation.COLLECT, decision.chosen,
                wanted.amount_minor, wanted.currency,
            )  # fmt: skip
        payment = _payment(wanted, payment_id, now, actor, decision, attempt)
        kind, data = f"payment.{payment.status}", announcement(payment)
        told_id, audited_id = ids.several(2, now)
        return _Planned(
            wanted,
            Begun(payment, attempt, decision.probe, correlation_id=wanted.correlation_id),
            key={
                "scope": SCOPE, "key": wanted.key, "fingerprint": wanted.fingerprint(),
                "outcome": "created", "subject_id": payment_id, "response": None,
                "created_at": now,
            },
            told=outbox.row(told_id, now, kind, "payment", payment_id, 1, data),
            audited=audit.row(audited_id, now, actor, kind, "payment", payment_id, data),
        )  # fmt: skip

    def _give_back(self, planned: _Planned) -> None:
        """A probe that was claimed for a payment which is not sent after all."""
        begun = planned.begun
        if begun.probe and begun.attempt is not None:
            self._breakers.release(None, begun.attempt.gateway_account, "collect", begun.probe)

    # -- writing ----------------------------------------------------------------------------------

    def _write(self, planned: Sequence[_Planned], tx: sa.Connection | None) -> bool:
        """All of them, or nothing because a key is taken."""
        # One order of keys for all writers, so that two never wait for each other.
        ordered = sorted(planned, key=lambda each: each.wanted.key)
        refs = {each.wanted.organiser for each in ordered} - self._known_parties
        document: dict[str, Sequence[rows.Row]] = {
            "party": [self._parties.fresh(ref) for ref in sorted(refs)],
            "idempotency": [each.key for each in ordered],
            "payment": [row_of(each.begun.payment) for each in ordered],
            "payment_line": [line for each in ordered for line in _lines(each)],
            "attempt": [row_of(each.begun.attempt) for each in ordered if each.begun.attempt],
            "notification": [each.told for each in ordered],
            "metric_delta": counted.delta_rows(
                [counted.payment_cell(each.begun.payment) for each in ordered]
            ),
        }
        audited = [each.audited for each in ordered]

        def write(connection: sa.Connection) -> bool:
            if self._db.is_sqlite:
                return self._write_sqlite(connection, document, audited)
            text = rows.document({**document, "audit": audit.chainable(audited)})
            chain = audit.chain_of(self._db, connection)
            sql = "SELECT payments_begin($1, $2)"
            return bool(driver_execute(connection, sql, (text, chain)).fetchone()[0])

        done = write(tx) if tx is not None else self._db.at_once(write)
        if done and tx is None:
            self._known_parties |= refs
        return done

    def _write_sqlite(
        self, tx: sa.Connection, document: rows.Rows, audited: list[dict[str, Any]]
    ) -> bool:
        if not rows.claim_sqlite(tx, document["idempotency"]):
            return False
        rows.insert_sqlite(tx, party, document["party"], "ON CONFLICT (ref) DO NOTHING")
        for table in (t.payment, t.payment_line, t.attempt, notification, metric_delta):
            rows.insert_sqlite(tx, table, document[table.name])
        audit.append(self._db, tx, audited)
        return True

    def _taken(
        self, wanted: Iterable[PaymentInput], tx: sa.Connection | None
    ) -> dict[str, Begun | PayctlError]:
        """What the taken ones among the keys stand for."""
        asked = {each.key: each for each in wanted}
        query = sa.select(keys.c.key, keys.c.fingerprint, keys.c.subject_id).where(
            keys.c.scope == SCOPE, keys.c.key.in_(list(asked))
        )
        found: dict[str, Begun | PayctlError] = {}

        def read(connection: sa.Connection) -> None:
            for row in connection.execute(query).all():
                if row.fingerprint != asked[row.key].fingerprint():
                    found[row.key] = Conflict("key.reused", field="key", key=row.key)
                else:
                    payment = store.payment(connection, row.subject_id)
                    found[row.key] = Begun(payment, None, replayed=True)

        if tx is not None:
            read(tx)
        else:
            with self._db.read() as reading:
                read(reading)
        return found


def _payment(
    wanted: PaymentInput,
    payment_id: UUID,
    now: datetime,
    actor: Actor,
    decision: Decision,
    attempt: Attempt | None,
) -> Payment:
    """The payment as it is first written: on its way, or failed because nobody can take it."""
    sent = attempt is not None
    return Payment(
        id=payment_id,
        status=PaymentStatus.PROCESSING if sent else PaymentStatus.FAILED,
        amount_minor=wanted.amount_minor,
        currency=wanted.currency,
        method=wanted.method,
        country=wanted.country,
        sale_type=wanted.sale_type,
        manual_capture=wanted.manual_capture,
        order_ref=wanted.order,
        event_ref=wanted.event,
        organiser=wanted.organiser,
        user_ref=wanted.user,
        email=wanted.email,
        phone=wanted.phone,
        description=wanted.description,
        metadata=dict(wanted.metadata),
        return_url=wanted.return_url,
        cancel_url=wanted.cancel_url,
        preferred=list(wanted.preferred),
        payment_token=wanted.payment_token,
        expires_at=wanted.expires_at,
        gateway_account=decision.chosen,
        attempt_id=attempt.id if attempt is not None else None,
        failure_code=None if sent else "no_route",
        route=decision.as_json(),
        created_by=actor.name,
        created_at=now,
        updated_at=now,
        next_check_at=now + LEASE if sent else None,
    )


def _lines(planned: _Planned) -> list[dict[str, Any]]:
    payment_id = planned.begun.payment.id
    return [
        {"payment_id": payment_id, "no": number, **asdict(line)}
        for number, line in enumerate(planned.wanted.lines, 1)
    ]
