"""What a report says of one input."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import msgspec

from protoleak.faces.base import BoxRecord
from protoleak.faces.still_images import FaceVerdict
from protoleak.reports.page import Cell, bullets, facts_table, table
from protoleak.runtime.verdict import InputRecord, Label, Verdict
from protoleak.video.outputs.report.wording import reason_text
from protoleak.video.outputs.verdict_style import STYLES

WITHOUT_VERDICT = {"no_face": "no face", "error": "failed", "skipped": "skipped"}


@dataclass(frozen=True)
class Entry:
    """All records of one input.

    Args:
        lines: of the record, as they are in the results file; at least one.
    """

    lines: Sequence[dict[str, Any]]

    @property
    def source(self) -> str:
        return str(self.lines[0]["source"] or "an input without a name")

    @property
    def outcomes(self) -> list[str]:
        """The verdict of each face, or what there is instead."""
        return [line["verdict"] or WITHOUT_VERDICT[line["outcome"]] for line in self.lines]

    @property
    def verdicts(self) -> list[Verdict]:
        kind = [FaceVerdict if "box" in line else Verdict for line in self.lines]
        return [
            msgspec.convert(line, of, str_keys=True)
            for line, of in zip(self.lines, kind, strict=True)
            if line["verdict"] is not None
        ]

    def html(self, number: int, small: bytes | None) -> str:
        """One section.

        Args:
            small: see `thumbnail`.
        """
        verdicts = self.verdicts
        shown = [_badge(verdict) for verdict in verdicts]
        shown += [f'<span class="badge none">{escape(one)}</span>' for one in self.outcomes if one not in STYLES]
        facts = [("SHA-256 of the file", self.lines[0]["sha256"] or "none: it was not read")]
        if verdicts:
            facts.append(("image", _size(verdicts[0])))
        reasons = "".join(
            f"<p><strong>{escape(str(line['reason']))}</strong></p>"
            for line in self.lines
            if line["reason"] is not None
        )
        meaning = "".join(
            f"<p>{_numbered(index, verdicts)}{escape(_meaning(one))}</p>" for index, one in enumerate(verdicts)
        )
        notes = dict.fromkeys(note for verdict in verdicts for note in verdict.notes)
        return (
            f'<section class="entry" id="image-{number}"><h3><span>{number}. {escape(self.source)}</span> '
            f"{' '.join(shown)}</h3>{_thumbnail(small, self)}{facts_table(facts)}{reasons}{meaning}{_figures(verdicts)}"
            f"{bullets(list(notes))}{_claims(verdicts)}</section>"
        )


def boxes(verdicts: Sequence[Verdict]) -> list[tuple[BoxRecord, Label]]:
    """Where the judged faces are."""
    return [(verdict.box, verdict.label) for verdict in verdicts if isinstance(verdict, FaceVerdict)]


def _badge(verdict: Verdict) -> str:
    name = verdict.label if verdict.generator is None else f"{verdict.label}: {verdict.generator}"
    shape = f'<span aria-hidden="true">{STYLES[verdict.label].symbol}</span>'
    return f'<span class="badge {verdict.label}">{shape} {escape(name)}</span>'


def _thumbnail(small: bytes | None, entry: Entry) -> str:
    if small is None:
        return ""
    alternative = f"{entry.source}, small: {', '.join(entry.outcomes)}"
    data = b64encode(small).decode()
    return f'<img class="thumbnail" src="data:image/jpeg;base64,{data}" alt="{escape(alternative)}">'


def _size(verdict: Verdict) -> str:
    of: InputRecord = verdict.image if isinstance(verdict, FaceVerdict) else verdict.input
    return f"{of.width} × {of.height} pixels, {of.size:,} bytes"


def _numbered(index: int, verdicts: Sequence[Verdict]) -> str:
    return f"<strong>Face {index + 1}.</strong> " if isinstance(verdicts[index], FaceVerdict) else ""


def _meaning(verdict: Verdict) -> str:
    """What the verdict says, and what it doesn't."""
    unusual = f"its p-value of {verdict.p_value:.3f}"
    if verdict.label == "known":
        text = (
            f"By its scores it resembles most the images made by {verdict.generator}; {unusual}, above α = "
            f"{verdict.alpha:g}, gives no reason to doubt that the bundle knows its kind."
        )
        if verdict.real_p_value is not None:
            text += (
                f" Among camera originals it would be unusual: {verdict.real_p_value:.3f}, at most "
                f"{verdict.accusation_level:.3g}."
            )
        return text + " A camera's image can be named so by mistake. " + reason_text(verdict)
    if verdict.label == "real":
        return (
            f"By its scores it resembles most the camera images of the bundle's training; {unusual} is above α = "
            f"{verdict.alpha:g}. It is no proof of authenticity. " + reason_text(verdict)
        )
    if verdict.lacking is not None:
        return f"It cannot be judged: {verdict.lacking}."
    if verdict.p_value <= verdict.alpha:
        return (
            f"It is unlike everything that the bundle knows: {unusual} is at most α = {verdict.alpha:g}. The nearest "
            f"class would have been {verdict.nearest}. It says neither that it was generated nor that it is real."
        )
    return (
        f"It resembles most {verdict.nearest}, but not enough for that to be said: it is neither unlike camera "
        "originals enough for an accusation, nor unlike images by generators enough to be called real. It says neither "
        "of the two."
    )


def _figures(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    columns = (
        "",
        "verdict",
        "nearest",
        "p-value",
        "as real",
        "log density",
        "box",
        "detector",
        "SHA-256 of the pixels",
    )
    rows: list[Sequence[str | Cell]] = []
    for number, verdict in enumerate(verdicts, start=1):
        face = verdict if isinstance(verdict, FaceVerdict) else None
        real = "–" if verdict.real_p_value is None else f"{verdict.real_p_value:.3f}"
        rows.append(
            [
                f"face {number}" if face else "image",
                verdict.label,
                verdict.nearest,
                f"{verdict.p_value:.3f}",
                real,
                f"{verdict.log_density:.4g}",
                str(face.box) if face else "–",
                f"{face.face_score:.2f}" if face else "–",
                Cell(verdict.input.sha256 if face else "the file's", kind="hash"),
            ]
        )
    return table(columns, rows)


def _claims(verdicts: Sequence[Verdict]) -> str:
    """What the file says of itself, set apart from what was found."""
    claims = dict.fromkeys(claim for verdict in verdicts for claim in verdict.claims)
    if not claims:
        return ""
    opposed = dict.fromkeys(verdict.disagreement for verdict in verdicts if verdict.disagreement is not None)
    lines = "".join(f"<p><strong>{escape(line)}</strong></p>" for line in opposed)
    return (
        '<div class="claims"><h4>What the file says of itself</h4><p class="weak">Anybody who has a file can write '
        "this into it, or take it out; no verdict rests on it.</p>"
        f"{bullets([str(claim) for claim in claims])}{lines}</div>"
    )
