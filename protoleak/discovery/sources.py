"""What `discover` is given: images, or the verdicts on them, to the rows and traces of what is unknown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from protoleak.arrays import Float32Array
from protoleak.dataset import list_images
from protoleak.discovery.embeddings import read_embeddings
from protoleak.enrolment.images import ImageRunner
from protoleak.enrolment.judging import UNKNOWN, judged
from protoleak.enrolment.rows import Rows, rows_of, together
from protoleak.errors import DatasetError, ProtoleakError
from protoleak.metrics.classes import Classes
from protoleak.progress import Progress

MOST = 3000  # images that are clustered: the work grows with the square


@dataclass(frozen=True)
class Unknown:
    """The images, or faces, that are called unknown.

    Attributes:
        files: of each, as given. Of several faces in a file each has its own place.
        times: when each was judged, in seconds since 1970; 0 for those that were judged now.
        rows: with the scores of the bundle.
        traces: float32 [n, d]; None for a bundle without.
        looked_at: images or faces, whatever they are called.
        left_out: unknown ones beyond MOST, of which an even share was taken.
        skipped: a line per file that gives no image.
    """

    files: tuple[Path, ...]
    times: tuple[float, ...]
    rows: Rows
    traces: Float32Array | None
    looked_at: int
    left_out: int
    skipped: tuple[str, ...]


def unknown_images(source: Path, embeddings: Path | None, runner: ImageRunner, progress: Progress) -> Unknown:
    """
    Args:
        source: a folder of images, or the verdicts of `protoleak screen`.
        embeddings: what `screen --embeddings` wrote with them; images that are not in it are looked at again.
        runner: of the first variant of a bundle, and its traces.

    Raises:
        DatasetError: nothing is called unknown, or the source holds no image.
        ProtoleakError: the embeddings are none, or come with a folder.
    """
    if source.is_dir():
        if embeddings is not None:
            raise ProtoleakError("--embeddings is for verdicts: give the file of `screen --out FILE.jsonl` as SOURCE")
        return _of_folder(list_images(source), runner, progress)
    lines, judged_ones = _unknown_lines(source)
    taken = _even_share(lines)
    left_out = len(lines) - len(taken)
    if embeddings is None:
        files = tuple(dict.fromkeys(Path(line["source"]) for line in taken))
        found = _of_files(files, runner, progress, left_out)
    else:
        found = _of_embeddings(taken, embeddings, runner, progress, left_out)
    return replace(found, looked_at=judged_ones)


def _of_folder(files: Sequence[Path], runner: ImageRunner, progress: Progress) -> Unknown:
    """What of these files the bundle calls unknown."""
    bundle = runner.bundle
    everything = _of_files(files, runner, progress, 0)
    classes = Classes.of(bundle.manifest.generators, bundle.manifest.real_class)
    calibration = bundle.variant(bundle.manifest.variants[0]).calibration
    said = judged(everything.rows, classes, calibration, bundle.manifest.alpha)
    unknown = np.flatnonzero(said == UNKNOWN)
    kept = np.array(_even_share(unknown.tolist()), np.int64)
    traces = None if everything.traces is None else everything.traces[kept]
    return Unknown(
        tuple(everything.files[index] for index in kept),
        tuple(0.0 for _ in kept),
        everything.rows.chosen(kept),
        traces,
        len(everything.files),
        len(unknown) - len(kept),
        everything.skipped,
    )


def _of_files(files: Sequence[Path], runner: ImageRunner, progress: Progress, left_out: int) -> Unknown:
    """All of these files, as they are."""
    bundle = runner.bundle
    images = runner.run(files, "images", progress)
    rows = rows_of(images.records[bundle.manifest.variants[0]], bundle.enrolment.additions)
    kept = tuple(files[index] for index in images.kept)
    times = tuple(0.0 for _ in kept)
    return Unknown(kept, times, rows, images.traces, len(kept) + left_out, left_out, images.skipped_lines)


def _of_embeddings(
    lines: Sequence[dict[str, Any]], file: Path, runner: ImageRunner, progress: Progress, left_out: int
) -> Unknown:
    found = read_embeddings(file, runner.bundle)
    places = [found.places.get((line.get("sha256"), line.get("face"))) for line in lines]
    held = np.array([place for place in places if place is not None], np.int64)
    files = [Path(line["source"]) for line, place in zip(lines, places, strict=True) if place is not None]
    times = [found.times[place] for place in held]
    rows, traces = found.rows.chosen(held), found.traces
    skipped: tuple[str, ...] = ()
    if traces is not None:
        traces = traces[held]
    missing = [line for line, place in zip(lines, places, strict=True) if place is None]
    if missing:
        again = _of_files(tuple(dict.fromkeys(Path(line["source"]) for line in missing)), runner, progress, 0)
        files, times = [*files, *again.files], [*times, *again.times]
        rows, skipped = together([rows, again.rows]), again.skipped
        if traces is not None and again.traces is not None:
            traces = np.concatenate([traces, again.traces])
    return Unknown(tuple(files), tuple(times), rows, traces, len(files) + left_out, left_out, skipped)


def _unknown_lines(source: Path) -> tuple[list[dict[str, Any]], int]:
    """The verdicts that are `unknown`, and how many there are of any kind, without what could not be judged."""
    lines: list[dict[str, Any]] = []
    judged_ones: set[tuple[object, object]] = set()
    try:
        with source.open(encoding="utf-8") as text:
            for number, line in enumerate(text, start=1):
                verdict = json.loads(line)
                if not isinstance(verdict, dict):
                    raise ValueError(f"line {number} is no verdict")
                if verdict.get("verdict") is None or verdict.get("lacking") is not None or not verdict.get("source"):
                    continue
                judged_ones.add((verdict.get("sha256"), verdict.get("face")))
                if verdict["verdict"] == "unknown":
                    lines.append(verdict)
    except UnicodeDecodeError:
        raise DatasetError(f"{source} is neither a folder nor verdicts of `screen --out`: it is no text") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{source} is neither a folder nor verdicts of `screen --out`: {error}") from error
    if not lines:
        raise DatasetError(f"{source}: nothing in it is called unknown")
    seen = {(line.get("sha256"), line.get("face")): line for line in reversed(lines)}  # the same file twice: once
    return list(reversed(seen.values())), len(judged_ones)


def _even_share(items: list[Any]) -> list[Any]:
    if len(items) <= MOST:
        return items
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, MOST)]
