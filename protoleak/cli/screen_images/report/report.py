"""Writes the report as images are screened: at every moment there is a whole page of what is known."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from typing import Any

from protoleak.cli.screen_images.findings import MEANING, Findings
from protoleak.cli.screen_images.report.entry import Entry, boxes
from protoleak.cli.screen_images.report.thumbnail import OpenImage, thumbnail
from protoleak.errors import ProtoleakError
from protoleak.file_locks import locked
from protoleak.files import refused, write_whole
from protoleak.image_records import sha256_of_file
from protoleak.reports.page import bullets, facts_table, page, table
from protoleak.runtime.drift import DriftMonitor, evidence_text
from protoleak.video.outputs.report.page import STYLE as VIDEO_STYLE
from protoleak.video.outputs.report.wording import accusations
from protoleak.video.outputs.run_record import RunRecord
from protoleak.video.outputs.verdict_style import STYLES

REPORT = "report.html"
FURTHER = re.compile(r"report_\d{3,}\.html")
ENTRIES_A_PAGE = 100  # about 3 MB: small enough to open, to print and to send
SECONDS_BETWEEN_WRITES = 2.0

STYLE = (
    VIDEO_STYLE
    + """
.entry { border: 1px solid var(--faint); border-radius: 10px; padding: .2rem 1.2rem 1rem; margin: 1.2rem 0; }
.entry h3 { display: flex; flex-wrap: wrap; align-items: center; gap: .3rem .7rem; overflow-wrap: anywhere; }
.entry > p { max-width: 85ch; }
.thumbnail { max-width: 100%; border-radius: 6px; display: block; background: var(--faint); }
.badge.none { color: var(--bad); }
.claims { border-left: 3px dashed var(--faint); padding-left: 1rem; margin-top: 1rem; }
@media print { .entry { border: 0; border-top: 1px solid var(--faint); border-radius: 0; padding: 0;
                        break-inside: avoid; }
               .badge { white-space: normal; overflow: visible; }
               table { width: 100%; } }
