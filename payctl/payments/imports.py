"""Recording payments that were captured elsewhere: the former service, a box office, a provider's
own page.

A row is posted exactly as a capture through our own gateway, and no provider is called. A batch of
rows is one transaction and each row has its own verdict, so a bad row stops no other; the payment's
key makes every row count once, so a file is resumed by importing it again.

A settled row is a sale whose money was paid out before it came into this book. It brings its
commission and VAT like any other, and what came in and what its owner has had stand on
``opening:migration``: no provider holds it, and no owner is owed it (postings design, chart).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from payctl.commissions.rate_book import read_terms
from payctl.db import audit
from payctl.db.actor import Actor
from payctl.db.engine import RETRIES, Database
from payctl.db.permissions import require
from payctl.errors import Conflict, InvalidInput, PayctlError
from payctl.gateways.base import Fee
from payctl.ledger import accounts, drafts
from payctl.ledger.book import Book
from payctl.ledger.model import Draft, Posted, Refusal
from payctl.ledger.store import closed_until
from payctl.notifications.outbox import Outbox
from payctl.parties.service import Parties
from payctl.payments import import_store as store
from payctl.payments import postings
from payctl.payments.announcements import announcement
from payctl.payments.import_files import Raw, Source
from payctl.payments.import_rows import ImportRow, read_row
from payctl.payments.import_store import Made, Origin
from payctl.payments.sales import Sale

#: Rows of one transaction: enough to share its cost, few enough to hold no lock for long.
BATCH = 200
#: Rows of a dry run whose entries are shown.
SHOWN = 3

Refused = Callable[[Raw, PayctlError], None]


@dataclass(slots=True)
class Total:
    """What was recorded in one currency, in minor units."""

    rows: int = 0
    amount_minor: int = 0
    commission_minor: int = 0
    vat_minor: int = 0
    fee_minor: int = 0
    settled_minor: int = 0


@dataclass(slots=True)
class ImportReport:
    """How a run ended. ``already`` rows were there with the same content; ``reasons`` counts the
    refused ones by error code; ``first`` are the journals of the first rows of a dry run.
    """

    rows: int = 0
    recorded: int = 0
    already: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    totals: dict[str, Total] = field(default_factory=dict)
    first: list[Posted] = field(default_factory=list)

    @property
    def refused(self) -> int:
        return self.reasons.total()


@dataclass(frozen=True, slots=True)
class _Read:
    """A row of a batch: what it tells of, or why it was refused."""

    raw: Raw
    row: ImportRow | None = None
    error: PayctlError | None = None


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What became of a row: recorded with its journals, ``already`` there, or refused."""

    made: Made | None = None
    journals: tuple[Posted, ...] = ()
    error: PayctlError | None = None


_ALREADY = _Verdict()


