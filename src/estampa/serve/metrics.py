"""What Prometheus reads at /metrics. Names and labels are few and fixed: no ids, no addresses, no file names."""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from estampa import machine
from estampa.serve.models import Version
from estampa.serve.watcher import Drift

if TYPE_CHECKING:
    from estampa.monitor.gauges import State

SHARED = "PROMETHEUS_MULTIPROC_DIR"  #: the folder by which several workers count together; set before the import
CONTENT = prometheus.CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SHARES = tuple(i / 20 for i in range(1, 20))


class Metrics:
    """The counters of one process; with several workers they are added up when they are read."""

    def __init__(self) -> None:
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self._registry}
        self.requests = Counter("estampa_requests", "Requests answered.", ["route", "code"], **own)
        self.seconds = Histogram(
            "estampa_request_duration_seconds", "From the first byte to the end of the answer.", ["route"],
            buckets=_SECONDS, **own,
        )  # fmt: skip
        self.objects = Counter("estampa_objects", "Objects asked, answered or not.", ["model"], **own)
        self.predictions = Counter("estampa_predictions", "Objects answered.", ["model", "version", "class"], **own)
        self.confidence = Histogram(
            "estampa_confidence", "Probability of the class that was answered.", ["model"], buckets=_SHARES, **own
        )
        self.abstained = Counter(
            "estampa_abstained", "Objects without an answer, or below the confidence asked for.", ["model"], **own
        )
        self.flags = Counter("estampa_flags", "Flags of answers.", ["model", "flag"], **own)
        self.info = Gauge(
            "estampa_model_info", "1 for the model that answers now.", ["model", "version", "sha"],
            multiprocess_mode="livemax", **own,
        )  # fmt: skip
        self.swaps = Counter(
            "estampa_model_swaps", "Changes of a model while serving, in each worker.", ["model", "outcome"], **own
        )
        self.lost = Counter("estampa_log_lost", "Log lines that could not be written.", **own)
        self._children: dict[tuple[Any, ...], Any] = {}

    def _of(self, metric: Any, *labels: str) -> Any:
        """A metric's child, kept: looking it up costs more than counting."""
        key = (id(metric), labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def request(self, route: str, code: int, seconds: float) -> None:
        """Count a request."""
        self._of(self.requests, route, str(code)).inc()
        self._of(self.seconds, route).observe(seconds)

    def answers(self, model: str, version: Version, answers: Sequence[dict[str, Any]]) -> None:
        """Count the answers to one request."""
        self._of(self.objects, model).inc(len(answers))
        classes, flags = Tally[str](), Tally[str]()
        confidence, abstained = self._of(self.confidence, model), 0
        for one in answers:
            names = [flag.partition(":")[0] for flag in one["flags"]]
            flags.update(names)
            if one["predicted"] is None or "low_confidence" in names:
                abstained += 1
            if one["predicted"] is None:
                continue
            classes[one["predicted"] if "probability" in one else "value"] += 1
            if "probability" in one:
                confidence.observe(one["probability"])
        for name, count in classes.items():
            self._of(self.predictions, model, version.label, name).inc(count)
        for name, count in flags.items():
            self._of(self.flags, model, name).inc(count)
        if abstained:
            self._of(self.abstained, model).inc(abstained)

    def refused(self, model: str) -> None:
        """Count a single object that was refused before the model saw it: its data cannot be read."""
        self._of(self.objects, model).inc()
        self._of(self.abstained, model).inc()
        self._of(self.flags, model, "unreadable").inc()

    def model(self, name: str, version: Version, before: Version | None = None) -> None:
        """Say which model answers now. Its objects are counted from 0, so that the first is seen as a change."""
        for counter in (self.objects, self.abstained):
            counter.labels(name)
        if before is not None:
            self.info.labels(name, before.label, before.bundle.manifest.hashes.model).set(0)
        self.info.labels(name, version.label, version.bundle.manifest.hashes.model).set(1)

    def follows(self, name: str) -> None:
        """Begin to count the swaps of a model at 0, so that the first one is seen as a change."""
        for outcome in ("done", "failed"):
            self.swaps.labels(name, outcome)

    @staticmethod
    def forget_dead(folder: Path) -> None:
        """Delete what workers that are gone said of the present; what they have counted stays.

        To be called by a worker before it counts: one that was killed had the same number, perhaps.
        """
        for path in folder.glob("gauge_live*.db"):
            pid = path.stem.rpartition("_")[2]
            if pid.isdigit() and (int(pid) == os.getpid() or not machine.alive(int(pid))):
                path.unlink(missing_ok=True)

    def text(self, states: dict[str, State]) -> bytes:
        """All of it, as Prometheus reads it; `states`: what the last answers of each model say."""
        counted = self._registry
        if os.environ.get(SHARED):
            counted = CollectorRegistry()
            MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
        watched = CollectorRegistry()
        watched.register(Drift(states))
        return prometheus.generate_latest(counted) + prometheus.generate_latest(watched)
