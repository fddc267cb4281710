"""The book's metrics as the text Prometheus reads: served, printed, or left in a file.

They come from the book alone, so it does not matter which process is asked, or for how long it has
been running; two answers differ only by what happened between them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from payctl import log
from payctl.db import migrate, tally
from payctl.db.engine import Database
from payctl.errors import InvalidInput, PayctlError, Unavailable
from payctl.insight.metric_names import METRICS, Metric
from payctl.insight.requests_seen import RequestsSeen
from payctl.insight.samples import Histograms, Sample, Samples, all_samples

if TYPE_CHECKING:
    from payctl.app import App

#: The content type of :func:`render`.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Rows of counters are moved into the totals in so many steps at most, so that a reader who comes
#: after a long pause does not wait for all of them: the rest is added up where it lies.
_FOLDS = 4


def render(app: App) -> bytes:
    """The metrics of *app*'s book as Prometheus reads them. Never raises because of the book."""
    return app.metrics.render()


class Metrics:
    """Reads and exposes metrics.

    Args:
        names: accounts of the profile.
        periods: seconds between two runs of each job, by name.

    Attributes:
        requests: what this process has answered as the receiver.
    """

    def __init__(
        self,
        db: Database,
        names: Iterable[str],
        periods: Callable[[], Mapping[str, int]],
    ) -> None:
        self._db = db
        self._names = list(names)
        self._periods = periods
        self.requests = RequestsSeen()

    def render(self) -> bytes:
        """All metrics; where the book cannot be read only ``payctl_up 0``."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(*self._read()))
        return bytes(generate_latest(registry))

    def write(self, path: Path) -> None:
        """Put the metrics into *path* for the node exporter, whole or not at all.

        Raises:
            InvalidInput: ``metrics.unwritable``.
        """
        text = self.render()
        try:
            # The collector reads names that end in .prom, so it never sees the half-written file.
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(text)
                Path(name).chmod(0o644)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise InvalidInput(
                "metrics.unwritable", field="textfile", path=str(path), why=error.strerror or "-"
            ) from None

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Every value as name, labels and value, as in the text."""
        for family in _Collected(*self._read()).collect():
            for sample in family.samples:
                yield sample.name, dict(sample.labels), float(sample.value)

    def _read(self) -> tuple[Samples, Histograms]:
        try:
            found = migrate.status(self._db)
            if not found.ready:
                return {"payctl_up": [Sample((), 0)]}, {}
            self._fold()
            with self._db.read() as tx:
                samples, histograms = all_samples(
                    tx, self._db.clock.now(), self._names, self._periods(), found.head
                )
        except Unavailable as error:
            log.exception(error, "metrics.read")
            return {"payctl_up": [Sample((), 0)]}, {}
        return {**samples, "payctl_up": [Sample((), 1)]}, histograms

    def _fold(self) -> None:
        """A book that cannot be written now is read all the same."""
        try:
            self.requests.flush(self._db)
            for _ in range(_FOLDS):
                if tally.fold(self._db) < tally.FOLD_ROWS:
                    break
        except PayctlError as error:
            log.exception(error, "metrics.fold")


class _Collected:
    """Values as prometheus_client takes them."""

    def __init__(self, samples: Samples, histograms: Histograms) -> None:
        self._samples = samples
        self._histograms = histograms

    def collect(self) -> Iterator[Any]:
        for metric in METRICS:
            if metric.kind == "histogram":
                yield self._histogram(metric)
            else:
                yield self._plain(metric)

    def _plain(self, metric: Metric) -> Any:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(metric.name, metric.help, labels=metric.labels)
        for sample in self._samples.get(metric.name, ()):
            family.add_metric(sample.labels, sample.value)
        return family

    def _histogram(self, metric: Metric) -> Any:
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        series, ends, per = self._histograms.get(metric.name, ({}, (), 1))
        for labels, buckets in sorted(series.items()):
            total = buckets.total / per if per > 1 else buckets.total
            family.add_metric(labels, buckets.cumulated(ends, per), total)
        return family