"""
)
READING = (
    "A verdict is one piece of evidence with a stated error rate, not a finding about a person. It is about the image, "
    "or the face in it, as it was read; the SHA-256 says which file that was.",
    "known: consistent with what a generator that the bundle knows makes. real: consistent with the camera images of "
    "its training. unknown: unlike all of these, which a camera image can be too, or too near to both to say.",
)


class ImageReport:
    """The report of one run. Made by `open_image_report`.

    Args:
        folder: of the pages.
        open_image: opens an image as it was opened to be judged.
        results: the results file beside which it stands; None where there is none.
        drift: watches the images of the run.
        findings: the p-values of the run; None where none are asked for.
    """

    def __init__(
        self,
        folder: Path,
        run: RunRecord,
        *,
        open_image: OpenImage,
        results: str | None,
        drift: DriftMonitor,
        findings: Findings | None,
    ) -> None:
        self._drift, self._findings = drift, findings
        self._folder, self._run, self._open_image, self._results = folder, run, open_image, results
        self._first: list[str] = []
        self._current: list[str] = self._first
        self._outcomes: Counter[str] = Counter()
        self._generators: Counter[str] = Counter()
        self._disagreements = 0
        self._count = 0
        self._pages = 1
        self._written = 0.0
        self._ended: str | None = None
        self._record = "in no other file: --out was not given" if results is None else results
        self._write()

    def add(self, path: str | None, lines: Sequence[dict[str, Any]]) -> None:
        """One input, with all its records.

        Args:
            path: where its file is read from, for the thumbnail; None where there is none.
            lines: as in the results file.

        Raises:
            ProtoleakError: the disk refused.
        """
        entry = Entry(lines)
        verdicts = entry.verdicts
        self._count += 1
        self._outcomes.update(entry.outcomes)
        self._generators.update(verdict.generator for verdict in verdicts if verdict.generator is not None)
        self._disagreements += any(verdict.disagreement is not None for verdict in verdicts)
        judged = all(line["outcome"] in ("verdict", "no_face") for line in lines)
        small = None
        if path is not None and judged:
            small = thumbnail(path, lines[0]["sha256"], boxes(verdicts), self._open_image)
        if len(self._current) == ENTRIES_A_PAGE:
            self._write()
            self._pages += 1
            self._current = []
        self._current.append(entry.html(self._count, small))
        if time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
            self._write()

    def finish(self, interrupted: bool) -> None:
        """Writes what is left, with the SHA-256 of the results file as it is by then.

        Raises:
            ProtoleakError: the disk refused.
        """
        self._ended = "stopped by somebody before its end" if interrupted else "complete"
        digest = None if self._results is None else sha256_of_file(self._results)
        self._record += "" if digest is None else f", SHA-256 {digest}"
        self._write()

    def _write(self) -> None:
        if self._pages > 1:
            title = f"protoleak: report on images, page {self._pages}"
            sections = [f"<h1>{title}</h1>", self._links(self._pages), *self._current]
            write_whole(self._folder / page_name(self._pages), [page(title, sections, STYLE).encode()])
        write_whole(self._folder / REPORT, [self._first_page().encode()])
        self._written = time.monotonic()

    def _first_page(self) -> str:
        title = f"protoleak: report on {self._count:,} {'image' if self._count == 1 else 'images'}"
        plain = "".join(f"<p>{escape(text)}</p>" for text in (accusations(self._run), *READING))
        state = self._ended or "being written: more is to come"
        sections = [
            f"<h1>{title}</h1>",
            f"<p>This report is {escape(state)}.</p>",
            self._totals(),
            "" if self._drift.event is None else f"<p><strong>Drift: {escape(str(self._drift.event))}.</strong></p>",
            f'<div class="plain">{plain}</div>',
            self._found(),
            "<h2>What judged it</h2>",
            facts_table(self._facts()),
            "<h2>Images</h2>",
            self._links(1),
            *self._first,
        ]
        return page(title, sections, STYLE)

    def _totals(self) -> str:
        items = []
        for label, style in STYLES.items():
            if number := self._outcomes[label]:
                named = (
                    [f"{name} {count}" for name, count in self._generators.most_common()] if label == "known" else []
                )
                text = f"{number:,}" + (f" ({', '.join(named)})" if named else "")
                shape = f'<span aria-hidden="true">{style.symbol}</span>'
                items.append(f'<li><span class="badge {label}">{shape} {label}</span> {escape(text)}</li>')
        rows = [[name, f"{number:,}"] for name, number in self._outcomes.items() if name not in STYLES]
        rows.append(["inputs", f"{self._count:,}"])
        if self._disagreements:
            rows.append(["files that say something else than the verdict", f"{self._disagreements:,}"])
        return f'<ul class="verdicts">{"".join(items)}</ul>' + table(("besides", "number"), rows)

    def _found(self) -> str:
        """What is found over all images, once they all are judged."""
        if self._findings is None or self._ended is None:
            return ""
        parts = ["<h2>Findings over all images</h2>", f"<p>{escape(MEANING)}</p>"]
        for line, names in self._findings.named():
            parts += [f"<p><strong>{escape(line)}</strong></p>", bullets(names) if names else ""]
        return "".join(parts)

    def _facts(self) -> list[tuple[str, str]]:
        run = self._run
        engine = run.engine
        return [
            ("bundle", f"{run.bundle.name}, variant {run.bundle.variant}"),
            ("SHA-256 of its manifest", run.bundle.sha256),
            ("classes", ", ".join(run.generators) + (f"; cameras: {run.real_class}" if run.real_class else "")),
            ("engine", f"{engine.name} on {engine.device}; {_listed(engine.versions)}; {_listed(engine.settings)}"),
            ("significance level", f"α = {run.alpha:g}"),
            ("faces", _listed(run.settings)),
            ("like the calibration's", evidence_text(self._drift.faces, self._drift.largest_evidence)),
            ("libraries", _listed(run.libraries)),
            ("run begun", run.created),
            ("last written", datetime.now(timezone.utc).isoformat(timespec="seconds")),
            ("all figures", self._record),
        ]

    def _links(self, here: int) -> str:
        """To the other pages."""
        if self._pages == 1:
            return ""
        links = [
            f"<strong>{number}</strong>" if number == here else f'<a href="{page_name(number)}">{number}</a>'
            for number in range(1, self._pages + 1)
        ]
        return f"<p>{ENTRIES_A_PAGE} images a page: {' '.join(links)}</p>"


def page_name(number: int) -> str:
    """Of a page, from 1 on."""
    return REPORT if number == 1 else f"report_{number:03d}.html"


@contextlib.contextmanager
def open_image_report(
    folder: Path,
    run: RunRecord,
    *,
    open_image: OpenImage,
    results: str | None,
    replace: bool,
    drift: DriftMonitor,
    findings: Findings | None,
) -> Iterator[ImageReport]:
    """Makes the folder and an empty report, so that one that cannot be written is known before anything is screened.

    Args:
        replace: the pages of an earlier run.
        drift, findings: as in `ImageReport`.

    Raises:
        ProtoleakError: it cannot be written, another process writes it, or it holds an earlier report.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(folder, error) from error
    with locked(folder / REPORT):
        earlier = list(reports_in(folder))
        if earlier and not replace:
            raise ProtoleakError(
                f"--report {folder} holds an earlier report ({earlier[0].name}): replace it with --overwrite, or give "
                "another folder"
            )
        for path in earlier:
            if path.name != REPORT:
                path.unlink(missing_ok=True)
        yield ImageReport(folder, run, open_image=open_image, results=results, drift=drift, findings=findings)


def reports_in(folder: Path) -> Iterator[Path]:
    """The pages of a report that a folder holds."""
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.name == REPORT or FURTHER.fullmatch(path.name))


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
