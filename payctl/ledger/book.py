"""The book: the only writer of entries.

A posting runs inside its caller's transaction: it claims its key, opens accounts on first use,
locks the guarded balances, decides, and only then writes. So a refusal changes nothing, and the
caller may go on in the same transaction. The database checks the rules again (``tables``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db import idempotency
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.tables import idempotency as keys
from payctl.errors import Conflict, InvalidInput, NotFound
from payctl.ids import encode
from payctl.ledger import drafts, journals, reversals, store
from payctl.ledger.content import content_hash, fingerprint, plain
from payctl.ledger.expiry import release_expired
from payctl.ledger.model import Draft, Journal, Leg, Posted, Refusal
from payctl.ledger.tables import entry, journal
from payctl.money import format_money

#: Scope of posting keys among the idempotency keys.
SCOPE = "journal"


@dataclass(frozen=True, slots=True)
class _Plan:
    """A decided posting: everything it needs is locked, nothing of it is written."""

    draft: Draft
    posted_at: datetime
    effective_at: datetime
    period: int
    accounts: Mapping[store.AccountKey, store.Account]


class Book:
    """Posts journals and reads them back.

    Args:
        db: the book's database.
        zone: the book's time zone; it decides which month an ``effective_at`` belongs to.
    """

    def __init__(self, db: Database, zone: tzinfo = UTC) -> None:
        self._db = db
        self._zone = zone

    # -- posting --------------------------------------------------------------------------------

    def post(self, tx: sa.Connection, draft: Draft) -> Posted:
        """Post *draft* once; the same key with the same content returns the first result.

        Raises:
            InvalidInput: ``ledger.unbalanced``, ``ledger.too_few_legs``, ``ledger.too_many_legs``,
                ``ledger.unknown_account``, ``ledger.amount_too_large``, ``currency.unknown``.
            Conflict: ``ledger.key_reused``, ``ledger.insufficient_funds``,
                ``ledger.period_closed``, ``ledger.account_closed``, ``ledger.reversal_exceeds``.
                Nothing is written then, and the key stays free.
            NotFound: ``ledger.journal_not_found`` for an unknown ``reverses_id``.
        """
        draft = drafts.checked(draft)
        known = self._claim(tx, draft.posting_key, fingerprint(draft))
        if isinstance(known, Refusal):
            raise known.error()
        if known is not None:
            return known
        try:
            plan = self._plan(tx, draft)
        except NotFound:
            self._forget(tx, draft.posting_key)
            raise
        if isinstance(plan, Refusal):
            self._forget(tx, draft.posting_key)
            raise plan.error()
        return self._write(tx, plan)

    def post_or_refuse(self, tx: sa.Connection, draft: Draft) -> Posted | Refusal:
        """Post *draft*, or keep the refusal under its key: a key once refused stays refused.

        For postings by hand, where the operator who repeats a command must get the same answer.

        Raises:
            InvalidInput: as :meth:`post`.
            Conflict: ``ledger.key_reused``.
        """
        draft = drafts.checked(draft)
        known = self._claim(tx, draft.posting_key, fingerprint(draft))
        if known is not None:
            return known
        plan = self._plan(tx, draft)
        if isinstance(plan, Refusal):
            response = {"code": plan.code, "params": dict(plan.params)}
            idempotency.settle(tx, SCOPE, draft.posting_key, "refused", None, response)
            return plan
        return self._write(tx, plan)

    def post_many(self, tx: sa.Connection, wanted: Sequence[Draft]) -> list[Posted | Refusal]:
        """Post many drafts, each as :meth:`post` would; a refused one stops no other.

        Raises:
            InvalidInput: as :meth:`post`.
            Conflict: ``ledger.key_reused``.
        """
        found = store.find_or_open(
            self._db, tx, {(leg.account, leg.currency) for draft in wanted for leg in draft.legs}
        )
        # All of them before the first is posted, so that two batches cannot wait for each other.
        store.lock_guarded(tx, [each.id for each in found.values() if each.guarded])
        return [self._post_one(tx, drafts.checked(draft)) for draft in wanted]

    def _post_one(self, tx: sa.Connection, draft: Draft) -> Posted | Refusal:
        known = self._claim(tx, draft.posting_key, fingerprint(draft))
        if known is not None:
            return known
        plan = self._plan(tx, draft)
        if isinstance(plan, Refusal):
            self._forget(tx, draft.posting_key)
            return plan
        return self._write(tx, plan)

    def post_fact(
        self, tx: sa.Connection, draft: Draft, *, provider_account: str, gateway: str
    ) -> Posted:
        """Post what a provider did; it is never refused (postings, rule 3).

        A fact dated in a closed month counts today, with the provider's date in the meta data.
        When the normal posting is refused, what it moves on *provider_account* (a code without
        currency) is posted against ``suspense:{gateway}`` and ``suspense_reason`` says why: the
        caller opens a case in the same transaction.

        Raises:
            Conflict: ``ledger.key_reused``.
            InvalidInput: ``ledger.fact_without_money`` when the draft is refused and moves nothing
                on *provider_account*.
        """
        known = self._claim(tx, draft.posting_key, fingerprint(draft, with_time=False))
        if isinstance(known, Refusal):
            raise known.error()
        if known is not None:
            return known
        dated = self._in_open_period(tx, draft)
        try:
            plan = self._plan(tx, drafts.checked(dated))
        except (InvalidInput, NotFound) as error:
            plan = Refusal(error.code, {})
        if isinstance(plan, Refusal):
            suspended = drafts.suspended(dated, plan, provider_account, gateway)
            plan = self._plan(tx, drafts.checked(suspended))
            if isinstance(plan, Refusal):
                raise plan.error()
        return self._write(tx, plan)

    def reverse(
        self,
        tx: sa.Connection,
        journal_id: UUID,
        *,
        posting_key: str,
        actor: Actor,
        reason: str,
        amount_minor: int | None = None,
    ) -> Posted:
        """Reverse what is left of a journal, or *amount_minor* of a journal in one currency.

        Raises:
            NotFound: ``ledger.journal_not_found``.
            InvalidInput: ``ledger.part_needs_one_currency``, ``amount.not_positive``.
            Conflict: ``ledger.already_reversed``, ``ledger.reversal_exceeds`` and those of
                :meth:`post`.
        """
        left = reversals.lock(self._db, tx, journal_id)
        known = self.find(tx, posting_key)
        if known is not None:
            return self._same_reversal(tx, known, journal_id, posting_key, reason, amount_minor)
        legs = reversals.left_of(tx, journal_id)
        if not legs or not any(left.values()):
            raise Conflict("ledger.already_reversed", id=encode("journal", journal_id))
        if amount_minor is not None:
            legs = reversals.part_of(legs, amount_minor, left, journal_id)
        original = self.get(tx, journal_id)
        return self.post(
            tx,
            Draft(
                "reversal",
                posting_key,
                tuple(Leg(leg.account, -leg.amount_minor, leg.currency) for leg in legs),
                actor.name,
                payment_id=original.payment_id,
                reason=reason,
                reverses_id=journal_id,
                meta={"amount_minor": amount_minor},
            ),
        )

    # -- reading --------------------------------------------------------------------------------

    def find(self, tx: sa.Connection, posting_key: str) -> Posted | None:
        """The journal posted under *posting_key*, or ``None``."""
        found = tx.scalar(
            sa.select(keys.c.subject_id).where(keys.c.scope == SCOPE, keys.c.key == posting_key)
        )
        return None if found is None else self._posted(tx, found)

    def knows(self, tx: sa.Connection, posting_key: str) -> bool:
        """Whether something was posted, or refused for good, under *posting_key*."""
        query = sa.select(keys.c.key).where(keys.c.scope == SCOPE, keys.c.key == posting_key)
        return tx.scalar(query) is not None

    def get(self, tx: sa.Connection, journal_id: UUID) -> Journal:
        """A journal with its entries.

        Raises:
            NotFound: ``ledger.journal_not_found``.
        """
        return journals.get(tx, journal_id)

    # -- how ------------------------------------------------------------------------------------

    def _claim(self, tx: sa.Connection, key: str, print_: bytes) -> Posted | Refusal | None:
        """What is already stored under the key, or ``None`` when it is now ours."""
        try:
            claim = idempotency.claim(self._db, tx, SCOPE, key, print_)
        except Conflict:
            raise Conflict("ledger.key_reused", field="key", key=key) from None
        if claim.new:
            return None
        if claim.subject_id is None:
            return Refusal(claim.response["code"], claim.response["params"], replayed=True)
        return self._posted(tx, claim.subject_id)

    @staticmethod
    def _forget(tx: sa.Connection, key: str) -> None:
        """Give a key back that was claimed in this transaction."""
        tx.execute(sa.delete(keys).where(keys.c.scope == SCOPE, keys.c.key == key))

    def _posted(self, tx: sa.Connection, journal_id: UUID) -> Posted:
        stored = self.get(tx, journal_id)
        return Posted(
            stored.id, stored.kind, stored.entries, replayed=True,
            suspense_reason=stored.meta.get("suspense_reason"),
        )  # fmt: skip

    def _same_reversal(
        self,
        tx: sa.Connection,
        known: Posted,
        journal_id: UUID,
        posting_key: str,
        reason: str,
        amount_minor: int | None,
    ) -> Posted:
        """*known* if it is the reversal that is asked for again."""
        stored = self.get(tx, known.journal_id)
        asked = (journal_id, reason, amount_minor)
        if asked != (stored.reverses_id, stored.reason, stored.meta.get("amount_minor")):
            raise Conflict("ledger.key_reused", field="key", key=posting_key)
        return known

    def _in_open_period(self, tx: sa.Connection, draft: Draft) -> Draft:
        """*draft* dated in a month that takes journals: a closed one becomes today."""
        closed = store.closed_until(tx)
        now = self._db.clock.now()
        if self.period_of(draft.effective_at or now) > closed:
            return draft
        if self.period_of(now) > closed:
            return drafts.redated(draft, now)
        # Only a clock that went back gets here: months close after their end.
        year, month = divmod(closed // 100 * 12 + closed % 100, 12)
        return drafts.redated(draft, datetime(year, month + 1, 1, tzinfo=self._zone))

    def _plan(self, tx: sa.Connection, draft: Draft) -> _Plan | Refusal:
        """Lock what the draft needs and decide. Writes nothing but new, empty accounts."""
        refused = reversals.refusal(self._db, tx, draft)
        if refused is not None:
            return refused
        now = self._db.clock.now()
        effective_at = draft.effective_at or now
        period = self.period_of(effective_at)
        if period <= store.closed_until(tx):
            return Refusal("ledger.period_closed", {"period": period})
        found = store.find_or_open(
            self._db, tx, {(leg.account, leg.currency) for leg in draft.legs}
        )
        for each in found.values():
            if each.closed:
                return Refusal("ledger.account_closed", {"account": each.full_code})
        short = self._short_of_funds(tx, draft, found)
        return short or _Plan(draft, now, effective_at, period, found)

    def _short_of_funds(
        self,
        tx: sa.Connection,
        draft: Draft,
        found: Mapping[store.AccountKey, store.Account],
    ) -> Refusal | None:
        guarded = {each.id: each for each in found.values() if each.guarded}
        needed = {
            id_: -guarded[id_].side * delta
            for id_, (delta, _) in drafts.deltas(draft, found).items()
            if id_ in guarded
        }
        balances = store.lock_guarded(tx, guarded)
        short = [id_ for id_, amount in needed.items() if amount > max(balances[id_].free_minor, 0)]
        if short and release_expired(self._db, tx, actor=draft.actor, account_ids=short):
            balances = store.lock_guarded(tx, guarded)
            short = [id_ for id_ in short if needed[id_] > balances[id_].free_minor]
        if not short:
            return None
        first = min((guarded[id_] for id_ in short), key=lambda each: each.full_code)
        free = balances[first.id].free_minor
        return Refusal(
            "ledger.insufficient_funds",
            {
                "account": first.full_code,
                "available": format_money(free, first.currency),
                "needed": format_money(needed[first.id], first.currency),
                "available_minor": free,
                "needed_minor": needed[first.id],
                "currency": first.currency,
            },
        )

    def _write(self, tx: sa.Connection, plan: _Plan) -> Posted:
        draft = plan.draft
        reversals.apply(tx, draft)
        deltas = drafts.deltas(draft, plan.accounts)
        moved = store.move(tx, plan.accounts.values(), deltas)
        entries = drafts.entries(draft, plan.accounts, moved)
        stored = Journal(
            self._db.ids.new(), draft.kind, draft.posting_key, plan.posted_at, plan.effective_at,
            plan.period, draft.actor, draft.reason, draft.payment_id, draft.reverses_id,
            plain(draft.meta), b"", entries,
        )  # fmt: skip
        self._insert(tx, stored, plan.accounts)
        idempotency.settle(tx, SCOPE, draft.posting_key, "posted", stored.id)
        reason = stored.meta.get("suspense_reason")
        return Posted(stored.id, stored.kind, entries, suspense_reason=reason)

    def _insert(
        self,
        tx: sa.Connection,
        stored: Journal,
        found: Mapping[store.AccountKey, store.Account],
    ) -> None:
        """PostgreSQL checks the entries against their journal, SQLite seals them with it."""
        row = {
            "id": stored.id, "kind": stored.kind, "posting_key": stored.posting_key,
            "posted_at": stored.posted_at, "effective_at": stored.effective_at,
            "period": stored.period, "legs": len(stored.entries),
            "reverses_id": stored.reverses_id, "payment_id": stored.payment_id,
            "actor": stored.actor, "reason": stored.reason, "meta": stored.meta,
            "content_hash": content_hash(stored),
        }  # fmt: skip
        ids = [found[each.account, each.currency].id for each in stored.entries]
        if self._db.is_sqlite:
            _insert_entries_sqlite(tx, stored, ids)
            tx.execute(sa.insert(journal), row)
        else:
            tx.execute(sa.insert(journal), row)
            _insert_entries_postgresql(tx, stored, ids)

    def period_of(self, at: datetime) -> int:
        """The month (yyyymm) *at* belongs to, in the book's time zone."""
        local = at.astimezone(self._zone)
        return local.year * 100 + local.month


#: One statement of one shape whatever the number of legs: the trigger must see all of them at once.
_INSERT_ENTRIES = sa.text(
    "INSERT INTO entry (journal_id, leg, account_id, stripe, currency, amount_minor,"
    " balance_after_minor, version)"
    " SELECT :journal_id, * FROM unnest(CAST(:leg AS smallint[]), CAST(:account_id AS uuid[]),"
    " CAST(:stripe AS smallint[]), CAST(:currency AS text[]), CAST(:amount_minor AS bigint[]),"
    " CAST(:balance_after_minor AS bigint[]), CAST(:version AS bigint[]))"
)


def _insert_entries_postgresql(tx: sa.Connection, stored: Journal, ids: list[UUID]) -> None:
    rows = _entry_rows(stored, ids)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    tx.execute(_INSERT_ENTRIES, {**columns, "journal_id": stored.id})


def _insert_entries_sqlite(tx: sa.Connection, stored: Journal, ids: list[UUID]) -> None:
    tx.execute(
        sa.insert(entry),
        [{**row, "journal_id": stored.id} for row in _entry_rows(stored, ids)],
    )


def _entry_rows(stored: Journal, ids: list[UUID]) -> list[dict[str, Any]]:
    return [
        {
            "leg": each.leg,
            "account_id": id_,
            "stripe": each.stripe,
            "currency": each.currency,
            "amount_minor": each.amount_minor,
            "balance_after_minor": each.balance_after_minor,
            "version": each.version,
        }
        for each, id_ in zip(stored.entries, ids, strict=True)
    ]
