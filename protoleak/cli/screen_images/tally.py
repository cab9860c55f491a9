"""What has come of the images of a run, and what the terminal shows of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from protoleak.cli.console import coloured, output_console
from protoleak.faces.still_images import FaceVerdict
from protoleak.image_records import Outcome
from protoleak.runtime.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import Console

ROWS_SHOWN = 50


@dataclass
class Tally:
    """What has come of the images so far; only the rows to be shown are kept.

    Attributes:
        rows: the first verdicts.
        verdicts: how many there are, by label.
        images: that have been gone through, whatever came of them.
        failed: images that could not be read or hold no face, and faces that could not be judged.
        without_face: those of the failed that hold no face.
        left_out: inputs that were not looked at, on purpose.
        done_before: images that the results file held already.
    """

    rows: list[Verdict] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    images: int = 0
    failed: int = 0
    without_face: int = 0
    left_out: int = 0
    done_before: int = 0
    interrupted: bool = False

    def add(self, verdict: Verdict) -> None:
        """A verdict."""
        self.verdicts[verdict.label] += 1
        if len(self.rows) < ROWS_SHOWN:
            self.rows.append(verdict)

    def count(self, outcome: Outcome) -> None:
        """An outcome without a verdict."""
        if outcome == "skipped":
            self.left_out += 1
        elif outcome != "verdict":
            self.failed += 1
            self.without_face += outcome == "no_face"


def print_table(tally: Tally) -> None:
    """The rows, on standard output."""
    from rich.markup import escape
    from rich.table import Table

    faces = any(_place(row) for row in tally.rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image", overflow="fold")
    if faces:
        table.add_column("face")
    table.add_column("verdict")
    table.add_column("nearest", overflow="fold")
    table.add_column("p-value", justify="right")
    guarded = any(row.real_p_value is not None for row in tally.rows)
    if guarded:
        table.add_column("as real", justify="right")
    for row in tally.rows:
        table.add_row(
            escape(row.source or "image"),
            *([_place(row)] if faces else []),
            coloured(row.label),
            escape(row.nearest),
            f"{row.p_value:.3f}",
            *(["–" if row.real_p_value is None else f"{row.real_p_value:.3f}"] if guarded else []),
        )
    console = output_console()
    console.print(table)
    hidden = sum(tally.verdicts.values()) - len(tally.rows)
    if hidden > 0:
        console.print(f"… and {hidden} more; --out FILE.jsonl keeps them all")


def _place(row: Verdict) -> str:
    """Of a face in its image."""
    return str(row.box) if isinstance(row, FaceVerdict) else ""


def print_summary(tally: Tally, asked: int, console: Console) -> None:
    """One line: what came of all images.

    Args:
        asked: images that were to be judged.
    """
    judged = tally.verdicts.total()
    parts = [f"{tally.verdicts[verdict]} {verdict}" for verdict in ("known", "real", "unknown")]
    text = f"{judged} {'verdict' if judged == 1 else 'verdicts'}: {', '.join(parts)}"
    if tally.failed:
        text += f"; {tally.failed} failed"
        text += f" ({tally.without_face} without a face)" if tally.without_face else ""
    if tally.left_out:
        text += f"; {tally.left_out} skipped"
    if tally.done_before:
        text += f"; {tally.done_before} already in the file"
    if tally.interrupted:
        text += f"; interrupted with {asked - tally.images} to go (--out FILE and --resume continue)"
    console.print(text)
