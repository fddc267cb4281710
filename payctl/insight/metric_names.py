"""Every metric payctl exposes: its name, kind, labels and meaning.

What is exposed is built from this table, and the alert rules, the dashboard and the manual are held
against it by tests; so none of them can speak of a metric that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The window of ``payment_success_rate``, in minutes.
RATE_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``kind`` is counter, gauge or histogram; a counter's name ends in ``_total``."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str

    @property
    def samples(self) -> tuple[str, ...]:
        """The names its samples have."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


def _metric(name: str, kind: str, labels: str, help: str) -> Metric:
    return Metric(name, kind, tuple(labels.split()), help)


METRICS: tuple[Metric, ...] = (
    _metric("payment_transactions_total", "counter", "provider operation outcome",
            "Requests to providers that were answered or given up: create, complete, capture,"
            " cancel, refund, payout, resend. Questions about an object are not among them."),
    _metric("payment_success_rate", "gauge", "provider",
            f"Share (0 to 1) of requests for payment that ended in success among those that ended"
            f" in the last {RATE_MINUTES} minutes. Absent while none ended."),
    _metric("payment_gateway_response_time", "histogram", "provider operation",
            "Seconds until a provider answered, questions included."),
    _metric("payment_errors_total", "counter", "provider operation kind",
            "Exchanges that ended in an error: not_sent, rejected (refused as wrong, not declined)"
            " or unknown. A customer's decline is none."),
    _metric("payment_service_payments_total", "counter", "provider status currency",
            "Payments that came into a status; provider is none where no gateway could take it."
            " Imported payments are not counted."),
    _metric("payment_service_payment_amount", "histogram", "provider currency",
            "Amounts of payments that succeeded, in minor units of the currency (cents; whole"
            " francs)."),
    _metric("payment_service_refunds_total", "counter", "provider status currency",
            "Refunds that came into a status."),
    _metric("payctl_up", "gauge", "",
            "1 while the book can be read and is at the program's revision, else 0: then nothing"
            " else is told."),
    _metric("payctl_build_info", "gauge", "version revision",
            "Always 1: the program's version and the book's revision."),
    _metric("payctl_breaker_state", "gauge", "provider operation state",
            "1 for the state a breaker is in (closed, open, half_open), else 0. Breakers that never"
            " had a failure are absent: closed."),
    _metric("payctl_unknown_outcomes", "gauge", "provider",
            "Requests whose outcome nobody knows."),
    _metric("payctl_unknown_outcome_age_seconds", "gauge", "provider",
            "Age of the oldest request whose outcome nobody knows."),
    _metric("payctl_unapplied_receipts_minor", "gauge", "provider currency",
            "Money received that belongs to no open order, in minor units."),
    _metric("payctl_open_cases", "gauge", "kind",
            "Cases that wait for a person."),
    _metric("payctl_inbox_waiting", "gauge", "provider",
            "Webhook events received and not applied yet."),
    _metric("payctl_inbox_lag_seconds", "gauge", "provider",
            "Age of the oldest webhook event that is not applied yet."),
    _metric("payctl_inbox_dead", "gauge", "provider",
            "Webhook events given up: dead letters."),
    _metric("payctl_inbox_orphans", "gauge", "provider",
            "Webhook events about nothing of ours."),
    _metric("payctl_webhook_last_timestamp_seconds", "gauge", "provider",
            "When the provider's last webhook came, in seconds since 1970."),
    _metric("payctl_outbox_waiting", "gauge", "",
            "Notifications that have not reached the core service."),
    _metric("payctl_outbox_lag_seconds", "gauge", "",
            "Age of the oldest notification that has not reached the core service."),
    _metric("payctl_outbox_dead", "gauge", "",
            "Notifications given up: dead letters."),
    _metric("payctl_outbox_disabled", "gauge", "",
            "Receivers of notifications that are switched off."),
    _metric("payctl_job_runs_total", "counter", "job state",
            "Runs of jobs that ended: done, failed, lost (killed without a word)."),
    _metric("payctl_job_seconds_total", "counter", "job state",
            "Seconds those runs took together."),
    _metric("payctl_job_last_success_timestamp_seconds", "gauge", "job",
            "When a run of the job last ended well, in seconds since 1970; 0 when none ever did."),
    _metric("payctl_job_period_seconds", "gauge", "job",
            "How often the job should run."),
    _metric("payctl_ledger_check_ok", "gauge", "",
            "1 when the last run of the job ledger_check found nothing broken, else 0. Absent while"
            " it never ran."),
    _metric("payctl_ledger_check_timestamp_seconds", "gauge", "",
            "When it ran, in seconds since 1970."),
    _metric("payctl_float_available_minor", "gauge", "provider currency",
            "What is left for payouts as the provider last told, in minor units."),
    _metric("payctl_float_alarm_minor", "gauge", "provider currency",
            "Below so many minor units a float is low."),
    _metric("payctl_float_read_timestamp_seconds", "gauge", "provider currency",
            "When the provider told, in seconds since 1970."),
    _metric("payctl_http_requests_total", "counter", "route status",
            "Requests the receiver answered. Each process writes them into the book from time to"
            " time; what it counted since is lost when it is killed."),
    _metric("payctl_http_request_seconds", "histogram", "route",
            "Seconds the receiver took to answer."),
)  # fmt: skip
BY_NAME = {metric.name: metric for metric in METRICS}
#: Every name that may stand in an expression.
SAMPLES = frozenset(sample for metric in METRICS for sample in metric.samples)
