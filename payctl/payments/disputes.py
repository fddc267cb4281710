"""Disputes: what a provider says about a contested payment, brought into the books.

A dispute is a fact of the provider's; it cannot be refused. Its money moves when the provider moves
it, the owner's part is frozen meanwhile, and a person is told until when to answer. Whatever brings
news (webhook, janitor, list, an operator's question) ends in :meth:`Disputes.apply`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl import pan
from payctl.cases.service import Cases
from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.errors import Conflict, InvalidInput, NotSent, OutcomeOpen, Refused
from payctl.gateways.base import Answer, Gateway, Outcome
from payctl.gateways.disputes import Dispute, DisputeResponse, DisputeStatus
from payctl.ids import encode
from payctl.ledger import accounts
from payctl.ledger.book import Book
from payctl.ledger.model import Posted
from payctl.notifications.outbox import Outbox
from payctl.payments import dispute_records as records
from payctl.payments import store
from payctl.payments.dispute_books import DisputeBooks
from payctl.payments.dispute_records import ENDED, DisputeFilter, DisputeRecord
from payctl.payments.model import Operation
from payctl.payments.requests import check_reason

#: An open dispute is looked at this often, besides what webhooks tell.
CHECK_EVERY = timedelta(hours=6)
#: Providers list disputes; each run looks back this far for those no webhook told of.
LOOK_BACK = timedelta(days=7)
ASK_S = 10.0
MAX_FILE = 4 * 1024 * 1024
_LIMIT = 500


@dataclass(frozen=True, slots=True)
class DisputeResult:
    """A dispute after an act on it, and what it posted."""

    dispute: DisputeRecord
    journals: tuple[Posted, ...] = ()


class Disputes:
    """Use cases of disputes; each owns its transactions."""

    def __init__(
        self,
        db: Database,
        book: Book,
        gateways: Mapping[str, Gateway],
        cases: Cases,
        outbox: Outbox,
        *,
        keep_commission: bool = False,
    ) -> None:
        self._db = db
        self._gateways = gateways
        self._cases = cases
        self._outbox = outbox
        self._books = DisputeBooks(db, book, cases, keep_commission=keep_commission)

    # -- what the provider says -----------------------------------------------------------------

    def apply(self, actor: Actor, account: str, facts: Dispute) -> DisputeResult | None:
        """Bring what *account*'s provider says into the book; ``None`` when the payment is not
        ours, which opens a case.
        """
        operations = (Operation.COLLECT,)
        with self._db.read() as tx:
            attempt = store.attempt_by_reference(
                tx, account, operations, facts.payment.our_reference,
                facts.payment.provider_reference,
            )  # fmt: skip
        if attempt is None:
            self._db.run(lambda tx: self._stranger(tx, actor, account, facts))
            return None
        found = attempt

        def bring(tx: sa.Connection) -> DisputeResult:
            payment = store.payment(tx, found.payment_id, lock=True)
            before = records.find(tx, account, facts.reference)
            dispute = before or self._new(tx, found.payment_id, found.id, account, facts)
            journals: list[Posted] = []
            values = self._books.follow(tx, actor, payment, found, dispute, facts, journals)
            moved = self._moved(tx, dispute, facts, values)
            if before is None or before.status is not moved.status:
                self._tell(tx, actor, moved)
            self._case(tx, actor, moved)
            return DisputeResult(moved, tuple(journals))

        return self._db.run(bring)

    def ask(self, actor: Actor, account: str, reference: str) -> str:
        """Ask the provider about one dispute and apply what it says.

        Returns:
            ``applied``, ``nothing_new``, ``orphan`` or ``unreachable``.
        """
        gateway = self._gateways.get(account)
        if gateway is None:
            return "unreachable"
        answer = gateway.query_dispute(reference, ASK_S)
        if answer.dispute is None:
            return "unreachable"
        with self._db.read() as tx:
            before = records.find(tx, account, reference)
        result = self.apply(actor, account, answer.dispute)
        if result is None:
            return "orphan"
        news = before is None or before.status is not result.dispute.status or result.journals
        return "applied" if news else "nothing_new"

    def sync(self, actor: Actor, *, since: datetime | None = None) -> Counter[str]:
        """Ask about every dispute that is due, and for those that no webhook told of."""
        require(actor, "payment.sync")
        counts: Counter[str] = Counter()
        now = self._db.clock.now()
        with self._db.read() as tx:
            due = records.due(tx, now, _LIMIT)
        for dispute in due:
            word = self.ask(actor, dispute.gateway_account, dispute.provider_reference)
            if word == "unreachable":
                self._later(dispute)
            counts[word] += 1
        for account, gateway in sorted(self._gateways.items()):
            if gateway.capabilities.disputes:
                self._listed(actor, account, gateway, since or now - LOOK_BACK, counts)
        return counts

    def _listed(
        self,
        actor: Actor,
        account: str,
        gateway: Gateway,
        since: datetime,
        counts: Counter[str],
    ) -> None:
        for answer in gateway.list_disputes(since):
            facts = answer.dispute
            if facts is None:
                counts["list_cut"] += 1
                return
            with self._db.read() as tx:
                known = records.find(tx, account, facts.reference)
            if known is None or known.status is not facts.status:
                found = self.apply(actor, account, facts)
                counts["listed" if found is not None else "orphan"] += 1

    # -- what we answer -------------------------------------------------------------------------

    def get(self, dispute_id: UUID) -> DisputeRecord:
        """One dispute.

        Raises:
            NotFound: ``dispute.not_found``.
        """
        with self._db.read() as tx:
            return records.get(tx, dispute_id)

    def page(
        self, wanted: DisputeFilter, *, after: UUID | None = None, limit: int = 50
    ) -> Sequence[DisputeRecord]:
        """Disputes that *wanted* lets through."""
        with self._db.read() as tx:
            return records.page(tx, wanted, after, limit)

    def accept(self, actor: Actor, dispute_id: UUID, *, reason: str) -> DisputeResult:
        """Give the dispute up: the money stays with the customer.

        Raises:
            Conflict: ``dispute.ended``, ``dispute.answered``.
            NotSent, OutcomeOpen, Refused: what happened to the answer.
        """
        return self._respond(actor, dispute_id, "accept", check_reason(reason), "", b"")

    def contest(
        self,
        actor: Actor,
        dispute_id: UUID,
        *,
        text: str,
        file_name: str = "",
        file: bytes = b"",
    ) -> DisputeResult:
        """Send evidence. *text* says what it shows; *file* is one PDF or picture, at most 4 MiB.

        Raises:
            InvalidInput: ``dispute.evidence_missing``, ``dispute.file_too_large``.
            Conflict, NotSent, OutcomeOpen, Refused: as :meth:`accept`.
        """
        text = pan.scrub(text.strip())
        if not text:
            raise InvalidInput("dispute.evidence_missing", field="text")
        if len(file) > MAX_FILE:
            raise InvalidInput("dispute.file_too_large", field="evidence", limit=MAX_FILE)
        return self._respond(actor, dispute_id, "contest", text, file_name, file)

    def _respond(
        self, actor: Actor, dispute_id: UUID, word: str, text: str, file_name: str, file: bytes
    ) -> DisputeResult:
        require(actor, "dispute.handle")

        def intend(tx: sa.Connection) -> DisputeRecord:
            dispute = records.get(tx, dispute_id)
            store.payment(tx, dispute.payment_id, lock=True)
            self._check_open(dispute, word)
            now, key = self._db.clock.now(), dispute.response_key or self._db.ids.token(16)
            data = {"response": word, "file": file_name or None}
            audit.record(
                self._db, tx, actor, "dispute.answered", "dispute", dispute.id, data, text[:500]
            )
            return records.update(
                tx, dispute, now, response=word, response_key=key, responded_by=actor.name,
                responded_at=now, next_check_at=now,
            )  # fmt: skip

        dispute = self._db.run(intend)
        gateway = self._gateways.get(dispute.gateway_account)
        if gateway is None:
            raise Refused("dispute.no_gateway", gateway=dispute.gateway_account)
        answer = gateway.respond_to_dispute(
            DisputeResponse(
                dispute.provider_reference, dispute.response_key or "", word == "accept", text,
                file_name, file,
            )
        )  # fmt: skip
        if answer.dispute is None:
            self._refused(dispute, answer)
        else:
            applied = self.apply(actor, dispute.gateway_account, answer.dispute)
            if applied is not None:
                return applied
        return DisputeResult(self.get(dispute_id))

    def _check_open(self, dispute: DisputeRecord, word: str) -> None:
        shown = encode("dispute", dispute.id)
        if dispute.status in ENDED:
            raise Conflict("dispute.ended", id=shown, status=str(dispute.status))
        # The same answer may be sent again (it may not have arrived); another one may not.
        answered = dispute.status is DisputeStatus.UNDER_REVIEW or dispute.response is not None
        if answered and dispute.response != word:
            raise Conflict("dispute.answered", id=shown, response=dispute.response or "contest")

    def _refused(self, dispute: DisputeRecord, answer: Answer) -> None:
        """An answer that did not arrive, or was not taken, may be given anew."""
        shown = encode("dispute", dispute.id)
        if answer.outcome is Outcome.UNKNOWN:
            raise OutcomeOpen("dispute.no_answer", id=shown, gateway=dispute.gateway_account)

        def free(tx: sa.Connection) -> None:
            fresh = records.get(tx, dispute.id)
            records.update(
                tx, fresh, self._db.clock.now(), response=None, response_key=None,
                responded_by=None, responded_at=None,
            )  # fmt: skip

        self._db.run(free)
        why = answer.message or answer.code or str(answer.outcome)
        if answer.outcome is Outcome.NOT_SENT:
            raise NotSent("dispute.not_sent", id=shown, gateway=dispute.gateway_account, why=why)
        raise Refused("dispute.refused", id=shown, gateway=dispute.gateway_account, why=why)

    # -- rows -----------------------------------------------------------------------------------

    def _new(
        self, tx: sa.Connection, payment_id: UUID, attempt_id: UUID, account: str, facts: Dispute
    ) -> DisputeRecord:
        now = self._db.clock.now()
        # One that is over when we first hear of it has yet to be booked like any other.
        status = DisputeStatus.UNDER_REVIEW if facts.status in ENDED else facts.status
        return records.insert(
            tx,
            {
                "id": self._db.ids.new(),
                "payment_id": payment_id,
                "attempt_id": attempt_id,
                "gateway_account": account,
                "provider_reference": facts.reference,
                "amount_minor": facts.amount_minor,
                "currency": facts.currency,
                "status": status,
                "reason": pan.scrub(facts.reason)[:200],
                "respond_by": facts.due_at,
                "settled": False,
                "created_at": now,
                "updated_at": now,
                "next_check_at": now + CHECK_EVERY,
            },
        )

    def _moved(
        self,
        tx: sa.Connection,
        dispute: DisputeRecord,
        facts: Dispute,
        values: Mapping[str, Any],
    ) -> DisputeRecord:
        """The row as *facts* and the books leave it. What has ended stays ended."""
        status = dispute.status if dispute.status in ENDED else facts.status
        withdrawn = values.get("withdrawn_minor", dispute.withdrawn_minor)
        kept = status in (DisputeStatus.WON, DisputeStatus.CLOSED) and withdrawn > 0
        settled = status in ENDED and not kept
        now = self._db.clock.now()
        return records.update(
            tx, dispute, now, status=status, amount_minor=facts.amount_minor,
            respond_by=facts.due_at or dispute.respond_by, settled=settled,
            next_check_at=None if settled else now + CHECK_EVERY, **values,
        )  # fmt: skip

    def _later(self, dispute: DisputeRecord) -> None:
        def move(tx: sa.Connection) -> None:
            fresh, now = records.get(tx, dispute.id), self._db.clock.now()
            if not fresh.settled:
                records.update(tx, fresh, now, next_check_at=now + timedelta(minutes=15))

        self._db.run(move)

    def _tell(self, tx: sa.Connection, actor: Actor, dispute: DisputeRecord) -> None:
        data = {
            "id": encode("dispute", dispute.id),
            "payment": encode("payment", dispute.payment_id),
            "status": str(dispute.status),
            "amount_minor": dispute.amount_minor,
            "currency": dispute.currency,
            "gateway": dispute.gateway_account,
            "reason": dispute.reason,
        }
        kind = f"dispute.{dispute.status}"
        self._outbox.append(tx, kind, "dispute", dispute.id, data)
        audit.record(self._db, tx, actor, kind, "dispute", dispute.id, data)

    def _case(self, tx: sa.Connection, actor: Actor, dispute: DisputeRecord) -> None:
        """A case while ours is the next word; closed when the provider has decided."""
        key = f"dispute:{dispute.id}"
        if dispute.status in (DisputeStatus.INQUIRY, DisputeStatus.NEEDS_RESPONSE):
            self._cases.open(
                tx, kind="dispute", subject_kind="dispute", subject_id=dispute.id,
                gateway=dispute.gateway_account, amount_minor=dispute.amount_minor,
                currency=dispute.currency, dedupe_key=key, actor=actor,
                detail={
                    "payment": encode("payment", dispute.payment_id),
                    "reason": dispute.reason,
                    "respond_by": dispute.respond_by and dispute.respond_by.isoformat(),
                    "provider_reference": dispute.provider_reference,
                },
            )  # fmt: skip
            return
        self._cases.close(
            tx, key, resolution="answered" if dispute.status not in ENDED else str(dispute.status),
            evidence=dispute.provider_reference, actor=actor,
        )  # fmt: skip

    def _stranger(self, tx: sa.Connection, actor: Actor, account: str, facts: Dispute) -> None:
        self._cases.open(
            tx, kind="dispute_orphan", subject_kind="gateway", subject_id=None, gateway=account,
            amount_minor=facts.amount_minor, currency=facts.currency, actor=actor,
            dedupe_key=f"dispute_orphan:{account}:{facts.reference}",
            detail={
                "dispute": facts.reference,
                "payment": facts.payment.provider_reference or facts.payment.our_reference,
                "account": accounts.collect(account),
            },
        )  # fmt: skip
