"""From sources to summary: list, judge, count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from protoleak.errors import ProtoleakError
from protoleak.file_locks import locked
from protoleak.files import write_whole
from protoleak.image_records import SCHEMA
from protoleak.metrics.false_discovery import check_level
from protoleak.progress import Progress, no_progress
from protoleak.serving.corpus.cluster import Place, check_processors, cluster, require_ray
from protoleak.serving.corpus.filesystems import shown
from protoleak.serving.corpus.judge import Work
from protoleak.serving.corpus.listing import Input, inputs_of
from protoleak.serving.corpus.plan import Corpus, Folder, block_size, check_identity, check_same
from protoleak.serving.corpus.settings import Description, JudgeSettings
from protoleak.serving.corpus.summary import Summary, summarise
from protoleak.serving.corpus.workers import Supervisor, start_monitor
from protoleak.strict_json import json_bytes
from protoleak.version import __version__

PATIENCE = 60.0
LISTED_BETWEEN_NOTES = 10_000


@dataclass(frozen=True)
class CorpusOptions:
    """What is asked for, besides how to judge.

    Attributes:
        sources: folders, globs, lists, Parquet files, tars, addresses.
        out: the folder of results.
        column: of Parquet files; None to look for one.
        false_discovery_rate: level of the false-discovery control; None for alpha.
        patience: seconds without progress that are borne.
    """

    sources: list[str]
    out: Path
    column: str | None = None
    resume: bool = False
    overwrite: bool = False
    place: Place = field(default_factory=Place)
    false_discovery_rate: float | None = None
    patience: float = PATIENCE


def run_corpus(options: CorpusOptions, settings: JudgeSettings, progress: Progress = no_progress) -> Summary:
    """Judges all that the sources hold, and writes rows and summary into the folder of results.

    Raises:
        MissingExtra: Ray is not installed.
        ProtoleakError: nothing can be started, the run to be continued is another one, the disk refused, or there
            was no progress. What is written is valid, and `resume` continues it.
    """
    if options.false_discovery_rate is not None:
        check_level(options.false_discovery_rate)
    require_ray(options.place)
    options.out.mkdir(parents=True, exist_ok=True)
    with locked(options.out):
        folder = Folder(options.out)
        begun = folder.prepare(resume=options.resume, overwrite=options.overwrite)
        if begun is not None:
            check_same(options.out, begun, [shown(source) for source in options.sources], options.column)
        workers = wanted_workers(options.place)
        with cluster(options.place, workers):
            corpus = _judge(options, settings, folder, begun, workers, progress)
        summary = summarise(folder, corpus, options.false_discovery_rate or corpus.identity.alpha)
        write_whole(folder.summary, [json_bytes(summary)])
    return summary


def wanted_workers(place: Place) -> int:
    """Those that were asked for, or one per processor of this machine."""
    from protoleak.environment.processors import processors, threads_of_quota

    return place.workers or threads_of_quota() or processors()


def _judge(
    options: CorpusOptions,
    settings: JudgeSettings,
    folder: Folder,
    begun: Corpus | None,
    workers: int,
    progress: Progress,
) -> Corpus:
    import ray

    if options.place.address is not None and options.place.workers is None:
        workers = max(1, int(ray.cluster_resources().get("CPU", 0)) - 1)
    check_processors(options.place, workers, ray.cluster_resources())
    supervisor = Supervisor(start_monitor(), options.patience)
    first = supervisor.first_worker(settings, options.out.resolve(), options.place.gpus)
    _check_worker(options, first)
    if begun is not None:
        check_identity(options.out, begun.identity, first.identity)
    corpus = begun or _begin(options, folder, first, progress)
    blocks = folder.unfinished(corpus)
    if blocks:
        rate = _Rate(corpus, blocks, progress)
        busy = min(workers, len(blocks))  # the others would be started for nothing
        supervisor.run(Work(options.out.resolve(), corpus, settings), blocks, busy, options.place, rate.show)
    if missing := folder.unfinished(corpus):
        raise ProtoleakError(f"{len(missing)} of {corpus.blocks} parts are missing in {options.out}: give --resume")
    return corpus


def _check_worker(options: CorpusOptions, first: Description) -> None:
    if first.version != __version__:
        raise ProtoleakError(
            f"the workers of {options.place.address} have protoleak {first.version}, and this is {__version__}: "
            "install the same there"
        )
    if not first.folder_is_shared:
        raise ProtoleakError(
            f"--out {options.out}: a worker of {options.place.address} does not see this folder: give one that all "
            "machines of the cluster share, by the same path"
        )


def _begin(options: CorpusOptions, folder: Folder, first: Description, progress: Progress) -> Corpus:
    folder.clear()
    count = folder.write_inputs(_shown(inputs_of(options.sources, options.out, options.column), progress))
    if not count:
        raise ProtoleakError(f"{' '.join(map(shown, options.sources))}: nothing to judge: these sources are empty")
    corpus = Corpus(
        schema=SCHEMA,
        protoleak=__version__,
        sources=[shown(source) for source in options.sources],
        column=options.column,
        identity=first.identity,
        generators=first.generators,
        inputs=count,
        block=block_size(count),
    )
    folder.begin(corpus)
    return corpus


def _shown(inputs: Iterator[Input], progress: Progress) -> Iterator[Input]:
    for count, given in enumerate(inputs, start=1):
        if count % LISTED_BETWEEN_NOTES == 0:
            progress("listing", count, 0)
        yield given


class _Rate:
    """Shows how many inputs are judged, how fast, and how long the rest will take at that speed."""

    def __init__(self, corpus: Corpus, blocks: list[int], progress: Progress) -> None:
        self._todo = sum(corpus.size(block) for block in blocks)
        self._before = corpus.inputs - self._todo
        self._total = corpus.inputs
        self._progress = progress
        self._begun = time.monotonic()

    def show(self, judged: int) -> None:
        """
        Args:
            judged: inputs of this run's blocks.
        """
        rate = judged / max(time.monotonic() - self._begun, 1e-9)
        left = f", {duration((self._todo - judged) / rate)} left" if judged and judged < self._todo else ""
        self._progress("judging", self._before + judged, self._total, f"{rate:.1f} images/s{left}")


def duration(seconds: float) -> str:
    """In the two largest units that matter: 45 s, 12 min, 3 h 20 min, 4 d 6 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