class Imports:
    """Records the payments of a file.

    Args:
        gateways: names of the profile's merchant accounts; one whose provider has no adapter yet
            has a past all the same.
    """

    def __init__(
        self,
        db: Database,
        book: Book,
        parties: Parties,
        outbox: Outbox,
        gateways: Collection[str],
    ) -> None:
        self._db = db
        self._book = book
        self._parties = parties
        self._outbox = outbox
        self._gateways = frozenset(gateways)

    def run(
        self,
        actor: Actor,
        source: Source,
        sha256: str,
        *,
        refused: Refused,
        tick: Callable[[int], None],
        dry_run: bool = False,
    ) -> ImportReport:
        """Record every row of *source* that is not recorded yet.

        Args:
            sha256: of the file, for the audit trail.
            refused: told of each refused row and why, in the file's order.
            tick: told how many more rows are done, once per batch.
            dry_run: run the same code in transactions that are rolled back. A key that stands
                twice in the file is then seen only within one batch.

        Raises:
            Forbidden: ``operator.not_allowed``.
            InvalidInput: ``import.unreadable``.
            Unavailable: the database; what was recorded before stays, and the file can be
                imported again.
        """
        require(actor, "payment.import")
        report = ImportReport()
        for batch in self._batches(source):
            rows = [(each.raw.line, each.row) for each in batch if each.row is not None]
            verdicts = iter(self._recorded(actor, source, rows, dry_run))
            for each in batch:
                verdict = next(verdicts) if each.row is not None else _Verdict(error=each.error)
                _count(report, verdict)
                if verdict.error is not None:
                    refused(each.raw, verdict.error)
            tick(len(batch))
        if not dry_run:
            self._audit(actor, source, sha256, report)
        return report

    # -- reading --------------------------------------------------------------------------------

    def _batches(self, source: Source) -> Iterator[list[_Read]]:
        """Rows in batches. A batch ends before a key or provider reference that it already has:
        the second is then judged by what became of the first.
        """
        batch: list[_Read] = []
        names: set[object] = set()
        for raw in source.rows():
            read = self._read(raw)
            own = _names(read.row) if read.row is not None else set()
            if len(batch) >= BATCH or names & own:
                yield batch
                batch, names = [], set()
            batch.append(read)
            names |= own
        if batch:
            yield batch

    def _read(self, raw: Raw) -> _Read:
        if raw.error is not None:
            return _Read(raw, error=raw.error)
        try:
            return _Read(raw, read_row(raw.cells, self._gateways, self._db.clock.now()))
        except InvalidInput as error:
            return _Read(raw, error=error)

    # -- recording ------------------------------------------------------------------------------

    def _recorded(
        self, actor: Actor, source: Source, rows: list[tuple[int, ImportRow]], dry_run: bool
    ) -> list[_Verdict]:
        """Verdicts of a batch, in its order."""
        if not rows:
            return []
        if dry_run:
            with self._db.rehearsal() as tx:
                return self._record(tx, actor, source, rows)
        for _ in range(RETRIES):
            try:
                return self._db.run(lambda tx: self._record(tx, actor, source, rows))
            except sa.exc.IntegrityError:
                # Somebody has just recorded one of the provider's references under another key;
                # that is committed now, so the next turn sees it before it writes.
                continue
        return self._db.run(lambda tx: self._record(tx, actor, source, rows))

    def _record(
        self, tx: sa.Connection, actor: Actor, source: Source, rows: list[tuple[int, ImportRow]]
    ) -> list[_Verdict]:
        """Claim the keys, post what is new, and write the payments of what was posted.

        Locks in one order whoever imports what: keys and organisers by name, then balances.
        """
        verdicts: dict[str, _Verdict] = {}
        made: dict[str, Made] = {}
        ours, others = store.claim(self._db, tx, [row for _, row in rows])
        taken = store.taken_references(tx, [row for _, row in rows])
        self._parties.open_all(tx, (row.wanted.organiser for _, row in rows))
        terms = read_terms(tx, {row.wanted.organiser for _, row in rows})
        for line, row in rows:
            key, wanted = row.wanted.key, row.wanted
            if key in others:
                reused = Conflict("key.reused", field="key", key=key)
                same = others[key] == row.fingerprint()
                verdicts[key] = _ALREADY if same else _Verdict(error=reused)
                continue
            if (row.gateway, row.provider_reference) in taken:
                verdicts[key] = _Verdict(error=_taken(row))
                continue
            rate = terms.rate(
                sale_type=wanted.sale_type, organiser=wanted.organiser, currency=wanted.currency,
                country=wanted.country, at=row.captured_at,
            )  # fmt: skip
            if rate is None:
                verdicts[key] = _Verdict(error=_no_rate(row))
                continue
            sale = Sale(rate, terms.role(wanted.sale_type, row.captured_at) == "principal")
            made[key] = store.make(
                self._db, actor, ours[key], row, sale, Origin(source.path.name, line)
            )
        verdicts |= self._posted(tx, actor, made)
        self._write(tx, actor, [each.made for each in verdicts.values() if each.made is not None])
        store.release(tx, [key for key in ours if verdicts[key].error is not None])
        return [verdicts[row.wanted.key] for _, row in rows]

    def _posted(
        self, tx: sa.Connection, actor: Actor, made: dict[str, Made]
    ) -> dict[str, _Verdict]:
        """Post captures, then the fees of those that stand."""
        closed = closed_until(tx)
        captures = [self._dated(_capture(each, actor), each, closed) for each in made.values()]
        verdicts: dict[str, _Verdict] = {}
        fees: dict[str, Draft] = {}
        done = self._book.post_many(tx, captures) if captures else ()
        for (key, each), posted in zip(made.items(), done, strict=True):
            if isinstance(posted, Refusal):
                verdicts[key] = _Verdict(error=posted.error())
                continue
            verdicts[key] = _Verdict(each, (posted,))
            if each.row.fee_minor:
                fees[key] = self._dated(_fee(each, actor), each, closed)
        charged = self._book.post_many(tx, list(fees.values())) if fees else ()
        for key, posted in zip(fees, charged, strict=True):
            if isinstance(posted, Refusal):
                # A capture without its fee would stay so for ever: the batch is tried again whole.
                raise posted.error()
            verdicts[key] = replace(verdicts[key], journals=(*verdicts[key].journals, posted))
        return verdicts

    def _dated(self, draft: Draft, made: Made, closed: int) -> Draft:
        """*draft* counting when the money came in, or today where that month is closed (rule 3)."""
        dated = replace(draft, effective_at=made.row.captured_at)
        if self._book.period_of(made.row.captured_at) > closed:
            return dated
        return drafts.redated(dated, None)

    def _write(self, tx: sa.Connection, actor: Actor, made: Sequence[Made]) -> None:
        """Rows, notifications and audit records of what was posted."""
        if not made:
            return
        store.insert(tx, made)
        told = []
        for each in made:
            data = {**announcement(each.payment), "imported": True, "settled": each.row.settled}
            told.append((each.payment.id, data))
            audit.record(
                self._db, tx, actor, "payment.imported", "payment", each.payment.id,
                {**data, **(each.payment.imported or {})},
            )  # fmt: skip
        self._outbox.append_first(tx, "payment.succeeded", "payment", told)

    def _audit(self, actor: Actor, source: Source, sha256: str, report: ImportReport) -> None:
        data = {
            "file": source.path.name,
            "sha256": sha256,
            "rows": report.rows,
            "recorded": report.recorded,
            "already": report.already,
            "refused": report.refused,
            "totals": {
                currency: {"rows": total.rows, "amount_minor": total.amount_minor}
                for currency, total in sorted(report.totals.items())
            },
        }
        with self._db.transaction() as tx:
            audit.record(self._db, tx, actor, "payments.imported", "file", None, data)


