"""The second commit of a payment (T3) where nothing got in between, for one payment or for many.

Most payments end here: the first answer to the first request, nobody else has touched the row, and
the answer is a plain one. Then everything the answer changes follows from what this process wrote
itself a moment ago, is decided without asking the database, and written by one statement that
compares versions. Whatever is less plain, or was changed meanwhile, goes the long way through
:meth:`payctl.payments.outcomes.Outcomes.apply`, which means the same (a test holds them against
each other).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import sqlalchemy as sa

from payctl import log
from payctl.commissions.rate_book import RateBook
from payctl.db import audit, rows
from payctl.db.actor import Actor
from payctl.db.driver import driver_execute
from payctl.db.engine import Database
from payctl.db.tally import metric_delta
from payctl.gateways.base import Answer
from payctl.ledger import posting
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Posted
from payctl.notifications import outbox
from payctl.notifications.tables import notification
from payctl.payments import breaker_store, counted, model, postings
from payctl.payments import tables as t
from payctl.payments.announcements import announcement
from payctl.payments.attempt_rows import attempt_columns, call_row
from payctl.payments.breaker import Breakers
from payctl.payments.model import RECEIVED, STATUS_OF, AttemptState, PaymentStatus
from payctl.payments.outcomes import Applied
from payctl.payments.records import Attempt, Payment, changed
from payctl.payments.sales import Sale

#: States whose meaning for the payment needs nothing but the answer.
_PLAIN = frozenset(
    {
        AttemptState.SUCCEEDED, AttemptState.AUTHORIZED, AttemptState.REQUIRES_ACTION,
        AttemptState.PENDING, AttemptState.DECLINED, AttemptState.REJECTED,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answered:
    """A first request and what was answered; the rest as in :class:`intake.Begun`."""

    payment: Payment
    attempt: Attempt
    answer: Answer
    probe: str = ""
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Planned:
    """What an answer changes, before it is written."""

    place: int
    answered: Answered
    payment: Payment
    attempt: Attempt
    drafts: list[Draft] = field(default_factory=list)


class _NotPlain(Exception):
    """One of them was changed meanwhile, or its journals cannot be posted as they were decided."""


class FirstAnswers:
    """Applies plain first answers."""

    def __init__(
        self,
        db: Database,
        book: Book,
        rates: RateBook,
        breakers: Breakers,
        random: Random | None = None,
    ) -> None:
        self._db = db
        self._book = book
        self._rates = rates
        self._breakers = breakers
        self._random = random or Random()  # noqa: S311 - jitter

    def apply(self, actor: Actor, answered: Sequence[Answered]) -> list[Applied | None]:
        """What each answer changed, written in one transaction; ``None`` for those that must go
        the long way, of which nothing is written.
        """
        results: list[Applied | None] = [None] * len(answered)
        planned = [
            plan
            for place, each in enumerate(answered)
            if (plan := self._plan(actor, place, each)) is not None
        ]
        if not planned:
            return results
        sampling = self._breakers.sample(
            (each.attempt.gateway_account, each.answered.answer) for each in planned
        )
        try:
            written = self._db.at_once(lambda tx: self._write(tx, actor, planned, sampling.rows))
        except _NotPlain:
            written = []
        except sa.exc.DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in _GO_THE_LONG_WAY:
                raise
            written = []
        self._breakers.sampled(sampling, done=bool(written))
        if not written:
            # Which of them it was is not known; each is found out by itself.
            if len(planned) > 1:
                for each in planned:
                    [results[each.place]] = self.apply(actor, [each.answered])
            return results
        for place, applied in written:
            results[place] = applied
        return results

    # -- deciding ---------------------------------------------------------------------------------

    def _plan(self, actor: Actor, place: int, answered: Answered) -> _Planned | None:
        payment, attempt, answer = answered.payment, answered.attempt, answered.answer
        fresh = attempt.state is AttemptState.SENDING and attempt.no == 1
        if not fresh or payment.version or attempt.version or answered.probe:
            return None
        if self._breakers.matters(answer) or model.may_fail_over(answer):
            return None
        if answer.provider_data or answer.payer is not None:
            return None
        now = self._db.clock.now()
        step = model.after_call(
            attempt.seen(payment.manual_capture), answer, now, self._random.uniform(-1, 1)
        )
        if step.state not in _PLAIN or step.open_case:
            return None
        received = step.state in RECEIVED
        if received and payment.manual_capture:
            return None
        reference = answer.provider_reference or attempt.provider_reference
        seen = changed(
            attempt,
            **attempt_columns(attempt, answer, step, reference, now),
            receipt="order" if received else None,
            version=1,
            updated_at=now,
        )
        if received:
            return self._with_sale(actor, place, answered, seen)
        return _Planned(place, answered, self._moved(payment, seen, answer), seen)

    def _moved(self, payment: Payment, attempt: Attempt, answer: Answer) -> Payment:
        """The payment after an answer that brought no money."""
        status = STATUS_OF[attempt.state]
        authorized = payment.authorized_minor
        if attempt.state is AttemptState.AUTHORIZED:
            authorized = min(answer.amount_minor or attempt.amount_minor, payment.amount_minor)
        code = payment.failure_code
        return changed(
            payment,
            status=status,
            failure_code=code if attempt.state.live else answer.code or str(attempt.state),
            gateway_account=attempt.gateway_account,
            attempt_id=attempt.id,
            authorized_minor=authorized,
            next_check_at=None if status.terminal else attempt.next_check_at,
            version=1,
            updated_at=attempt.updated_at,
        )

    def _with_sale(
        self, actor: Actor, place: int, answered: Answered, attempt: Attempt
    ) -> _Planned | None:
        """Money that was received, and what it is posted as; ``None`` where no rate is known."""
        payment, answer = answered.payment, answered.answer
        amount = answer.amount_minor if answer.amount_minor is not None else attempt.amount_minor
        sale = self._sale(payment)
        if sale is None:
            return None
        part = sale.captured(payment, amount)
        key = f"capture:{attempt.id}:{payment.captured_minor}"
        drafts = [postings.capture(payment, attempt, sale, part, key=key, actor=actor.name)]
        if answer.fee is not None and answer.fee.amount_minor > 0:
            drafts.append(postings.fee(attempt, answer.fee, actor=actor.name))
        paid = changed(
            payment,
            status=PaymentStatus.SUCCEEDED,
            failure_code=None,
            gateway_account=attempt.gateway_account,
            attempt_id=attempt.id,
            next_check_at=None,
            version=1,
            updated_at=attempt.updated_at,
            captured_minor=payment.captured_minor + amount,
            rate=sale.as_json(),
            commission_minor=payment.commission_minor + part.income_minor,
            vat_minor=payment.vat_minor + part.vat_minor,
            pending_minor=payment.pending_minor + part.owner_minor,
        )
        return _Planned(place, answered, paid, attempt, drafts)

    def _sale(self, payment: Payment) -> Sale | None:
        terms, at = self._rates.terms(), payment.created_at
        rate = terms.rate(
            sale_type=payment.sale_type,
            organiser=payment.organiser,
            currency=payment.currency,
            country=payment.country,
            at=at,
        )
        if rate is None:
            return None
        return Sale(rate, terms.role(payment.sale_type, at) == "principal")

    # -- writing ----------------------------------------------------------------------------------

    def _write(
        self,
        tx: sa.Connection,
        actor: Actor,
        planned: Sequence[_Planned],
        samples: Sequence[rows.Row],
    ) -> list[tuple[int, Applied]]:
        # One order of payments for all writers, so that two never wait for each other.
        ordered = sorted(planned, key=lambda each: each.payment.id.int)
        facts = self._book.facts(tx, [draft for each in ordered for draft in each.drafts])
        if facts is None:
            raise _NotPlain
        told, audited = self._told(actor, ordered)
        calls = [
            call_row(
                self._db.ids.new(each.attempt.updated_at), each.attempt.updated_at,
                each.attempt.id, each.answered.answer, "process", "create",
            )
            for each in ordered
        ]  # fmt: skip
        document: dict[str, Sequence[rows.Row]] = {
            "payment": [_changes(each.payment, _PAYMENT) for each in ordered],
            "attempt": [_changes(each.attempt, _ATTEMPT) for each in ordered],
            "provider_call": calls,
            "notification": told,
            "breaker_sample": samples,
            "metric_delta": _counted(ordered, calls),
        }
        if self._db.is_sqlite:
            posted = self._write_sqlite(tx, document, facts)
            audit.append(self._db, tx, audited)
        else:
            laid_out = posting.batch(tx, facts)
            text = rows.document({**document, "audit": audit.chainable(audited)})
            chain = audit.chain_of(self._db, tx)
            row = driver_execute(
                tx, _ANSWERED, [text, chain, *posting.parameters(laid_out)]
            ).fetchone()
            posted = laid_out.posted(row[0] or (), row[1] or ())
        return _applied(ordered, posted)

    def _write_sqlite(
        self, tx: sa.Connection, document: rows.Rows, facts: Sequence[posting.Decided]
    ) -> list[Posted]:
        moved = rows.update_sqlite(tx, t.payment, document["payment"])
        moved += rows.update_sqlite(tx, t.attempt, document["attempt"], "state = 'sending'")
        if moved != 2 * len(document["payment"]):
            raise _NotPlain
        posted = posting.write(tx, facts) if facts else []
        if isinstance(posted, posting.Unwritten):
            raise _NotPlain
        rows.insert_sqlite(tx, t.provider_call, document["provider_call"])
        rows.insert_sqlite(tx, notification, document["notification"])
        breaker_store.write_samples(tx, document["breaker_sample"])
        rows.insert_sqlite(tx, metric_delta, document["metric_delta"])
        return posted

    def _told(
        self, actor: Actor, planned: Sequence[_Planned]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The notification and the audit record of each new status."""
        told, audited = [], []
        for each in planned:
            kind, data = f"payment.{each.payment.status}", announcement(each.payment)
            id_, now = each.payment.id, each.payment.updated_at
            told_id, audited_id = self._db.ids.several(2, now)
            with log.correlated(each.answered.correlation_id):
                told.append(outbox.row(told_id, now, kind, "payment", id_, 2, data))
            audited.append(audit.row(audited_id, now, actor, kind, "payment", id_, data))
        return told, audited


