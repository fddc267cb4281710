"""Float top-ups: our own money on its way from a bank account to a provider, for payouts.

Two facts, each posted when it is known: the money left the bank (it is then in ``transit``), and it
arrived at the provider, or came back. What the banks between kept is our cost. Nobody is called:
the transfer itself is made at the bank, and payctl keeps its book, its second person and its key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db import idempotency
from payctl.db.actor import Actor
from payctl.db.approvals import Approvals
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.db.tables import approval
from payctl.errors import Conflict, InvalidInput, NotFound
from payctl.gateways.base import Gateway
from payctl.ids import encode
from payctl.ledger import accounts
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Posted, cr, dr
from payctl.ledger.tables import account as ledger_account
from payctl.money import check_amount_minor
from payctl.payments.float_tables import APPROVAL_KIND, float_topup
from payctl.payments.requests import check_key, check_reason

SCOPE = "float_topup"
_c = float_topup.c
#: What became of the second person's decision, where it was no yes.
_DECIDED = {"rejected": "rejected", "expired": "expired"}


@dataclass(frozen=True, slots=True)
class TopUp:
    """A top-up as stored. Amounts in minor units of ``currency``.

    ``state`` is ``awaiting_approval``, ``sent``, ``arrived``, ``returned`` or ``canceled``, and
    ``rejected`` or ``expired`` when that is what became of its approval.
    """

    id: UUID
    account: str
    amount_minor: int
    currency: str
    bank: str
    state: str
    reason: str
    requested_by: str
    requested_at: datetime
    approval_id: UUID | None = None
    sent_at: datetime | None = None
    sent_journal_id: UUID | None = None
    ended_at: datetime | None = None
    arrived_minor: int | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class TopUpResult:
    """A top-up after an act on it, and what that posted."""

    topup: TopUp
    journals: tuple[Posted, ...] = ()
    replayed: bool = False


class FloatTopUps:
    """Sends money to floats, in the books.

    Args:
        gateways: the configured gateways by account.
    """

    def __init__(
        self, db: Database, book: Book, approvals: Approvals, gateways: Mapping[str, Gateway]
    ) -> None:
        self._db = db
        self._book = book
        self._approvals = approvals
        self._gateways = gateways

    def request(
        self,
        actor: Actor,
        account: str,
        *,
        amount_minor: int,
        currency: str,
        bank: str,
        reason: str,
        key: str,
        new_bank: bool = False,
        dry_run: bool = False,
    ) -> TopUpResult:
        """Note that money leaves *bank* for the float of *account*, or ask for the second person
        it needs. The same key with the same content does it once.

        Args:
            new_bank: the bank account is not in the book yet. Without it a name must be one that is
                there, in that currency: an account is opened by its first entry, so a slip would
                open another one. The first of a book needs no such word.

        Raises:
            Forbidden: ``operator.not_allowed``.
            NotFound: ``gateway.not_found``.
            InvalidInput: ``float.pays_nobody``, ``float.currency``, ``float.bank_unknown``,
                ``float.bank_currency``, ``reason.missing``, those of the amount, the key and the
                bank's name.
            Conflict: ``key.reused`` and those of the ledger.
        """
        require(actor, "float.topup")
        why = check_reason(reason)
        check_key(key)
        check_amount_minor(amount_minor, currency)
        accounts.line_of(accounts.bank(bank))
        self._check_gateway(account, currency)
        content = {"account": account, "amount_minor": amount_minor, "currency": currency,
                   "bank": bank}  # fmt: skip
        with self._db.writing(dry_run) as tx:
            print_ = idempotency.fingerprint({**content, "reason": why})
            claim = idempotency.claim(self._db, tx, SCOPE, key, print_)
            if not claim.new:
                if claim.subject_id is None:
                    raise AssertionError("a top-up is settled in the commit that claims its key")
                return TopUpResult(_fetch(tx, claim.subject_id), replayed=True)
            if not new_bank:
                _check_bank(tx, bank, currency)
            made = self._insert(tx, actor, content, why)
            idempotency.settle(tx, SCOPE, key, "created", made.id)
            if self._approvals.needed(tx, APPROVAL_KIND, amount_minor, currency, actor):
                waiting = self._ask(tx, actor, made)
                # A rehearsal also shows what a yes will post.
                journals = self._send(tx, actor, waiting).journals if dry_run else ()
                return TopUpResult(waiting, journals)
            return self._send(tx, actor, made)

    def approved(self, actor: Actor, topup_id: UUID) -> TopUpResult:
        """Go on after a second person's yes.

        Raises:
            Conflict: ``float.not_in_state`` when it was cancelled meanwhile,
                ``approval.not_granted``.
        """
        with self._db.transaction() as tx:
            waiting = self._in_state(tx, topup_id, "awaiting_approval")
            if waiting.approval_id is None:
                raise AssertionError("what waits for approval names it")
            self._approvals.use(tx, actor, waiting.approval_id, _content(waiting))
            return self._send(tx, actor, waiting)

    def arrived(
        self,
        actor: Actor,
        topup_id: UUID,
        *,
        arrived_minor: int | None = None,
        reference: str | None = None,
        dry_run: bool = False,
    ) -> TopUpResult:
        """The provider's float shows the money: all of it, or *arrived_minor* of it.

        Args:
            reference: the provider's or the bank's reference of the transfer.

        Raises:
            Forbidden, NotFound: ``float.topup_not_found``.
            Conflict: ``float.not_in_state``. InvalidInput: ``float.arrived_amount``.
        """
        require(actor, "float.topup")
        with self._db.writing(dry_run) as tx:
            sent = self._in_state(tx, topup_id, "sent")
            came = sent.amount_minor if arrived_minor is None else arrived_minor
            if not 0 < came <= sent.amount_minor:
                raise InvalidInput("float.arrived_amount", field="amount")
            posted = self._book.post(tx, _arrival(sent, came, actor.name, reference))
            done = self._end(tx, sent, "arrived", posted, arrived_minor=came, reference=reference)
            about = {**_content(sent), "arrived_minor": came, "reference": reference}
            record(self._db, tx, actor, "float.arrived", "topup", topup_id, about)
            return TopUpResult(done, (posted,))

    def cancel(
        self, actor: Actor, topup_id: UUID, *, reason: str, dry_run: bool = False
    ) -> TopUpResult:
        """Take a top-up back: one that waits is dropped, one that was sent has come back to the
        bank (its journal is reversed).

        Raises:
            Forbidden, NotFound: ``float.topup_not_found``.
            Conflict: ``float.not_in_state``: it has arrived, or was cancelled before.
        """
        require(actor, "float.topup")
        why = check_reason(reason)
        with self._db.writing(dry_run) as tx:
            before = self._in_state(tx, topup_id, "awaiting_approval", "sent")
            journals: tuple[Posted, ...] = ()
            if before.sent_journal_id is None:
                done = self._move(tx, before, state="canceled")
            else:
                back = self._book.reverse(
                    tx, before.sent_journal_id, posting_key=f"float_returned:{before.id}",
                    actor=actor, reason=why,
                )  # fmt: skip
                done, journals = self._end(tx, before, "returned", back), (back,)
            about = {**_content(before), "state": done.state}
            record(self._db, tx, actor, f"float.{done.state}", "topup", topup_id, about, why)
            return TopUpResult(done, journals)

    # -- looking --------------------------------------------------------------------------------

    def get(self, topup_id: UUID) -> TopUp:
        """
        Raises:
            NotFound: ``float.topup_not_found``.
        """
        with self._db.read() as tx:
            return _fetch(tx, topup_id)

    def list(
        self,
        *,
        account: str | None = None,
        state: str | None = None,
        after: UUID | None = None,
        limit: int = 50,
    ) -> Sequence[TopUp]:
        """Top-ups, newest first; ``open`` takes those that wait or are on their way."""
        query = _query().order_by(_c.id.desc()).limit(limit)
        if account is not None:
            query = query.where(_c.account == account)
        if state == "open":
            query = query.where(_c.state.in_(("awaiting_approval", "sent")))
        elif state is not None:
            query = query.where(_c.state == state)
        if after is not None:
            query = query.where(_c.id < after)
        with self._db.read() as tx:
            return [_topup(row) for row in tx.execute(query)]

    # -- steps ----------------------------------------------------------------------------------

    def _check_gateway(self, account: str, currency: str) -> None:
        gateway = self._gateways.get(account)
        if gateway is None:
            known = ", ".join(sorted(self._gateways)) or "-"
            raise NotFound("gateway.not_found", field="gateway", gateway=account[:60], known=known)
        can = gateway.capabilities
        if not can.payouts:
            raise InvalidInput("float.pays_nobody", field="gateway", gateway=account)
        if can.currencies is not None and currency not in can.currencies:
            takes = ", ".join(sorted(can.currencies))
            raise InvalidInput("float.currency", field="currency", gateway=account, takes=takes)

    def _insert(
        self, tx: sa.Connection, actor: Actor, content: Mapping[str, Any], reason: str
    ) -> TopUp:
        made = TopUp(
            self._db.ids.new(), state="awaiting_approval", reason=reason, requested_by=actor.name,
            requested_at=self._db.clock.now(), **content,
        )  # fmt: skip
        columns = {name: getattr(made, name) for name in TopUp.__dataclass_fields__}
        tx.execute(float_topup.insert().values(columns))
        return made

    def _ask(self, tx: sa.Connection, actor: Actor, made: TopUp) -> TopUp:
        asked = self._approvals.request(
            tx, actor, kind=APPROVAL_KIND, subject_kind="topup", subject_id=made.id,
            amount_minor=made.amount_minor, currency=made.currency, content=_content(made),
            reason=made.reason,
        )  # fmt: skip
        return self._move(tx, made, approval_id=asked)

    def _send(self, tx: sa.Connection, actor: Actor, ready: TopUp) -> TopUpResult:
        posted = self._book.post(tx, _departure(ready, actor.name))
        now = self._db.clock.now()
        sent = self._move(tx, ready, state="sent", sent_journal_id=posted.journal_id, sent_at=now)
        record(self._db, tx, actor, "float.sent", "topup", ready.id, _content(ready), ready.reason)
        return TopUpResult(sent, (posted,))

    def _end(
        self, tx: sa.Connection, before: TopUp, state: str, posted: Posted, **values: Any
    ) -> TopUp:
        now, journal = self._db.clock.now(), posted.journal_id
        return self._move(tx, before, state=state, ended_journal_id=journal, ended_at=now, **values)

    def _move(self, tx: sa.Connection, before: TopUp, **values: Any) -> TopUp:
        """Change a top-up that is as it was read; whoever came first has won."""
        done = tx.execute(
            sa.update(float_topup)
            .where(_c.id == before.id, _c.state == before.state)
            .values(values)
        )
        if done.rowcount != 1:
            raise _wrong_state(_fetch(tx, before.id))
        return replace(
            before, **{name: each for name, each in values.items() if name != "ended_journal_id"}
        )

    @staticmethod
    def _in_state(tx: sa.Connection, topup_id: UUID, *states: str) -> TopUp:
        found = _fetch(tx, topup_id, lock=True)
        if found.state not in states:
            raise _wrong_state(found)
        return found


def _check_bank(tx: sa.Connection, bank: str, currency: str) -> None:
    """
    Raises:
        InvalidInput: ``float.bank_unknown``, ``float.bank_currency``.
    """
    c = ledger_account.c
    query = sa.select(c.code, c.currency).where(c.code.like(f"{accounts.bank('')}%"))
    known = {(code.partition(":")[2], held) for code, held in tx.execute(query)}
    if not known or (bank, currency) in known:
        return
    held = sorted(code for name, code in known if name == bank)
    if not held:
        names = ", ".join(f"{name} ({code})" for name, code in sorted(known))
        raise InvalidInput("float.bank_unknown", field="from", bank=bank, known=names)
    there = ", ".join(sorted(name for name, code in known if code == currency)) or "-"
    raise InvalidInput(
        "float.bank_currency", field="from", bank=bank, held=", ".join(held), currency=currency,
        known=there,
    )  # fmt: skip


def _departure(topup: TopUp, actor: str) -> Draft:
    """The money leaves the bank (postings: float top-up leaves the bank)."""
    amount, currency = topup.amount_minor, topup.currency
    legs = (
        dr(accounts.transit(topup.account), amount, currency),
        cr(accounts.bank(topup.bank), amount, currency),
    )
    key = f"float_sent:{topup.id}"
    return Draft("float_sent", key, legs, actor, reason=topup.reason, meta=_meta(topup))


def _arrival(topup: TopUp, came: int, actor: str, reference: str | None) -> Draft:
    """It arrives; what is missing was kept by the banks between."""
    amount, currency = topup.amount_minor, topup.currency
    legs = (
        dr(accounts.float_(topup.account), came, currency),
        dr(accounts.BANK_FEE, amount - came, currency),
        cr(accounts.transit(topup.account), amount, currency),
    )
    key, meta = f"float_arrived:{topup.id}", _meta(topup) | {"reference": reference}
    return Draft("float_arrived", key, legs, actor, meta=meta)


def _meta(topup: TopUp) -> dict[str, Any]:
    return {"gateway": topup.account, "topup": encode("topup", topup.id)}


def _content(topup: TopUp) -> dict[str, Any]:
    """What a second person approves."""
    return {
        "topup": encode("topup", topup.id),
        "account": topup.account,
        "amount_minor": topup.amount_minor,
        "currency": topup.currency,
        "bank": topup.bank,
    }


def _query() -> sa.Select[Any]:
    decided = approval.c.state.label("approval_state")
    return sa.select(*_c, decided).select_from(
        float_topup.outerjoin(approval, approval.c.id == _c.approval_id)
    )


def _fetch(tx: sa.Connection, topup_id: UUID, *, lock: bool = False) -> TopUp:
    query = _query().where(_c.id == topup_id)
    if lock:
        query = query.with_for_update(of=float_topup)
    row = tx.execute(query).one_or_none()
    if row is None:
        raise NotFound("float.topup_not_found", field="id", id=encode("topup", topup_id))
    return _topup(row)


def _topup(row: sa.Row[Any]) -> TopUp:
    found = TopUp(**{name: getattr(row, name) for name in TopUp.__dataclass_fields__})
    if found.state == "awaiting_approval" and row.approval_state in _DECIDED:
        return replace(found, state=_DECIDED[row.approval_state])
    return found


def _wrong_state(found: TopUp) -> Conflict:
    return Conflict("float.not_in_state", id=encode("topup", found.id), state=found.state)
