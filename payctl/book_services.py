"""The services that need nothing but a book: who may do what, what was done, and reading.

They are apart from the composition root because they call no provider and move no money; each is
imported on first use.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from payctl.db.engine import Database

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from payctl.config import Config
    from payctl.db.approvals import Approvals
    from payctl.db.audit_trail import AuditTrail
    from payctl.db.job_runs import JobRuns
    from payctl.db.leases import Leases
    from payctl.db.operators import Operators
    from payctl.db.threshold_changes import Thresholds
    from payctl.insight.lookup import Lookup
    from payctl.insight.upkeep import Upkeep
    from payctl.ledger.reports import Reports
    from payctl.notifications.desk import Deliveries
    from payctl.payments.exports import Exports
    from payctl.payments.queries import Queries
    from payctl.payments.statistics import Statistics


class BookServices:
    """The services on one profile's book.

    Args:
        config: the profile.
        db: its book; default: what the profile says.
    """

    def __init__(self, config: Config, db: Database | None = None) -> None:
        self.config = config
        self.db = db or Database(
            config.database_url,
            book=config.book,
            pool_size=config.get("database.pool_size"),
            prepared=config.get("database.prepared"),
        )

    def close(self) -> None:
        """Close all connections."""
        self.db.dispose()

    @cached_property
    def zone(self) -> ZoneInfo:
        """The book's time zone: cuts days and months."""
        from zoneinfo import ZoneInfo

        return ZoneInfo(self.config.timezone)

    # -- people, approvals, audit, jobs -----------------------------------------------------------

    @cached_property
    def operators(self) -> Operators:
        from payctl.db.operators import Operators

        return Operators(self.db)

    @cached_property
    def approvals(self) -> Approvals:
        from payctl.db.approvals import Approvals

        return Approvals(self.db)

    @cached_property
    def thresholds(self) -> Thresholds:
        from payctl.db.threshold_changes import Thresholds

        return Thresholds(self.db, self.approvals)

    @cached_property
    def audit(self) -> AuditTrail:
        from payctl.db.audit_trail import AuditTrail

        return AuditTrail(self.db)

    @cached_property
    def leases(self) -> Leases:
        from payctl.db.leases import Leases

        return Leases(self.db)

    @cached_property
    def job_runs(self) -> JobRuns:
        from payctl.db.job_runs import JobRuns

        return JobRuns(self.db, self.leases)

    @cached_property
    def deliveries(self) -> Deliveries:
        from payctl.notifications.desk import Deliveries

        return Deliveries(self.db)

    # -- reading ----------------------------------------------------------------------------------

    @cached_property
    def reports(self) -> Reports:
        from payctl.ledger.reports import Reports

        return Reports(self.zone)

    @cached_property
    def queries(self) -> Queries:
        from payctl.payments.queries import Queries

        return Queries(self.db)

    @cached_property
    def exports(self) -> Exports:
        from payctl.payments.exports import Exports

        return Exports(self.db)

    @cached_property
    def statistics(self) -> Statistics:
        from payctl.payments.statistics import Statistics

        return Statistics(self.db, self.zone)

    @cached_property
    def lookup(self) -> Lookup:
        from payctl.insight.lookup import Lookup

        return Lookup(self.db)

    @cached_property
    def upkeep(self) -> Upkeep:
        from payctl.insight.upkeep import Upkeep

        return Upkeep(self.db)
