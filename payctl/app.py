"""Composition root: builds the services from configuration, each imported on first use.

A service is a cached property: the first door that asks for it pays for its import, a command that
does not need it pays nothing. What moves money is built by
:class:`payctl.money_services.MoneyServices`; here is what keeps watch, and what an approval sets
going.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from payctl.db.engine import Database
from payctl.money_services import MoneyServices

if TYPE_CHECKING:
    from payctl.config import Config
    from payctl.db.actor import Actor
    from payctl.db.approvals import Approval
    from payctl.gateways.base import Probe
    from payctl.insight.alerts import Alerts
    from payctl.insight.findings import Schedule
    from payctl.insight.gateway_health import GatewayHealth
    from payctl.insight.health import Health
    from payctl.insight.metrics import Metrics
    from payctl.insight.provider_balances import Balances
    from payctl.insight.today import Today
    from payctl.insight.watch import Watch
    from payctl.payments.float_topups import TopUpResult
    from payctl.payments.results import RefundResult


class App(MoneyServices):
    """The services of one profile.

    Args:
        config: the profile.
        db: its book; default: what the profile says.
        probe: told of every exchange with a provider, before and after.
    """

    @classmethod
    def open(cls, config: Config, db: Database | None = None, probe: Probe | None = None) -> App:
        """The services of *config*, on a book that is complete.

        An embedded book is created by the first command; any other must have been upgraded.

        Raises:
            NotConfigured: ``database.not_upgraded``, ``database.newer``.
            Unavailable: the database cannot be reached.
        """
        from payctl.db.migrate import ensure_ready

        app = cls(config, db, probe)
        try:
            ensure_ready(app.db)
        except BaseException:
            app.close()
            raise
        return app

    # -- keeping watch ----------------------------------------------------------------------------

    def _schedules(self) -> list[Schedule]:
        """The jobs that are expected to run, and how often."""
        import jobs
        from payctl.insight.findings import Schedule

        return [
            Schedule(job.name, job.every_s)
            for job in jobs.all_jobs().values()
            if not job.needs or self.config.get(job.needs)
        ]

    @cached_property
    def today(self) -> Today:
        from payctl.insight.today import Today

        return Today(
            self.db,
            lambda: self.cases,
            self.approvals,
            self._schedules,
            lambda: self.job_runs.last(),
        )

    @cached_property
    def gateway_health(self) -> GatewayHealth:
        from payctl.insight.gateway_health import GatewayHealth

        return GatewayHealth(self.db, self.gateways, self.breakers)

    @cached_property
    def metrics(self) -> Metrics:
        from payctl.insight.metrics import Metrics

        return Metrics(
            self.db,
            self.config.gateways,
            lambda: {job.name: job.every_s for job in self._schedules()},
        )

    @cached_property
    def watch(self) -> Watch:
        from payctl.insight.watch import Watch

        return Watch(self.db, self.queries, lambda: self.sync)

    def provider_balances(self, account: str | None = None) -> Balances:
        """What each provider (or one) holds for us by its own account, beside our books.

        Raises:
            NotFound: ``gateway.not_found``.
        """
        from payctl.insight.provider_balances import compare

        chosen = self.gateways
        if account is not None:
            chosen = {account: self.gateway_settings.known(account)}
        return compare(self.db, self.float_watch.read(chosen))

    @cached_property
    def health(self) -> Health:
        from payctl.insight.health import Health

        return Health(
            self.config,
            self.db,
            lambda: self.gateways,
            self._schedules,
            lambda: self.job_runs.last(),
        )

    @cached_property
    def alerts(self) -> Alerts:
        import shlex

        from payctl.insight.alerts import Alerts

        return Alerts(
            self.db, self.health,
            shlex.split(self.config.get("alerts.command") or ""),
            self.config.get("alerts.timeout_s"), self.config.get("alerts.level"),
        )  # fmt: skip

    # -- after an approval ------------------------------------------------------------------------

    @cached_property
    def after_approval(self) -> dict[str, Callable[[Actor, Approval], object]]:
        """What an approval of each kind sets going, by kind: the act that was waiting for it.

        Called with the approver and the approval once it is stored as approved. A kind without an
        entry waits for whoever asked to repeat the act.
        """
        return {
            "threshold_change": lambda actor, asked: self.thresholds.apply(actor, asked.id),
            "case_resolve": lambda actor, asked: self.cases.resolve_approved(actor, asked.id),
            "routing_change": lambda actor, asked: self.rule_book.apply(actor, asked.id),
            "breaker_force": lambda actor, asked: self.breaker_desk.apply(actor, asked.id),
            "ledger_adjustment": lambda actor, asked: self.adjustments.execute(actor, asked.id),
            "float_topup": self._send_float,
            "refund": self._send_refund,
            "refund_late": self._send_refund,
            "reverse_payout": self._send_refund,
        }

    def _send_float(self, actor: Actor, asked: Approval) -> TopUpResult | None:
        return self.float_topups.approved(actor, asked.subject_id) if asked.subject_id else None

    def _send_refund(self, actor: Actor, asked: Approval) -> RefundResult | None:
        """An approved refund is sent in the name of who approved it."""
        return self.refunds.approved(actor, asked.subject_id) if asked.subject_id else None
