"""What is measured of one engine, variant and compute after another, with the same images. A failure is a row."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from protoleak.bench.accuracy import Reference, attributions, judge, screen
from protoleak.bench.inputs import Labelled
from protoleak.bench.results import Accuracy, Row, configuration_name
from protoleak.bench.settings import BenchmarkSettings
from protoleak.bench.timing import Baseline, Sample, Workload, compare, measure, screening, summarise
from protoleak.bundle.bundle import Bundle
from protoleak.choices import Arithmetic
from protoleak.environment.memory import forget_peak, peak_mib
from protoleak.errors import ProtoleakError, first_line
from protoleak.runtime.engines import EngineOptions
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.screener import Screener

UNDIVIDED, STAGE_RUNS = "gpu", 10


class EngineConfiguration(NamedTuple):
    """A variant, by which engine it is run, and in which arithmetic."""

    engine: str
    variant: str
    compute: Arithmetic

    @property
    def name(self) -> str:
        """What tables call it."""
        return configuration_name(*self)


BASELINE = EngineConfiguration("pytorch eager", "fp32", "exact")


class Measurements:
    """What has been measured so far, and what the next one is measured with.

    Args:
        images: encoded, to be timed.
        judged: images of which verdicts are compared with labels; may be empty.
        baseline: what engines are timed in turns with; None for nothing.
        problem: why the baseline that was asked for cannot run.

    Attributes:
        rows: times, one row per configuration and batch size.
        accuracy: one per configuration, where there are judged images.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: BenchmarkSettings,
        images: Sequence[bytes],
        judged: Sequence[Labelled],
        baseline: Workload | None,
        problem: str | None = None,
    ) -> None:
        self._bundle, self._settings, self._images, self._judged = bundle, settings, images, judged
        self._baseline = baseline
        self._baseline_samples: dict[int, list[Sample]] = {}
        self._baseline_errors = {} if problem is None else dict.fromkeys(settings.batch_sizes, problem)
        self._reference: Reference | None = None
        self.rows: list[Row] = []
        self.accuracy: list[Accuracy] = []

    def add(self, configuration: EngineConfiguration) -> None:
        """Times it at every batch size, and judges its verdicts."""
        gc.collect()  # the last one's buffers
        forget_peak()
        try:
            screener = self._opened(configuration, whole=not self._judged)  # there is no face in drawn images
        except Exception as error:  # libraries raise errors of their own; a failure is a row and the others go on
            self.rows += [_failed(configuration, batch, error) for batch in self._settings.batch_sizes]
            if self._judged:
                self.accuracy.append(_not_judged(configuration, error))
            return
        for batch in self._settings.batch_sizes:
            try:
                self.rows.append(self._row(configuration, batch, screener))
            except Exception as error:  # see above
                self.rows.append(_failed(configuration, batch, error))
        if self._judged:
            try:
                outcomes = screen(screener, self._judged)
            except Exception as error:  # see above
                self.accuracy.append(_not_judged(configuration, error))
                return
            self.accuracy.append(judge(configuration, self._judged, outcomes, self._bundle, self._reference))
            self._reference = self._reference or Reference(configuration.name, attributions(outcomes))

    def baseline_rows(self) -> list[Row]:
        """The baseline's own times, which were taken beside those of what is measured."""
        rows = []
        for batch in self._settings.batch_sizes:
            samples = self._baseline_samples.get(batch)
            why_none = None if samples else "nothing ran that it could be timed with"
            error = self._baseline_errors.get(batch) or why_none
            timing = summarise(samples) if samples and error is None else None
            rows.append(
                Row(
                    engine=BASELINE.engine,
                    variant=BASELINE.variant,
                    compute=BASELINE.compute,
                    batch=batch,
                    error=error,
                    device=None if error else "CPU",
                    timing=timing,
                )
            )
        return rows

    def _opened(self, configuration: EngineConfiguration, *, whole: bool, stage_times: bool = False) -> ImagePipeline:
        """What judges images: by their largest face as a user's are, or for `whole` as they are, whatever they show."""
        settings = self._settings
        options = EngineOptions(
            compute=configuration.compute,
            device=settings.device,
            batch_maximum=max(8, *settings.batch_sizes),
            stage_times=stage_times,
            notify=lambda _: None,  # what it would say is in the row's settings
        )
        pipeline = ImagePipeline if whole else Screener
        return pipeline(
            self._bundle,
            alpha=settings.alpha,
            variant=configuration.variant,
            engine=configuration.engine,
            threads=settings.threads,
            engine_options=options,
        )

    def _row(self, configuration: EngineConfiguration, batch: int, screener: ImagePipeline) -> Row:
        settings, images = self._settings, self._images
        timing, theirs = measure(
            screening(screener), images, batch, settings.runs, settings.warm_up, self._guarded_baseline(batch)
        )
        self._baseline_samples.setdefault(batch, []).extend(theirs)
        if UNDIVIDED in timing.stages:  # the parts of a CUDA graph can only be timed without it
            apart = self._opened(configuration, whole=not isinstance(screener, Screener), stage_times=True)
            runs = min(settings.runs, STAGE_RUNS)
            parts, _ = measure(screening(apart), images, batch, runs, settings.warm_up)
            timing = msgspec.structs.replace(timing, stages=parts.stages)
        graphs = self._bundle.variant(configuration.variant)
        peak = peak_mib()
        forget_peak()
        return Row(
            engine=configuration.engine,
            variant=configuration.variant,
            compute=configuration.compute,
            batch=batch,
            device=screener.engine.device,
            settings=screener.engine.settings,
            timing=timing,
            peak_memory_mib=peak,
            model_bytes=len(graphs.latent_encoder) + len(graphs.attributor),
            baseline=compare(timing, theirs) if theirs else None,
        )

    def _guarded_baseline(self, batch: int) -> Baseline | None:
        """The baseline at one batch size; once it has failed there it is left out."""
        if (baseline := self._baseline) is None:
            return None

        def run(images: Sequence[bytes]) -> Sample | None:
            if batch in self._baseline_errors:
                return None
            try:
                return baseline(images)
            except Exception as error:  # see `add`
                self._baseline_errors[batch] = error_line(error)
                return None

        return run


def error_line(error: Exception) -> str:
    """What a row says of an error: its first line, with its type where a library raised it."""
    kind = "" if isinstance(error, ProtoleakError) else f"{type(error).__name__}: "
    return kind + first_line(error)


def _failed(configuration: EngineConfiguration, batch: int, error: Exception) -> Row:
    engine, variant, compute = configuration
    return Row(engine=engine, variant=variant, compute=compute, batch=batch, error=error_line(error))


def _not_judged(configuration: EngineConfiguration, error: Exception) -> Accuracy:
    engine, variant, compute = configuration
    return Accuracy(engine=engine, variant=variant, compute=compute, error=error_line(error))
