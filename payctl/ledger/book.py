"""The book: the only writer of entries.

A posting runs inside its caller's transaction: it opens accounts on first use, locks the guarded
balances it may have to refuse, decides, and only then writes, claiming its key on the way. So a
refusal changes nothing, and the caller may go on in the same transaction. One journal is a batch of
one: there is one way to post. The database checks the rules again (``tables``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from uuid import UUID

import sqlalchemy as sa

from payctl.db import idempotency
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.tables import idempotency as keys
from payctl.errors import Conflict, InvalidInput, NotFound
from payctl.ids import encode, time_of
from payctl.ledger import drafts, funds, journals, posting, reversals, store
from payctl.ledger.content import fingerprint, plain
from payctl.ledger.model import KEY_REUSED, Draft, Journal, Leg, Posted, Refusal
from payctl.ledger.posting import Decided, Unwritten

#: Scope of posting keys among the idempotency keys.
SCOPE = "journal"
#: Journals written by one statement at most; a longer row of drafts takes several.
MAX_BATCH = 1000


@dataclass(frozen=True, slots=True)
class _Asked:
    """A sound draft and what its key stands for."""

    draft: Draft
    fingerprint: bytes


class Book:
    """Posts journals and reads them back.

    Args:
        db: the book's database.
        zone: the book's time zone; it decides which month an ``effective_at`` belongs to.
    """

    def __init__(self, db: Database, zone: tzinfo = UTC) -> None:
        self._db = db
        self._zone = zone
        self._memory = store.Memory(db)

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
        [verdict] = self.post_many(tx, [draft])
        if isinstance(verdict, Refusal):
            raise verdict.error()
        return verdict

    def post_many(self, tx: sa.Connection, wanted: Sequence[Draft]) -> list[Posted | Refusal]:
        """Post drafts with a verdict for each, exactly as one :meth:`post` after the other would,
        in a number of statements that does not grow with them.

        A draft that is refused writes nothing, its key stays free, and the others are posted.

        Raises:
            InvalidInput: as :meth:`post`, for any of them; then nothing is written.
            NotFound: ``ledger.journal_not_found`` for an unknown ``reverses_id``.
        """
        asked = [_Asked(each, fingerprint(each)) for each in map(drafts.checked, wanted)]
        return self._post(tx, asked)

    def post_or_refuse(self, tx: sa.Connection, draft: Draft) -> Posted | Refusal:
        """Post *draft*, or keep the refusal under its key: a key once refused stays refused.

        For postings by hand, where the operator who repeats a command must get the same answer.

        Raises:
            InvalidInput: as :meth:`post`.
            Conflict: ``ledger.key_reused``.
        """
        draft = drafts.checked(draft)
        asked = _Asked(draft, fingerprint(draft))
        [verdict] = self._post(tx, [asked])
        if isinstance(verdict, Posted) or verdict.replayed:
            return verdict
        if verdict.code == KEY_REUSED:
            raise verdict.error()
        claim = idempotency.claim(self._db, tx, SCOPE, draft.posting_key, asked.fingerprint)
        if not claim.new:
            return self._known(tx, [asked])[draft.posting_key]
        response = {"code": verdict.code, "params": dict(verdict.params)}
        idempotency.settle(tx, SCOPE, draft.posting_key, "refused", None, response)
        return verdict

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
        print_ = fingerprint(draft, with_time=False)
        verdict = self._post_dated(tx, draft, print_)
        if isinstance(verdict, Refusal) and verdict.code == "ledger.period_closed":
            # The month was closed since this process last looked, and it knows now.
            verdict = self._post_dated(tx, draft, print_)
        if isinstance(verdict, Refusal) and verdict.code != KEY_REUSED and not verdict.replayed:
            dated = self._in_open_period(tx, draft)
            suspended = drafts.suspended(dated, verdict, provider_account, gateway)
            [verdict] = self._post(tx, [_Asked(drafts.checked(suspended), print_)])
        if isinstance(verdict, Refusal):
            raise verdict.error()
        return verdict

    def _post_dated(self, tx: sa.Connection, draft: Draft, print_: bytes) -> Posted | Refusal:
        """Post a fact with a date in an open month; what is unsound about it is a refusal too."""
        asked = _Asked(self._in_open_period(tx, draft), print_)
        try:
            [verdict] = self._post(tx, [replace(asked, draft=drafts.checked(asked.draft))])
        except (InvalidInput, NotFound) as error:
            return self._known(tx, [asked]).get(draft.posting_key) or Refusal(error.code, {})
        return verdict

    def facts(self, tx: sa.Connection, wanted: Sequence[Draft]) -> list[Decided] | None:
        """Providers' facts decided without a lock, for :func:`posting.write` in this transaction;
        ``None`` when any of them needs :meth:`post_fact`: it opens an account, takes from a guarded
        one, is dated in a closed month or is unsound.
        """
        try:
            asked = [_Asked(drafts.checked(each), fingerprint(each, with_time=False))
                     for each in wanted]  # fmt: skip
        except InvalidInput:
            return None
        keys_ = {(leg.account, leg.currency) for each in asked for leg in each.draft.legs}
        found = self._memory.find(tx, keys_)
        if len(found) < len(keys_):
            return None
        closed_until, journals = self._memory.closed_until(tx), []
        for each in asked:
            if each.draft.reverses_id is not None or funds.takes(each.draft, found):
                return None
            decided = self._decided(each, found, closed_until)
            if isinstance(decided, Refusal):
                return None
            journals.append(decided)
        return journals

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

    def _post(self, tx: sa.Connection, asked: Sequence[_Asked]) -> list[Posted | Refusal]:
        """Post in order. What reverses a journal, or repeats a key, goes in a batch after those
        before it, because it depends on what they did.
        """
        verdicts: list[Posted | Refusal] = []
        batch: list[_Asked] = []
        keys: set[str] = set()
        for each in asked:
            alone = each.draft.reverses_id is not None
            if batch and (alone or each.draft.posting_key in keys or len(batch) >= MAX_BATCH):
                verdicts += self._post_batch(tx, batch)
                batch, keys = [], set()
            batch.append(each)
            keys.add(each.draft.posting_key)
            if alone:
                verdicts += self._post_batch(tx, batch)
                batch, keys = [], set()
        return verdicts + (self._post_batch(tx, batch) if batch else [])

    def _post_batch(self, tx: sa.Connection, batch: Sequence[_Asked]) -> list[Posted | Refusal]:
        """Decide and write drafts of different keys.

        Accounts and closed months are taken from memory; before anything is refused for good, or
        when the database finds that memory is old, they are read anew. Where a key turns out to be
        taken, its stored answer is the verdict and the rest is decided once more.
        """
        known: dict[str, Posted | Refusal] = {}
        fresh = False
        while True:
            left = [each for each in batch if each.draft.posting_key not in known]
            decided = self._decide(tx, left)
            if any(isinstance(each, Refusal) for each in decided.values()):
                taken = self._known(tx, left)
                if taken or not fresh:
                    known |= taken
                    fresh = self._forget()
                    continue
            journals = [each for each in decided.values() if isinstance(each, Decided)]
            written = self._write(tx, journals)
            if written is Unwritten.TAKEN:
                known |= self._known(tx, left)
            elif written is Unwritten.STALE:
                fresh = self._forget()
            else:
                break
        done = dict(zip((each.draft.posting_key for each in journals), written, strict=True))
        final = {**known, **decided, **done}
        return [final[each.draft.posting_key] for each in batch]  # type: ignore[misc]

    def _write(self, tx: sa.Connection, journals: Sequence[Decided]) -> list[Posted] | Unwritten:
        try:
            written = posting.write(tx, journals) if journals else []
        except sa.exc.DBAPIError:
            self._forget()
            raise
        if not isinstance(written, Unwritten):
            for each in journals:
                if each.draft.reverses_id is not None:
                    reversals.apply(tx, each.draft)
        return written

    def _forget(self) -> bool:
        """Read accounts and closed months anew at the next decision; true, for the caller."""
        self._memory = store.Memory(self._db)
        return True

    def _known(self, tx: sa.Connection, asked: Sequence[_Asked]) -> dict[str, Posted | Refusal]:
        """What is stored under the keys of *asked*: the journal, the refusal, or a refusal because
        the key stands for something else.
        """
        prints = {each.draft.posting_key: each.fingerprint for each in asked}
        query = sa.select(keys.c.key, keys.c.fingerprint, keys.c.subject_id, keys.c.response)
        found: dict[str, Posted | Refusal] = {}
        for row in tx.execute(query.where(keys.c.scope == SCOPE, keys.c.key.in_(list(prints)))):
            if row.fingerprint != prints[row.key]:
                found[row.key] = Refusal(KEY_REUSED, {"key": row.key})
            elif row.subject_id is None:
                found[row.key] = Refusal(
                    row.response["code"], row.response["params"], replayed=True
                )
            else:
                found[row.key] = self._posted(tx, row.subject_id)
        return found

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
        closed = self._memory.closed_until(tx)
        now = self._db.clock.now()
        if self.period_of(draft.effective_at or now) > closed:
            return draft
        if self.period_of(now) > closed:
            return drafts.redated(draft, None)
        # Only a clock that went back gets here: months close after their end.
        year, month = divmod(closed // 100 * 12 + closed % 100, 12)
        return drafts.redated(draft, datetime(year, month + 1, 1, tzinfo=self._zone))

    def _decide(self, tx: sa.Connection, batch: Sequence[_Asked]) -> dict[str, Decided | Refusal]:
        """A verdict for each of *batch*, by key, in order: each sees what those before it take.
        Locks what may be refused, and writes nothing but new, empty accounts.
        """
        wanted = {(leg.account, leg.currency) for each in batch for leg in each.draft.legs}
        found = self._memory.find_or_open(tx, wanted)
        reversed_ = [each.draft for each in batch if each.draft.reverses_id is not None]
        refused = {each.posting_key: reversals.refusal(self._db, tx, each) for each in reversed_}
        free = funds.Funds(self._db, tx, [each.draft for each in batch], found)
        closed_until = self._memory.closed_until(tx)
        verdicts: dict[str, Decided | Refusal] = {}
        for each in batch:
            key = each.draft.posting_key
            verdict = refused.get(key) or self._decided(each, found, closed_until)
            if isinstance(verdict, Decided):
                verdict = free.take(each.draft) or verdict
            verdicts[key] = verdict
        return verdicts

    def _decided(
        self,
        asked: _Asked,
        found: Mapping[store.AccountKey, store.Account],
        closed_until: int,
    ) -> Decided | Refusal:
        # Recorded at the time in its id, by which the past is found (``as_of``).
        draft, id_ = asked.draft, self._db.ids.new()
        posted_at = time_of(id_)
        effective_at = draft.effective_at or posted_at
        period = self.period_of(effective_at)
        if period <= closed_until:
            return Refusal("ledger.period_closed", {"period": period})
        for code, _, currency in draft.legs:
            account = found[code, currency]
            if account.closed:
                return Refusal("ledger.account_closed", {"account": account.full_code})
        return Decided(
            draft, id_, asked.fingerprint, posted_at, effective_at, period, plain(draft.meta),
            found,
        )  # fmt: skip

    def period_of(self, at: datetime) -> int:
        """The month (yyyymm) *at* belongs to, in the book's time zone."""
        local = at.astimezone(self._zone)
        return local.year * 100 + local.month