#: Errors after which each payment goes the long way: changed meanwhile, a deadlock, a key or a
#: provider's reference that is there already, a month closed in this moment.
_GO_THE_LONG_WAY = frozenset({"40001", "40P01", "23505", "23514"})

_ANSWERED = "SELECT balances, versions FROM payments_answered(%s)" % ", ".join(  # noqa: UP031, S608
    [f"${place}" for place in range(1, 3 + posting.PARAMETERS)]
)
_PAYMENT = (
    "status", "gateway_account", "attempt_id", "failure_code", "captured_minor",
    "authorized_minor", "rate", "commission_minor", "vat_minor", "pending_minor", "updated_at",
    "next_check_at",
)  # fmt: skip
_ATTEMPT = (
    "state", "next_check_at", "checks", "not_found", "provider_reference", "lease_owner",
    "lease_until", "code", "provider_code", "message", "next_action", "exposed_at", "expires_at",
    "received_minor", "received_currency", "receipt", "updated_at",
)  # fmt: skip


def _changes(what: Payment | Attempt, names: Sequence[str]) -> Mapping[str, Any]:
    """A record's id, the version it had before, and its columns *names*."""
    return {
        "id": what.id,
        "version": what.version - 1,
        **{name: getattr(what, name) for name in names},
    }


def _counted(planned: Sequence[_Planned], calls: Sequence[rows.Row]) -> list[dict[str, Any]]:
    """What the answers add to the counters; none of them leaves its payment's status as it was."""
    cells = [
        counted.call_cell(each.attempt.gateway_account, call)
        for each, call in zip(planned, calls, strict=True)
    ]
    return counted.delta_rows(cells + [counted.payment_cell(each.payment) for each in planned])


def _applied(planned: Sequence[_Planned], posted: Sequence[Posted]) -> list[tuple[int, Applied]]:
    done, at = [], 0
    for each in planned:
        journals = tuple(posted[at : at + len(each.drafts)])
        at += len(each.drafts)
        done.append((each.place, Applied(each.payment, each.attempt, True, journals)))
    return done
