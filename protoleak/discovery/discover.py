"""From pictures, or from the verdicts on them, to clusters of what is unknown, written as JSON and as a page."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.enrolment import record_file, site_file
from protoleak.dataset import list_images
from protoleak.discovery.clusters import SMALLEST_CLUSTER, Cluster, find_clusters
from protoleak.discovery.contact_sheets import clusters_page
from protoleak.discovery.records import SCHEMA, Discovery, FoundCluster
from protoleak.enrolment.judging import UNKNOWN, Classes, judged
from protoleak.enrolment.pictures import PictureRunner
from protoleak.enrolment.rows import calibration_rows, rows_of
from protoleak.errors import DatasetError, ProtoleakError
from protoleak.files import replacing
from protoleak.progress import Progress, no_progress
from protoleak.strict_json import decode_json

CLUSTERS, PAGE = "clusters.json", "index.html"


@dataclass(frozen=True)
class _Source:
    """The files to look at, and whether they are known to be unknown."""

    files: tuple[Path, ...]
    judged: bool


def discover(
    source: Path,
    bundle: Bundle,
    out: Path,
    *,
    smallest: int = SMALLEST_CLUSTER,
    engine: str = "auto",
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Discovery:
    """Writes clusters.json and index.html into a folder.

    Args:
        source: a folder of pictures, or the verdicts of `protoleak screen` on some, whose files are still there.
        smallest: pictures that a cluster has at least.

    Raises:
        MissingExtra: scikit-learn is not installed.
        DatasetError: nothing is called unknown, or the source holds no picture.
        ProtoleakError: `out` is there and no discovery.
    """
    check_out(out)
    listed = _listed(source)
    variant = bundle.manifest.variants[0]
    with PictureRunner(bundle, engine, threads) as runner:
        pictures = runner.run(listed.files, "pictures", progress)
    rows = rows_of(pictures.records[variant], bundle.additions)
    classes = Classes.of(bundle.manifest.generators, bundle.manifest.real_class)
    calibration = bundle.variant(variant).calibration
    unknown = np.arange(len(rows))
    if not listed.judged:
        unknown = np.flatnonzero(judged(rows, classes, calibration, bundle.manifest.alpha) == UNKNOWN)
    kept = [listed.files[index] for index in pictures.kept]
    files = [kept[index] for index in unknown]
    chosen = site_file(variant) if bundle.manifest.recalibrated is not None else record_file(variant)
    record = calibration_rows(bundle, variant) if chosen in bundle.contents() else None
    found = find_clusters(rows.chosen(unknown), classes, calibration, record, smallest)
    clusters = [_described(number, cluster, files) for number, cluster in enumerate(found, start=1)]
    discovery = Discovery(
        schema=SCHEMA,
        bundle=bundle.sha256,
        pictures=len(kept),
        unknown=len(files),
        lone=len(files) - sum(len(cluster.pictures) for cluster in clusters),
        clusters=clusters,
        skipped=list(pictures.skipped),
    )
    with replacing(out) as staged:
        staged.mkdir(exist_ok=True)
        (staged / CLUSTERS).write_bytes(msgspec.json.format(msgspec.json.encode(discovery), indent=1) + b"\n")
        (staged / PAGE).write_text(clusters_page(discovery, bundle.manifest.name), encoding="utf-8")
    return discovery


def read_cluster(folder: Path, number: int) -> FoundCluster:
    """A cluster that `discover` wrote.

    Raises:
        ProtoleakError: the folder holds none, or none of this number.
    """
    file = folder / CLUSTERS
    try:
        discovery = decode_json(file.read_bytes(), Discovery)
    except OSError:
        raise ProtoleakError(
            f"--cluster {number}: {folder} holds no {CLUSTERS}: give what discover --out wrote"
        ) from None
    except msgspec.DecodeError as error:
        raise ProtoleakError(f"{file} is not what discover writes: {error}") from error
    for cluster in discovery.clusters:
        if cluster.number == number:
            return cluster
    raise ProtoleakError(f"--cluster {number}: {file} has the clusters 1 to {len(discovery.clusters)}")


def check_out(out: Path) -> None:
    """Raises ProtoleakError where something that is no discovery is at the place to write to."""
    if out.exists() and not (out.is_dir() and ((out / CLUSTERS).is_file() or not any(out.iterdir()))):
        raise ProtoleakError(f"--out {out} is there and holds something else: choose another folder")


def _listed(source: Path) -> _Source:
    if source.is_dir():
        return _Source(list_images(source), judged=False)
    files: list[Path] = []
    try:
        with source.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                verdict = json.loads(line)
                if not isinstance(verdict, dict):
                    raise ValueError(f"line {number} is no verdict")
                if verdict.get("verdict") == "unknown" and verdict.get("lacking") is None and verdict.get("source"):
                    files.append(Path(verdict["source"]))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{source} is neither a folder nor verdicts of `screen --out`: {error}") from error
    if not files:
        raise DatasetError(f"{source}: nothing in it is called unknown")
    return _Source(tuple(dict.fromkeys(files)), judged=True)


def _described(number: int, cluster: Cluster, files: Sequence[Path]) -> FoundCluster:
    members = [files[index] for index in cluster.members]
    written = [file.stat().st_mtime for file in members]
    return FoundCluster(
        number=number,
        working_name=f"unnamed_{number}",
        pictures=[str(file.resolve()) for file in members],
        stability=round(cluster.stability, 3),
        nearest={name: round(share, 3) for name, share in cluster.nearest.items()},
        like_cameras=None if cluster.like_cameras is None else round(cluster.like_cameras, 3),
        neighbours_cameras=None if cluster.neighbours_cameras is None else round(cluster.neighbours_cameras, 3),
        near_cameras=cluster.near_cameras,
        first=_when(min(written)),
        last=_when(max(written)),
    )


def _when(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(timespec="seconds")
