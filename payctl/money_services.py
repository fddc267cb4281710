"""The services that move money or say what moved it, and those of webhooks and notifications.

What needs nothing but the book is built by :class:`payctl.book_services.BookServices`, the gateways
and what operators say about them by :class:`payctl.gateway_services.GatewayServices`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from payctl.gateway_services import GatewayServices

if TYPE_CHECKING:
    from payctl.cases.service import Cases
    from payctl.commissions.service import Commissions
    from payctl.ledger.adjustments import Adjustments
    from payctl.ledger.anchors import Anchors
    from payctl.ledger.book import Book
    from payctl.ledger.check import CheckReport
    from payctl.ledger.holds import Holds
    from payctl.ledger.sealing import Sealing
    from payctl.ledger.verify import Verifier
    from payctl.notifications.outbox import Outbox
    from payctl.notifications.relay import Relay
    from payctl.parties.service import Parties
    from payctl.payments.captures import Captures
    from payctl.payments.dispatch import Dispatch
    from payctl.payments.disputes import Disputes
    from payctl.payments.first_answer import FirstAnswers
    from payctl.payments.float_topups import FloatTopUps
    from payctl.payments.float_watch import FloatWatch
    from payctl.payments.imports import Imports
    from payctl.payments.intake import Intake
    from payctl.payments.outcomes import Outcomes
    from payctl.payments.refund_outcomes import RefundOutcomes
    from payctl.payments.refunds import Refunds
    from payctl.payments.service import Payments
    from payctl.payments.sync import Sync
    from payctl.webhooks.missed import Missed
    from payctl.webhooks.reception import Reception
    from payctl.webhooks.replay import Replays
    from payctl.webhooks.secrets import Secrets
    from payctl.webhooks.service import Inbox


class MoneyServices(GatewayServices):
    """Ledger, payments, refunds, disputes, floats, webhooks and notifications of one profile."""

    @cached_property
    def book(self) -> Book:
        from payctl.ledger.book import Book

        return Book(self.db, self.zone)

    @cached_property
    def adjustments(self) -> Adjustments:
        from payctl.ledger.adjustments import Adjustments

        return Adjustments(self.db, self.book, self.approvals)

    @cached_property
    def anchors(self) -> Anchors:
        from payctl.ledger.anchors import Anchors
        from payctl.ledger.destinations import parse

        return Anchors(self.db, [parse(each) for each in self.config.anchors])

    @cached_property
    def sealing(self) -> Sealing:
        from payctl.ledger.sealing import Sealing

        return Sealing(self.db, self.anchors)

    @cached_property
    def verifier(self) -> Verifier:
        from payctl.ledger.verify import Verifier

        return Verifier(self.db, self.anchors)

    def check_ledger(self) -> CheckReport:
        """Every check of the ledger and of the features above it, on one snapshot."""
        from payctl.ledger.check import run
        from payctl.ledger.invariants import ageing
        from payctl.payments.checks import all_checks, untaken

        now = self.db.clock.now()
        with self.db.read() as tx:
            return run(tx, [ageing(now), *all_checks(), untaken(now)])

    @cached_property
    def holds(self) -> Holds:
        from payctl.ledger.holds import Holds

        return Holds(self.db, self.book)

    @cached_property
    def outbox(self) -> Outbox:
        from payctl.notifications.outbox import Outbox

        return Outbox(self.db)

    def relays(self) -> list[Relay]:
        """Whoever is told of notifications, as far as they are configured; close each.

        Raises:
            NotConfigured: as :func:`payctl.notifications.endpoints.relays`.
        """
        from payctl.notifications.endpoints import relays

        return relays(self.config, self.db)

    @cached_property
    def cases(self) -> Cases:
        from payctl.cases.service import Cases
        from payctl.payments.case_resolvers import CaseResolvers

        cases = Cases(self.db, self.outbox, self.approvals)
        outcomes = self._outcomes(cases)
        resolvers = CaseResolvers(
            self.db, self.book, self.commissions, outcomes, self._refund_outcomes(cases)
        )
        cases.resolvers |= resolvers.all()
        return cases

    @cached_property
    def commissions(self) -> Commissions:
        from payctl.commissions.service import Commissions

        return Commissions(self.db)

    @cached_property
    def parties(self) -> Parties:
        from payctl.parties.service import Parties

        return Parties(self.db, self.config.country)

    @cached_property
    def outcomes(self) -> Outcomes:
        return self._outcomes(self.cases)

    @cached_property
    def dispatch(self) -> Dispatch:
        from payctl.payments.dispatch import Dispatch
        from payctl.payments.retry import Retries

        return Dispatch(self.db, self.gateways, self.outcomes, self.breakers, Retries(self.db))

    @cached_property
    def payments(self) -> Payments:
        from payctl.payments.service import Payments

        return Payments(
            self.db, self.intake, self.first_answers, self.router, self.dispatch, self.outcomes,
            self.outbox,
        )  # fmt: skip

    @cached_property
    def intake(self) -> Intake:
        from payctl.payments.intake import Intake

        return Intake(self.db, self.router, self.breakers, self.dispatch, self.parties)

    @cached_property
    def first_answers(self) -> FirstAnswers:
        from payctl.payments.first_answer import FirstAnswers

        return FirstAnswers(self.db, self.book, self.commissions.known, self.breakers)

    @cached_property
    def imports(self) -> Imports:
        from payctl.payments.imports import Imports

        # An account whose provider has no adapter yet has a past all the same.
        names = {*self.config.gateways, *self.gateways}
        return Imports(self.db, self.book, self.parties, self.outbox, names)

    @cached_property
    def captures(self) -> Captures:
        from payctl.payments.captures import Captures

        return Captures(self.db, self.dispatch, self.gateway_settings)

    @cached_property
    def refunds(self) -> Refunds:
        from payctl.payments.refunds import Refunds

        return Refunds(
            self.db, self.book, self.approvals, self.outbox, self.breakers,
            self.gateway_settings, self.dispatch,
            self.outcomes,
        )  # fmt: skip

    @cached_property
    def float_topups(self) -> FloatTopUps:
        from payctl.payments.float_topups import FloatTopUps

        return FloatTopUps(self.db, self.book, self.approvals, self.gateways)

    @cached_property
    def float_watch(self) -> FloatWatch:
        from payctl.payments.float_watch import FloatWatch

        return FloatWatch(self.db, self.gateways, lambda: self.cases)

    @cached_property
    def sync(self) -> Sync:
        from payctl.payments.completions import Completions
        from payctl.payments.sync import Sync

        return Sync(
            self.db, self.book, self.dispatch, self.outcomes, self.refunds, self.approvals,
            self.breakers, self.cases, self.outbox, self.disputes,
            Completions(
                self.db, self.dispatch, self.outcomes, self.breakers, self.gateway_settings
            ),
        )  # fmt: skip

    @cached_property
    def disputes(self) -> Disputes:
        from payctl.payments.disputes import Disputes

        keep = bool(self.config.get("disputes.keep_commission"))
        return Disputes(
            self.db, self.book, self.gateways, self.cases, self.outbox, keep_commission=keep
        )

    @cached_property
    def inbox(self) -> Inbox:
        from payctl.webhooks.service import Inbox

        return Inbox(self.db, self.reception, self.sync, self.cases)

    @cached_property
    def replays(self) -> Replays:
        from payctl.payments.previews import Previews
        from payctl.webhooks.replay import Replays

        return Replays(self.db, self.inbox, Previews(self.db, self.dispatch, self.outcomes))

    @cached_property
    def missed_events(self) -> Missed:
        from payctl.webhooks.missed import Missed

        return Missed(self.db, self.reception)

    def webhook_secrets(self, account: str) -> Secrets:
        """The webhook secrets of an account of the profile.

        Raises:
            NotFound: ``gateway.not_found``.
        """
        from payctl.webhooks.secrets import Secrets

        self.reception.gateway(account)
        return Secrets(self.config.gateways[account], self.db.clock)

    @cached_property
    def reception(self) -> Reception:
        from payctl.webhooks.reception import Reception

        return Reception(self.db, self.gateways, self.cases)

    def _refund_outcomes(self, cases: Cases) -> RefundOutcomes:
        from payctl.payments.refund_outcomes import RefundOutcomes

        return RefundOutcomes(self.db, self.book, cases, self.outbox)

    def _outcomes(self, cases: Cases) -> Outcomes:
        from payctl.payments.outcomes import Outcomes
        from payctl.payments.receipts import Receipts

        return Outcomes(
            self.db,
            self.gateways,
            Receipts(self.db, self.book, self.commissions, cases),
            self._refund_outcomes(cases),
            cases,
            self.outbox,
            self.breakers,
        )
