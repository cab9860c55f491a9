"""Verdicts by the collection that an image comes from, and the accused real faces one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from protoleak.evaluation.images import Image
from protoleak.evaluation.results import AccusedFace, SourceRow
from protoleak.metrics.intervals import Resamples
from protoleak.runtime.verdict import Verdict

Judged = Sequence[tuple[Image, Verdict]]


def source_rows(judged: Judged, real_class: str | None, resamples: Resamples) -> list[SourceRow]:
    """One row per kind, class and collection, in their order of appearance.

    A collection is the folder that holds an image: GENERATOR/SOURCE/…, or a folder of photographs.
    """
    groups: dict[tuple[str, str, str], list[tuple[Image, Verdict]]] = {}
    for image, verdict in judged:
        groups.setdefault((image.kind, image.folder, image.path.parent.name), []).append((image, verdict))
    return [
        _row(kind, folder or "real photographs", source, group, kind == "real" or folder == real_class, resamples)
        for (kind, folder, source), group in groups.items()
    ]


def _row(kind: str, folder: str, source: str, group: Judged, cameras: bool, resamples: Resamples) -> SourceRow:
    labels = np.array([verdict.label for _, verdict in group])
    named = np.array([verdict.generator == folder for _, verdict in group])
    right = labels == "real" if cameras else named if kind == "known" else labels == "unknown"
    sources = [image.source for image, _ in group]
    return SourceRow(
        kind=kind,
        folder=folder,
        source=source,
        right=resamples.share(sources, right),
        named=resamples.share(sources, labels == "known"),
        called_real=resamples.share(sources, labels == "real"),
        called_unknown=resamples.share(sources, labels == "unknown"),
    )


def accused_faces(judged: Judged, real_class: str | None) -> list[AccusedFace]:
    """Every photograph and every camera original for which a generator was named, with what spoke for it."""
    return [
        AccusedFace(
            file=f"{image.path.parent.name}/{image.path.name}",
            generator=verdict.generator,
            p_value=verdict.p_value,
            real_p_value=verdict.real_p_value,
            looks=verdict.why.look_weights,
            timesteps=verdict.why.timestep_weights,
        )
        for image, verdict in judged
        if verdict.generator is not None and (image.kind == "real" or image.folder == real_class)
    ]


def files_of(judged: Sequence[Image]) -> dict[str, Path]:
    """Where the images lie, by the name that `accused_faces` gives them."""
    return {f"{image.path.parent.name}/{image.path.name}": image.path for image in judged}
