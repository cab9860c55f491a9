"""Where the records of a run over images go besides the terminal: opened where that was asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace as replace_fields

from protoleak.cli.screen_images.judging import Judging, example_record
from protoleak.cli.screen_options import STANDARD_OUTPUT, ScreenOptions
from protoleak.errors import MediaError
from protoleak.image_records import Identity, Record
from protoleak.runtime.drift import DriftMonitor
from protoleak.runtime.pipeline import ImagePipeline

if TYPE_CHECKING:  # most runs write no report and no file: what these import takes longer than a verdict
    from protoleak.cli.screen_images.earlier_results import EarlierLine
    from protoleak.cli.screen_images.findings import Findings
    from protoleak.cli.screen_images.report import ImageReport
    from protoleak.cli.screen_images.results_file import ResultsWriter
    from protoleak.discovery.embeddings import EmbeddingsWriter


@dataclass(frozen=True)
class Outputs:
    """Where records go. Made by `open_outputs`.

    Attributes:
        identity: of the run.
        results: the results file (`--out`), or None.
        report: the report (`--report`), or None.
        embeddings: the file of embeddings (`--embeddings`), or None.
        findings: of all images together (`--fdr`), or None.
    """

    identity: Identity
    results: ResultsWriter | None
    report: ImageReport | None
    embeddings: EmbeddingsWriter | None
    findings: Findings | None

    def earlier(self, item: str | MediaError) -> list[EarlierLine] | None:
        """What the results file says of an input for which nothing is left to do; None where it is to be judged.

        Report and findings get those records.
        """
        if self.results is None or not isinstance(item, str) or (lines := self.results.earlier.done(item)) is None:
            return None
        if self.report is not None:
            self.report.add(item, self.results.earlier.done_in_full(item))
        if self.findings is not None:
            self.findings.add(self.results.earlier.done_in_full(item))
        return lines

    def write(self, record: Record) -> bool:
        """Puts one record into the results file and the embeddings; False where the results file held it already."""
        is_new = self.results is None or self.results.write(record)
        if self.embeddings is not None:
            self.embeddings.add(record)
        return is_new

    def add(self, item: str | MediaError, records: Sequence[Record]) -> None:
        """Hands all records of one input to the findings and the report."""
        if self.findings is not None:
            self.findings.add([record.to_dict(self.identity) for record in records])
        if self.report is not None:
            path = item if isinstance(item, str) else None
            self.report.add(path, [record.to_dict(self.identity) for record in records])


@contextlib.contextmanager
def open_outputs(
    options: ScreenOptions, screener: ImagePipeline, judging: Judging, drift: DriftMonitor
) -> Iterator[Outputs]:
    """Everything that the options ask for.

    Raises:
        ProtoleakError: a file or the report cannot be written there, or is of another run.
    """
    identity = Identity(bundle=screener.bundle_record, alpha=screener.alpha, settings=judging.settings)
    findings = _findings(options)
    with (
        _results(options, screener, judging, identity) as results,
        _report(options, screener, judging, drift, findings) as report,
        _embeddings(options, screener) as embeddings,
    ):
        yield Outputs(identity, results, report, embeddings, findings)


def refuse_inputs_as_outputs(options: ScreenOptions, listed: Sequence[str | MediaError]) -> None:
    """Raises ProtoleakError where an output is one of the files that are read."""
    to_file = options.out not in (None, STANDARD_OUTPUT)
    if not to_file and options.embeddings is None and options.report is None:
        return
    from protoleak.cli.output_guard import refuse_inputs

    inputs: list[str] = [item for item in listed if isinstance(item, str)]
    inputs += [str(given) for given in (options.bundle, options.faces.face_model) if given is not None]
    if to_file:
        refuse_inputs([Path(str(options.out))], inputs)
    if options.embeddings is not None:
        refuse_inputs([options.embeddings], inputs, "--embeddings")
    if options.report is not None:
        from protoleak.cli.screen_images.report import reports_in

        refuse_inputs(reports_in(options.report), inputs, "--report")


def _findings(options: ScreenOptions) -> Findings | None:
    if options.fdr is None:
        return None
    from protoleak.cli.screen_images.findings import Findings

    return Findings(options.fdr)


@contextlib.contextmanager
def _results(
    options: ScreenOptions, screener: ImagePipeline, judging: Judging, identity: Identity
) -> Iterator[ResultsWriter | None]:
    if options.out is None:
        yield None
        return
    from protoleak.cli.screen_images.results_file import open_results

    with open_results(
        options.out,
        identity,
        resume=options.resume,
        overwrite=options.overwrite,
        in_full=options.report is not None or options.fdr is not None,
        example=lambda: example_record(screener, judging),
    ) as writer:
        yield writer


@contextlib.contextmanager
def _report(
    options: ScreenOptions, screener: ImagePipeline, judging: Judging, drift: DriftMonitor, findings: Findings | None
) -> Iterator[ImageReport | None]:
    if options.report is None:
        yield None
        return
    from protoleak.cli.screen_images.report import open_image_report
    from protoleak.images.open import open_image
    from protoleak.video.outputs.run_record import run_record
    from protoleak.video.settings import StreamSettings

    run = replace_fields(run_record(screener, StreamSettings()), settings=judging.settings)
    replaced = options.overwrite or options.resume
    with open_image_report(
        options.report,
        run,
        open_image=lambda path: open_image(path, upright=screener.framing.upright, decode=screener.decode),
        results=options.out,
        replace=replaced,
        drift=drift,
        findings=findings,
    ) as report:
        yield report


@contextlib.contextmanager
def _embeddings(options: ScreenOptions, screener: ImagePipeline) -> Iterator[EmbeddingsWriter | None]:
    if options.embeddings is None:
        yield None
        return
    from protoleak.discovery.embeddings import open_embeddings

    resume, overwrite = options.resume, options.overwrite
    with open_embeddings(options.embeddings, screener, resume=resume, overwrite=overwrite) as embeddings:
        yield embeddings
