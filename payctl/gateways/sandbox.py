"""The sandbox gateway: a provider of our own that behaves as badly as it is told to.

It keeps its own book of what "the provider" did in its own SQLite file (setting ``book``), needs no
network, and tells the truth only through the same protocol as a real one. Several accounts, each
with a file and terms of its own, imitate several providers.

A payment says how it goes by words in its ``payment_token``, e-mail or description, written
``tok_WORD`` or ``tok_VERB_WORD`` (without a verb: ``create``), joined by anything:

======================== ==========================================================================
``ok``, ``visa``         succeeds (authorised when captured by hand)
``decline_CODE``         declined with one of ``DECLINE_CODES``: ``decline_insufficient_funds``
``3ds[:S]``              customer must act; succeeds S seconds later, or on :meth:`customer_acts`
``3ds_fail[:S]``         customer must act and fails the authentication after S seconds
``abandon[:S]``          customer must act and never does; expires after S seconds (1800)
``approval[:S]``         customer must act; then (or S seconds later) it waits to be completed
``pending[:S]``          accepted; succeeds after S seconds, or on :meth:`customer_acts`
``pending_decline[:S]``  accepted; declined later. ``pending_expire[:S]`` expires later
``wrong_amount[:D]``     takes D minor units more than asked (-1). ``wrong_currency`` another coin
``not_sent[:N]``         connection refused (the first N times); nothing happens
``429[:N]``              slow down (the first N times); nothing happens
``rejected``, ``auth``   refused: bad request, bad credentials; nothing happens
``timeout_no_effect[:N]`` no answer (the first N times, 1) and nothing happens
``lost_answer[:N]``      no answer although it happened; also ``timeout_effect``
``late:S``               no answer, nothing there; it happens S seconds later
``5xx``, ``5xx_effect``  status 500, without and with effect; kept and replayed for the key
``garbage[:N]``          it happened and the answer is an HTML page
``down[:S]``             this and everything else is refused for S seconds (600)
``query_not_found[:S]``  queries find nothing for S seconds (always). ``query_down[:S]`` no answer
``refund_pending[:S]``   refund accepted, succeeds later; ``refund_pending_fail[:S]`` fails later
``refund_fails_later:S`` refund succeeds, then fails after S seconds
``refund_…``             also ``refund_decline_CODE`` and all from ``not_sent`` to ``garbage``
``capture_…, cancel_…``  the same, ``capture_lost_answer``
``complete_…``           also ``complete_pending[:S]`` and ``complete_decline_CODE``
``payout_…``             a payout's, in its description or payee's name: ``payout_pending[:S]``,
                         ``payout_pending_fail:S``, ``payout_returned:S``, ``payout_decline_CODE``
``hook_lost``            webhooks are never sent. ``hook_double, hook_late:S, hook_reorder``
======================== ==========================================================================

A *script* (setting ``script``: a list, or the path of a file with a line each) does the same by
order of exchange, whatever the payment says: ``create late:90``, ``query down x3``, ``hook lost``.
Random mode throws dice with ``seed`` and the rates named in ``sandbox_script.Dice.FACES``.
``outages`` are spans of time in which nothing can be reached; an outage goes before the script, the
script before the payment's words, and those before the dice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from payctl import log
from payctl.clock import Clock
from payctl.errors import NotConfigured, NotSent
from payctl.gateways import exchange, sandbox_events
from payctl.gateways.base import (
    Answer,
    BalanceLine,
    Capabilities,
    CaptureRequest,
    Event,
    Health,
    PaymentRequest,
    PayoutRequest,
    Probe,
    Reference,
    RefundRequest,
    no_probe,
)
from payctl.gateways.checks import (
    Refusing,
    refuse_capture,
    refuse_payment,
    refuse_payout,
    refuse_query,
    refuse_refund,
    rejected,
)
from payctl.gateways.sandbox_book import SandboxBook, find, micros
from payctl.gateways.sandbox_events import Totals
from payctl.gateways.sandbox_script import read_script, read_tokens, read_word
from payctl.gateways.sandbox_terms import Terms, read_terms
from payctl.gateways.sandbox_wire import SECOND, Wire, insert_outage, insert_script, payment_of
from payctl.gateways.settings import Settings
from payctl.pan import mask_phone


class SandboxGateway(Refusing):
    """See the module. Build it with :meth:`from_settings`.

    Args:
        book: the provider's file; several accounts must not share one.
        terms: what it can do and how it behaves.
    """

    live = False

    def __init__(
        self, book: SandboxBook, terms: Terms, clock: Clock, probe: Probe = no_probe
    ) -> None:
        self.name = terms.name
        self.account = terms.rules.account
        self.capabilities: Capabilities = terms.capabilities
        self.terms = terms
        self._book = book
        self._wire = Wire(book, terms, clock)
        self._clock = clock
        self._probe = probe

    @classmethod
    def from_settings(cls, settings: Settings, *, clock: Clock, probe: Probe) -> SandboxGateway:
        book = SandboxBook(Path(settings.text("book")).expanduser())
        return cls(book, read_terms(settings), clock, probe)

    # --- the six verbs --------------------------------------------------------------------------

    def create_payment(self, request: PaymentRequest) -> Answer:
        if refusal := refuse_payment(self.capabilities, request):
            return refusal
        pairs, stray = read_tokens((request.payment_token, request.email, request.description))
        if stray:
            return rejected("unknown_token", stray)
        data = {
            "our_reference": request.our_reference,
            "amount_minor": request.amount_minor,
            "currency": request.currency,
            "method": request.method,
            "manual_capture": request.manual_capture,
            # This provider's book is a file of ours: no card number may get into it either.
            "metadata": exchange.tree(request.metadata),
            "words": pairs,
            "payer": self._payer(request),
        }
        shown = {name: value for name, value in data.items() if name != "payer"}
        if request.phone:
            shown["phone"] = mask_phone(request.phone)
        change = self._wire.change
        return self._watched(
            "create", shown, lambda: change("create", request.idempotency_key, data, pairs)
        )

    def query_payment(self, reference: Reference) -> Answer:
        return self._query("payment", reference)

    def complete_payment(self, reference: Reference, idempotency_key: str) -> Answer:
        data = payment_of(reference)
        change = self._wire.change
        return self._watched(
            "complete", data, lambda: change("complete", idempotency_key, data, "")
        )

    def capture_payment(self, request: CaptureRequest) -> Answer:
        if refusal := refuse_capture(self.capabilities, request):
            return refusal
        data = _moving(request) | {"final": request.final}
        change = self._wire.change
        return self._watched(
            "capture", data, lambda: change("capture", request.idempotency_key, data, "")
        )

    def cancel_payment(self, reference: Reference, idempotency_key: str) -> Answer:
        data = payment_of(reference)
        change = self._wire.change
        return self._watched("cancel", data, lambda: change("cancel", idempotency_key, data, ""))

    def refund_payment(self, request: RefundRequest) -> Answer:
        if refusal := refuse_refund(self.capabilities, request):
            return refusal
        pairs, stray = read_tokens((request.reason,))
        if stray:
            return rejected("unknown_token", stray)
        data = _moving(request)
        change = self._wire.change
        return self._watched(
            "refund", data, lambda: change("refund", request.idempotency_key, data, pairs)
        )

    def query_refund(self, reference: Reference) -> Answer:
        if not self.capabilities.query_refunds:
            return rejected("not_supported", "refund status")
        return self._query("refund", reference)

    def create_payout(self, request: PayoutRequest) -> Answer:
        if refusal := refuse_payout(self.capabilities, request):
            return refusal
        pairs, stray = read_tokens((request.description, request.destination.name))
        if stray:
            return rejected("unknown_token", stray)
        data = {
            "our_reference": request.our_reference,
            "amount_minor": request.amount_minor,
            "currency": request.currency,
            "words": pairs,
        }
        asked = data | {"destination": asdict(request.destination)}
        change = self._wire.change
        return self._watched(
            "payout", data, lambda: change("payout", request.idempotency_key, asked, pairs)
        )

    def query_payout(self, reference: Reference) -> Answer:
        if not self.capabilities.payouts:
            return rejected("not_supported", "payouts")
        return self._query("payout", reference)

    # --- the rest of the protocol ---------------------------------------------------------------

    def list_payments(self, since: datetime, until: datetime) -> Iterator[Answer]:
        if not self.capabilities.lists_payments:
            yield rejected("not_supported", "listing payments")
            return
        with self._wire.transaction() as (tx, now):
            fault = self._wire.fault(tx, now, "list")
            rows = [] if fault else sandbox_events.between(tx, micros(since), micros(until))
            found = [self._wire.provider.payment_answer(tx, now, row) for row in rows]
        yield from found
        if fault:
            yield fault

    def balance(self) -> list[BalanceLine]:
        if not self.capabilities.balance:
            raise NotConfigured("gateway.not_supported", account=self.account, what="balance")
        with self._wire.transaction() as (tx, now):
            fault = self._wire.fault(tx, now, "balance")
            sums, floats = sandbox_events.totals(tx), self.terms.rules.float_minor
            left = {each: self._wire.provider.float_minor(tx, each) for each in floats}
        if fault:
            raise NotSent("gateway.unreachable", account=self.account, why=str(fault.outcome))
        return [
            *(
                BalanceLine(currency, each.captured_minor - each.fees_minor - each.refunded_minor)
                for currency, each in sums.items()
            ),
            *(BalanceLine(currency, amount, part="float") for currency, amount in left.items()),
        ]

    def ping(self) -> Health:
        started = self._clock.monotonic()
        with self._wire.transaction() as (tx, now):
            fault = self._wire.fault(tx, now, "ping")
        detail = f"{fault.outcome}: {fault.message or fault.code}" if fault else "sandbox answers"
        return Health(fault is None, self._since(started), detail)

    def parse_event(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> Event:
        proof = self.terms.event_proof
        return sandbox_events.parse(body, headers, self.terms.secrets(), received_at, proof)

    # --- the provider's side, for tests, the demo and the crash explorer ------------------------

    def customer_acts(self, our_reference: str, to: str = "succeeded") -> bool:
        """The customer pays (``succeeded``), fails (``declined``) or lets it run out (``expired``).

        Returns:
            Whether a payment was waiting for that.
        """
        code = "authentication_failed" if to == "declined" else None
        with self._wire.transaction() as (tx, now):
            row = find(tx, "payment", None, our_reference)
            return row is not None and self._wire.provider.advance(tx, now, row["id"], to, code)

    def top_up(self, currency: str, amount_minor: int) -> None:
        """Put more money into the float."""
        with self._wire.transaction() as (tx, _):
            tx.execute("INSERT INTO top_up VALUES (?, ?)", (currency, amount_minor))

    def float_minor(self, currency: str) -> int:
        """What is left of the float, in minor units."""
        with self._wire.transaction() as (tx, _):
            return self._wire.provider.float_minor(tx, currency)

    def payouts(self) -> list[dict[str, Any]]:
        """The provider's payouts as it has them, oldest first."""
        with self._wire.transaction() as (tx, _):
            return [dict(row) for row in tx.execute("SELECT * FROM payout ORDER BY n")]

    def payee_acts(self, our_reference: str, to: str = "succeeded") -> bool:
        """The payee's account takes the money (``succeeded``), refuses it (``declined``), or sends
        it back after it had come (``returned``); whether a payout was there for that.
        """
        with self._wire.transaction() as (tx, now):
            row = find(tx, "payout", None, our_reference)
            return row is not None and self._wire.provider.payout_to(tx, now, row["id"], to)

    def add_script(self, *lines: str) -> None:
        """Append lines to the script, for all processes that use this book.

        Raises:
            NotConfigured: ``gateway.bad_script``.
        """
        script = read_script(self.account, lines)
        with self._wire.transaction() as (tx, _):
            insert_script(tx, script)

    def add_outage(self, seconds: int, kind: str = "not_sent") -> None:
        """Be out of reach for *seconds* from now; *kind* is a transport word."""
        with self._wire.transaction() as (tx, now):
            insert_outage(tx, now, now + seconds * SECOND, kind)

    def totals(self) -> dict[str, Totals]:
        """What the provider took and gave back, by currency, to hold against our ledger."""
        with self._wire.transaction() as (tx, _):
            return sandbox_events.totals(tx)

    def payments(self) -> list[dict[str, Any]]:
        """The provider's payments as it has them, oldest first."""
        with self._wire.transaction() as (tx, _):
            return sandbox_events.payments(tx)

    def pending_events(self) -> list[dict[str, Any]]:
        """Events that have not been delivered yet, due or not."""
        with self._wire.transaction() as (tx, _):
            return sandbox_events.waiting(tx)

    def deliveries(
        self, now: datetime | None = None, faults: Iterable[str] = ()
    ) -> Iterator[tuple[bytes, dict[str, str]]]:
        """Signed webhooks that are due: ``(body, headers)`` to put into our inbox.

        An event counts as delivered when the next one is asked for, so a receiver that dies gets it
        again. *faults* go on top of what payments and script say: ``lost``, ``double``, ``late:S``,
        ``reorder`` (the whole batch backwards).
        """
        words = {word.name: word for word in map(read_word, faults)}
        with self._wire.transaction() as (tx, present):
            due = sandbox_events.take(tx, micros(now) if now else present, words)
        for event in due:
            at, proof = now or self._clock.now(), self.terms.event_proof
            body = sandbox_events.outgoing(event.body, proof)
            secret = self.terms.secrets()[0] if proof == "signature" else None
            for _ in range(event.copies):
                yield body, sandbox_events.headers(body, secret, at)
            with self._wire.transaction() as (tx, _):
                sandbox_events.delivered(tx, event.id)

    def close(self) -> None:
        """Close the file's connections."""
        self._book.close()

    # --- one exchange ---------------------------------------------------------------------------

    def _query(self, table: str, reference: Reference) -> Answer:
        if refusal := refuse_query(self.capabilities, reference):
            return refusal
        by = self.capabilities.query_by
        theirs = reference.provider_reference if "provider_reference" in by else None
        ours = reference.our_reference if "our_reference" in by else None
        shown = {"provider_reference": theirs, "our_reference": ours}
        data = reference.provider_data
        return self._watched("query", shown, lambda: self._wire.query(table, theirs, ours, data))

    def _payer(self, request: PaymentRequest) -> str | None:
        """Whom this provider will name as the payer, as it keeps it."""
        kind, value = ("msisdn", request.phone) if request.phone else ("email", request.email)
        if not value or not self.capabilities.reports_payer:
            return None
        return json.dumps({"kind": kind, "value": value, "country": request.country})

    def _watched(self, verb: str, request: Mapping[str, Any], run: Callable[[], Answer]) -> Answer:
        """Run one exchange between the two probes and keep a record of it."""
        started = self._clock.monotonic()
        self._probe("send.before")
        if self.terms.latency_ms:
            self._clock.sleep(self.terms.latency_ms / 1000)
        answer = run()
        self._probe("receive.after")
        record = {
            "correlation_id": log.correlation(),
            "verb": verb,
            "request": exchange.tree(request),
            "outcome": str(answer.outcome),
            "provider_reference": answer.provider_reference,
        }
        return replace(answer, latency_ms=self._since(started), exchange=record)

    def _since(self, started: float) -> int:
        return round((self._clock.monotonic() - started) * 1000)


def _moving(request: CaptureRequest | RefundRequest) -> dict[str, Any]:
    return payment_of(request.payment) | {
        "our_reference": request.our_reference,
        "amount_minor": request.amount_minor,
        "currency": request.currency,
    }
