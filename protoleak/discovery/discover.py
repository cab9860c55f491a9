"""From images, or from the verdicts on them, to clusters of what is unknown, written as JSON and as a page."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec

from protoleak.bundle.bundle import Bundle
from protoleak.discovery.clusters import SMALLEST_CLUSTER, Cluster, find_clusters
from protoleak.discovery.contact_sheets import clusters_page
from protoleak.discovery.records import SCHEMA, Discovery, FoundCluster
from protoleak.discovery.sources import Unknown, unknown_images
from protoleak.enrolment.images import ImageRunner
from protoleak.enrolment.rows import calibration_rows
from protoleak.errors import ProtoleakError
from protoleak.files import refused, replacing
from protoleak.metrics.classes import Classes
from protoleak.progress import Progress, no_progress
from protoleak.strict_json import decode_json, json_bytes

CLUSTERS, PAGE = "clusters.json", "index.html"


def discover(
    source: Path,
    bundle: Bundle,
    out: Path,
    *,
    embeddings: Path | None = None,
    smallest: int = SMALLEST_CLUSTER,
    engine: str = "auto",
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Discovery:
    """Writes clusters.json and index.html into a folder.

    Args:
        source: a folder of images, or the verdicts of `protoleak screen` on some.
        embeddings: what `screen --embeddings` wrote with the verdicts; left out, the files are looked at again.
        smallest: images that a cluster has at least.

    Raises:
        MissingExtra: scikit-learn is not installed, or pyarrow, which reads embeddings.
        DatasetError: nothing is called unknown, or the source holds no image.
        ProtoleakError: `out` is there and no discovery, or the disk refused.
    """
    check_out(out)
    manifest = bundle.manifest
    variant = manifest.variants[0]
    space = bundle.enrolment.traces()
    with ImageRunner(bundle, engine, threads, variants=(variant,), traces=space) as runner:
        unknown = unknown_images(source, embeddings, runner, progress)
    classes = Classes.of(manifest.generators, manifest.real_class)
    record = calibration_rows(bundle, variant) if bundle.enrolment.has_record(variant) else None
    progress("cluster what is unknown", 0, 0)
    calibration = bundle.variant(variant).calibration
    recorded = None if space is None or record is None else space.of_features(record.features)
    found = find_clusters(
        unknown.rows,
        classes,
        calibration,
        record,
        smallest,
        traces=unknown.traces,
        recorded_traces=recorded,
    )
    clusters = [_described(number, cluster, unknown) for number, cluster in enumerate(found, start=1)]
    discovery = Discovery(
        schema=SCHEMA,
        bundle=bundle.sha256,
        images=unknown.looked_at,
        unknown=len(unknown.files) + unknown.left_out,
        lone=len(unknown.files) - sum(len(cluster.members) for cluster in found),
        clusters=clusters,
        skipped=list(unknown.skipped),
        left_out=unknown.left_out,
    )
    shown = clusters_page(discovery, bundle.manifest.name)
    try:
        with replacing(out) as staged:
            staged.mkdir(exist_ok=True)
            (staged / CLUSTERS).write_bytes(json_bytes(discovery))
            (staged / PAGE).write_text(shown, encoding="utf-8")
    except OSError as error:
        raise refused(out, error) from error
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


def _described(number: int, cluster: Cluster, unknown: Unknown) -> FoundCluster:
    members = {unknown.files[index].resolve(): index for index in reversed(cluster.members)}
    written = [_written(file, unknown.times[index]) for file, index in members.items()]
    return FoundCluster(
        number=number,
        working_name=f"unnamed_{number}",
        images=[str(file) for file in reversed(members)],
        stability=round(cluster.stability, 3),
        nearest={name: round(share, 3) for name, share in cluster.nearest.items()},
        like_cameras=None if cluster.like_cameras is None else round(cluster.like_cameras, 3),
        neighbours_cameras=None if cluster.neighbours_cameras is None else round(cluster.neighbours_cameras, 3),
        near_cameras=cluster.near_cameras,
        first=_when(min(written)),
        last=_when(max(written)),
    )


def _written(file: Path, judged: float) -> float:
    """When a file was written, or judged where it isn't there any more; in seconds since 1970."""
    try:
        return file.stat().st_mtime
    except OSError:
        return judged


def _when(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(timespec="seconds")
