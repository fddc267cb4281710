"""From anything a person may hold in hand to the payments it is about, and their stories.

Public ids of every kind, references of providers and of ours, orders, keys, mail addresses and full
phone numbers. Looking somebody up by phone or mail shows that customer's payments only, masked, and
is written into the audit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from payctl import ids, pan
from payctl.cases.model import Case
from payctl.cases.tables import case_record
from payctl.db.actor import Actor
from payctl.db.audit import record, revealed
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.db.tables import approval, idempotency
from payctl.errors import InvalidInput, NotFound
from payctl.insight import dossier
from payctl.insight.advice import advice
from payctl.insight.dossier import Dossier
from payctl.insight.timeline import Item, timeline
from payctl.insight.whereabouts import Whereabouts
from payctl.ledger.tables import hold, journal
from payctl.notifications.tables import notification
from payctl.payments import store
from payctl.payments import tables as t
from payctl.payments.requests import SCOPE
from payctl.webhooks.tables import webhook_event

#: Payments told of in one answer; more of one customer are found with ``payments list``.
MAX_PAYMENTS = 20
_PHONE = re.compile(r"\+[0-9][0-9 ().-]{5,24}")


@dataclass(frozen=True, slots=True)
class Story:
    """One payment, or one receipt without a payment, told from beginning to end."""

    dossier: Dossier
    items: tuple[Item, ...]
    whereabouts: Whereabouts
    next: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Traced:
    """What a reference led to; ``more`` says that there are further payments."""

    stories: tuple[Story, ...]
    more: bool = False


@dataclass
class _Found:
    """What is gathered while a reference is followed."""

    payments: list[UUID]
    journals: list[UUID]
    cases: list[UUID]
    events: list[UUID]

    @property
    def nothing(self) -> bool:
        return not (self.payments or self.journals or self.cases or self.events)


class Lookup:
    """Finds and tells."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def situation(self, payment_id: UUID) -> Story:
        """Where a payment's money is and what may be done next, without its story.

        Raises:
            NotFound: ``payment.not_found``.
        """
        with self._db.read() as tx:
            found = dossier.of_payment(tx, payment_id, whole=False)
        return Story(found, (), found.whereabouts(), tuple(advice(found)))

    def reveal(self, actor: Actor, payment_id: UUID) -> None:
        """Let *actor* see a payment's phone number in full, and write down that they did.

        Raises:
            Forbidden: ``operator.not_allowed``. NotFound: ``payment.not_found``.
        """
        require(actor, "personal_data.reveal")
        with self._db.read() as tx:
            store.payment(tx, payment_id)
        revealed(self._db, actor, "payment", payment_id, "phone")

    def trace(self, actor: Actor, reference: str) -> Traced:
        """Everything about what *reference* names.

        Raises:
            NotFound: ``trace.nothing``.
            InvalidInput: ``trace.empty``.
            Forbidden: ``operator.not_allowed``.
        """
        require(actor, "read")
        reference = reference.strip()
        if not reference:
            raise InvalidInput("trace.empty", field="ref")
        with self._db.read() as tx:
            found, personal = self._find(tx, reference)
            shown = found.payments[:MAX_PAYMENTS]
            told = [dossier.of_payment(tx, each) for each in shown]
            if not shown and not found.nothing:
                told = [
                    dossier.of_receipt(
                        tx, journal_ids=found.journals, case_ids=found.cases,
                        event_ids=found.events,
                    )
                ]  # fmt: skip
        if personal:
            self._audit(actor, personal, len(found.payments))
        if found.nothing:
            raise NotFound("trace.nothing", field="ref", ref=_shown(reference, personal))
        stories = tuple(
            Story(each, tuple(timeline(each)), each.whereabouts(), tuple(advice(each)))
            for each in told
        )
        return Traced(stories, len(found.payments) > len(shown))

    def _audit(self, actor: Actor, what: str, count: int) -> None:
        """A look at one person is written down, found or not; the person's data is not."""
        with self._db.transaction() as tx:
            data = {"what": what, "payments": count}
            record(self._db, tx, actor, "revealed", "payment", None, data)

    # -- finding --------------------------------------------------------------------------------

    def _find(self, tx: sa.Connection, reference: str) -> tuple[_Found, str]:
        """What it names, and which personal datum it is, if it is one."""
        found = _Found([], [], [], [])
        if _PHONE.fullmatch(reference):
            digits = "+" + re.sub(r"[^0-9]", "", reference)
            self._payments(tx, found, t.payment.c.phone == digits)
            return found, "phone"
        if "@" in reference:
            # An order or key may hold an @ as well.
            self._payments(tx, found, t.payment.c.email == reference)
            if found.payments:
                return found, "email"
        try:
            kind, value = ids.split(reference)
        except InvalidInput:
            self._by_reference(tx, found, reference)
        else:
            self._by_id(tx, found, kind, value)
        return found, ""

    def _by_id(self, tx: sa.Connection, found: _Found, kind: str, value: UUID) -> None:
        match kind:
            case "payment":
                self._payments(tx, found, t.payment.c.id == value)
            case "attempt" | "capture" | "refund" | "dispute":
                table = _OF_A_PAYMENT[kind]
                self._payments_of(tx, found, table.c.payment_id, table.c.id == value)
                if kind == "attempt" and found.nothing:
                    # Our references at some providers are written like an attempt's id.
                    self._by_reference(tx, found, ids.encode("attempt", value))
            case "journal":
                self._payments_of(tx, found, journal.c.payment_id, journal.c.id == value)
                if not found.payments and _exists(tx, journal.c.id, value):
                    found.journals.append(value)
            case "hold":
                self._payments_of(tx, found, hold.c.payment_id, hold.c.id == value)
            case "case":
                self._by_case(tx, found, case_record.c.id == value)
            case "approval":
                self._by_subject(tx, found, approval.c.subject_id, approval.c.id == value)
            case "notification":
                self._by_subject(tx, found, notification.c.object_id, notification.c.id == value)
            case "event":
                self._by_event(tx, found, webhook_event.c.id == value)

    def _by_reference(self, tx: sa.Connection, found: _Found, reference: str) -> None:
        """What an index finds comes first: most references are orders or the provider's own."""
        a = t.attempt.c
        self._payments_of(tx, found, a.payment_id, a.provider_reference == reference)
        self._payments(tx, found, t.payment.c.order_ref == reference)
        for payment_id in _keyed(tx, SCOPE, [reference]):
            self._payments(tx, found, t.payment.c.id == payment_id)
        if found.nothing:
            d = t.dispute.c
            self._payments_of(tx, found, d.payment_id, d.provider_reference == reference)
        if found.nothing:
            ours = sa.or_(a.our_reference == reference, a.idempotency_key == reference)
            self._payments_of(tx, found, a.payment_id, ours)
        if found.nothing:
            c = webhook_event.c
            self._by_event(
                tx, found, sa.or_(c.event_id == reference, c.dedupe == reference,
                                  c.provider_reference == reference, c.our_reference == reference)
            )  # fmt: skip
        if found.nothing:
            # Few receipts are nobody's, so looking through their cases needs no index.
            ours = case_record.c.dedupe_key.endswith(f":{reference}", autoescape=True)
            self._by_case(tx, found, sa.and_(case_record.c.kind == "orphan", ours))

    def _by_event(
        self, tx: sa.Connection, found: _Found, condition: sa.ColumnElement[bool]
    ) -> None:
        """The payments its events are about, or the receipt that was booked for them."""
        c = webhook_event.c
        columns = (c.id, c.account, c.our_reference, c.provider_reference, c.token_hash)
        query = sa.select(*columns).where(condition)
        for row in tx.execute(query.order_by(c.id).limit(MAX_PAYMENTS)):
            names = [name for name in (row.our_reference, row.provider_reference) if name]
            a, k = t.attempt.c, t.attempt_token.c
            proved = sa.select(k.attempt_id).where(
                k.gateway_account == row.account, k.token_hash == row.token_hash
            )
            about = sa.or_(
                a.our_reference.in_(names), a.provider_reference.in_(names), a.id.in_(proved)
            )
            here = sa.and_(a.gateway_account == row.account, about)
            before = len(found.payments)
            self._payments_of(tx, found, a.payment_id, here)
            if len(found.payments) == before:
                found.events.append(row.id)
                self._by_receipt(tx, found, [f"orphan:{row.account}:{name}" for name in names])

    def _by_receipt(self, tx: sa.Connection, found: _Found, keys: Sequence[str]) -> None:
        """Journal and case of a receipt nobody ordered; both carry its posting key."""
        found.journals += _keyed(tx, "journal", keys)
        query = sa.select(case_record.c.id).where(case_record.c.dedupe_key.in_(keys))
        found.cases += tx.execute(query).scalars().all()

    def _by_case(self, tx: sa.Connection, found: _Found, condition: sa.ColumnElement[bool]) -> None:
        for row in tx.execute(sa.select(case_record).where(condition)).mappings():
            case = Case(**row)
            of_a_payment = case.subject_kind in ("payment", *_OF_A_PAYMENT)
            if of_a_payment and case.subject_id is not None:
                self._by_id(tx, found, case.subject_kind, case.subject_id)
            else:
                found.cases.append(case.id)
                found.journals += _keyed(tx, "journal", [case.dedupe_key])
                if case.subject_kind == "event" and case.subject_id is not None:
                    found.events.append(case.subject_id)

    def _by_subject(
        self,
        tx: sa.Connection,
        found: _Found,
        subject: sa.Column[UUID],
        condition: sa.ColumnElement[bool],
    ) -> None:
        """An approval or notification is about a payment, a refund or a case."""
        for value in tx.execute(sa.select(subject).where(condition)).scalars():
            if value is not None:
                self._payments(tx, found, t.payment.c.id == value)
                self._payments_of(tx, found, t.refund.c.payment_id, t.refund.c.id == value)
                self._payments_of(tx, found, t.dispute.c.payment_id, t.dispute.c.id == value)
                self._by_case(tx, found, case_record.c.id == value)

    def _payments(
        self, tx: sa.Connection, found: _Found, condition: sa.ColumnElement[bool]
    ) -> None:
        self._payments_of(tx, found, t.payment.c.id, condition)

    def _payments_of(
        self,
        tx: sa.Connection,
        found: _Found,
        column: sa.Column[UUID],
        condition: sa.ColumnElement[bool],
    ) -> None:
        """Add the payments *column* names, newest first, each once."""
        query = sa.select(column).where(condition, column.is_not(None)).distinct()
        for value in tx.execute(query.order_by(column.desc()).limit(MAX_PAYMENTS + 1)).scalars():
            if value not in found.payments:
                found.payments.append(value)


_OF_A_PAYMENT = {
    "attempt": t.attempt, "capture": t.capture, "refund": t.refund, "dispute": t.dispute,
}  # fmt: skip


def _keyed(tx: sa.Connection, scope: str, keys: Sequence[str]) -> list[UUID]:
    c = idempotency.c
    query = sa.select(c.subject_id).where(
        c.scope == scope, c.key.in_(keys), c.subject_id.is_not(None)
    )
    return list(tx.execute(query).scalars())


def _exists(tx: sa.Connection, column: sa.Column[UUID], value: UUID) -> bool:
    return tx.execute(sa.select(column).where(column == value)).first() is not None


def _shown(reference: str, personal: str) -> str:
    """The reference as an error may repeat it."""
    return "***" if personal else pan.mask_phones(pan.scrub(reference))[:60]