def _names(row: ImportRow) -> set[object]:
    """What may stand once in a batch: the key, and the provider's reference at its account."""
    names: set[object] = {row.wanted.key}
    if row.provider_reference is not None:
        names.add((row.gateway, row.provider_reference))
    return names


def _capture(made: Made, actor: Actor) -> Draft:
    post = postings.settled_capture if made.row.settled else postings.capture
    key = f"capture:{made.attempt.id}:0"
    return post(made.payment, made.attempt, made.sale, made.part, key=key, actor=actor.name)


def _fee(made: Made, actor: Actor) -> Draft:
    """The fee under a name of our own: the file does not say the provider's."""
    fee = Fee(made.row.fee_minor or 0, made.payment.currency, f"import:{made.attempt.id}")
    source = accounts.OPENING_MIGRATION if made.row.settled else None
    return postings.fee(made.attempt, fee, actor=actor.name, source=source)


def _taken(row: ImportRow) -> Conflict:
    return Conflict(
        "import.reference_taken", field="provider_reference", gateway=row.gateway,
        reference=row.provider_reference,
    )  # fmt: skip


def _no_rate(row: ImportRow) -> Conflict:
    return Conflict(
        "import.no_rate", field="captured_at", sale_type=row.wanted.sale_type,
        currency=row.wanted.currency, organiser=row.wanted.organiser,
        at=row.captured_at.isoformat(),
    )  # fmt: skip


def _count(report: ImportReport, verdict: _Verdict) -> None:
    report.rows += 1
    if verdict.error is not None:
        report.reasons[verdict.error.code] += 1
        return
    if verdict.made is None:
        report.already += 1
        return
    report.recorded += 1
    if report.recorded <= SHOWN:
        report.first.extend(verdict.journals)
    made = verdict.made
    total = report.totals.setdefault(made.payment.currency, Total())
    total.rows += 1
    total.amount_minor += made.payment.amount_minor
    total.commission_minor += made.payment.commission_minor
    total.vat_minor += made.payment.vat_minor
    total.fee_minor += made.row.fee_minor or 0
    total.settled_minor += made.payment.amount_minor if made.row.settled else 0
