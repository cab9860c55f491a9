"""One worker: takes a block, reads its inputs, judges them and writes its part. Knows Ray only as `Reports`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from protoleak.errors import MediaError, ProtoleakError
from protoleak.files import refused, replace_file
from protoleak.image_records import Identity, Record, records_of
from protoleak.runtime.verdict import Verdict
from protoleak.screener import Screener
from protoleak.serving.corpus.listing import Input
from protoleak.serving.corpus.plan import Corpus, Folder, Inputs, check_identity
from protoleak.serving.corpus.reading import NamedImage, Reader
from protoleak.serving.corpus.settings import JudgeSettings, OpenJudge, open_judge
from protoleak.serving.corpus.table import parquet_bytes

SECONDS_BETWEEN_REPORTS = 0.5


class Reports(Protocol):
    """Where a worker reports to: a `Monitor`, near or far."""

    def sign(self, doing: str) -> None: ...

    def begin(self, block: int) -> bool: ...

    def alone(self, block: int, index: int, source: str) -> bool: ...

    def survived(self, block: int, index: int) -> None: ...

    def judged(self, block: int, images: int, doing: str) -> None: ...

    def finished(self, block: int, inputs: int) -> None: ...


@dataclass(frozen=True)
class Work:
    """What every worker of a run is told.

    Attributes:
        folder: of the results, the same for all workers.
    """

    folder: Path
    corpus: Corpus
    settings: JudgeSettings


class BlockJudge:
    """Judges blocks, one after another.

    Args:
        work: the run.
        reports: gets signs of life.

    Raises:
        ProtoleakError: bundle, engine or detector cannot be opened, or are others than the run was begun with.
    """

    def __init__(self, work: Work, reports: Reports) -> None:
        self._work, self._reports = work, reports
        reports.sign("opening the bundle")
        self._judge: OpenJudge = open_judge(work.settings, lambda phase, *_: reports.sign(f"building a plan: {phase}"))
        self._identity: Identity = self._judge.identity
        self._folder = Folder(work.folder)
        check_identity(work.folder, work.corpus.identity, self._identity)
        self._inputs = Inputs(self._folder, work.corpus)
        self._read = Reader(work.corpus.column)

    def __call__(self, block: int) -> int:
        """Judges a block, unless its part is there already, and returns how many inputs it has.

        Raises:
            ProtoleakError: the part cannot be written.
        """
        part = self._folder.part(block)
        inputs = self._inputs[block]
        if not part.exists():
            one_by_one = self._reports.begin(block)
            records = list(self._alone(block, inputs) if one_by_one else self._together(block, inputs))
            try:
                replace_file(part, [parquet_bytes(records, self._identity)])
            except OSError as error:
                raise refused(part, error) from error
        self._reports.finished(block, len(inputs))
        return len(inputs)

    def _together(self, block: int, inputs: Sequence[Input]) -> Iterator[Record]:
        last = time.monotonic()
        taken = (self._read(given) for given in inputs)
        for done, (given, outcomes) in enumerate(zip(inputs, self._outcomes(taken), strict=True), start=1):
            yield from self._records(given, outcomes)
            if time.monotonic() - last >= SECONDS_BETWEEN_REPORTS:
                last = time.monotonic()
                self._reports.judged(block, done, inputs[min(done, len(inputs) - 1)].source)

    def _alone(self, block: int, inputs: Sequence[Input]) -> Iterator[Record]:
        """One image at a time: the image that ends the worker is known to the monitor, and left out in the end."""
        for index, given in enumerate(inputs):
            if self._reports.alone(block, index, given.source):
                for outcomes in self._outcomes([self._read(given)]):
                    yield from self._records(given, outcomes)
            else:
                reason = f"{given.source}: workers died while they judged it: left out; try it with --isolate"
                yield Record("error", given.source, None, reason=reason)
            self._reports.survived(block, index)
            self._reports.judged(block, index + 1, given.source)

    def _outcomes(self, images: Iterable[NamedImage | MediaError]) -> Iterator[Sequence[Verdict | ProtoleakError]]:
        judge, size = self._judge, self._work.settings.batch_size
        if judge.detector is None or not isinstance(judge.screener, Screener):
            return ([outcome] for outcome in judge.screener.each(images, size))
        return iter(judge.screener.each_face(images, judge.faces, detector=judge.detector, batch_size=size))

    def _records(self, given: Input, outcomes: Sequence[Verdict | ProtoleakError]) -> list[Record]:
        return records_of(given.source, outcomes, by_face=self._judge.detector is not None)
