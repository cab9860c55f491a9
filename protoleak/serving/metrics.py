"""What a server counts, for Prometheus; with several workers, of all of them together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

# Where the workers' counts lie, as prometheus_client wants it named; set by the process that starts them.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BUILD = "protoleak_build_info"
MOST_SERIES = 1024
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The counts of one process, under the names that /v1/metrics shows."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series beside every other one, that nobody asks for
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("protoleak_requests", "Answers by status code.", ["code"], registry=registry)
        self.images = Counter(
            "protoleak_images",
            "Images and faces by outcome: a verdict, no_face or error.",
            ["verdict"],
            registry=registry,
        )
        self.rejected = Counter(
            "protoleak_rejected",
            "Requests that were refused, by reason.",
            ["reason"],
            registry=registry,
        )
        self.depth = Gauge(
            "protoleak_queue_depth",
            "Images that are accepted and not answered yet.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.ready = Gauge(
            "protoleak_ready", "Processes that are ready.", registry=registry, multiprocess_mode="livesum"
        )
        self.batch_size = Histogram(
            "protoleak_batch_size",
            "Faces that went through the engines together.",
            buckets=BATCH_SIZES,
            registry=registry,
        )
        self.decode_seconds = Histogram(
            "protoleak_decode_seconds",
            "From an image's bytes to what goes into the engines.",
            buckets=SECONDS,
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "protoleak_queue_seconds", "From a prepared face to its batch.", buckets=SECONDS, registry=registry
        )
        self.engine_seconds = Histogram(
            "protoleak_engine_seconds", "A batch in the engines.", buckets=SECONDS, registry=registry
        )
        self.drift_evidence = Gauge(
            "protoleak_drift_evidence",
            "Evidence, to 1, that the images of a source are not like the calibration's; from 100 on that is drift.",
            ["source"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.drifts = Counter(
            "protoleak_drifts", "Sources, and live sources, whose images were said to be drift.", registry=registry
        )
        self.reloads = Counter(
            "protoleak_reloads",
            "Bundles that were to be loaded anew.",
            ["outcome"],
            registry=registry,
        )
        self._build: Gauge | None = None
        self._built: Mapping[str, str] = {}
        self._sources: set[str] = set()
        self._shared = os.environ.get(SHARED_FOLDER)
        if self._shared is None:
            ProcessCollector(registry=registry)

    def build(self, labels: Mapping[str, str]) -> None:
        """Says what is served, in place of what was.

        Args:
            labels: names and values, always of the same names.
        """
        if self._build is None:
            self._build = Gauge(
                BUILD,
                "What is served.",
                list(labels),
                registry=self._registry,
                multiprocess_mode="livemax",
            )
        elif self._shared is None:
            self._build.clear()
        else:
            self._build.labels(**self._built).set(0)
        self._build.labels(**labels).set(1)
        self._built = labels

    def show_evidence(self, source: str, evidence: float) -> None:
        """Shows how unlike the calibration's the images of a source are.

        With several workers the library forgets no series, so that only the first `MOST_SERIES` sources are shown:
        their names are whatever clients give.
        """
        if self._shared is not None and source not in self._sources:
            if len(self._sources) == MOST_SERIES:
                return
            self._sources.add(source)
        self.drift_evidence.labels(source).set(evidence)

    def forget_source(self, source: str) -> None:
        """Shows nothing of a source any more."""
        if self._shared is None:  # elsewhere the library keeps it in the workers' files
            self.drift_evidence.remove(source)

    def text(self) -> bytes:
        """In the form that Prometheus reads."""
        if self._shared is None:
            return generate_latest(self._registry)
        merged = CollectorRegistry()
        merged.register(_Merged())
        return generate_latest(merged)


class _Merged(Collector):
    """The counts of all workers, without bundles that none of them serves any more."""

    def collect(self) -> Iterator[Metric]:
        for metric in MultiProcessCollector(None).collect():  # type: ignore[no-untyped-call]
            if metric.name == BUILD:
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric
