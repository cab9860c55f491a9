"""clusters.json: what `discover` writes, and `enrol --cluster` reads."""

from __future__ import annotations

import msgspec

SCHEMA = 1


class FoundCluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cluster, as it is written.

    Attributes:
        number: that `enrol --cluster` takes, from 1 on.
        working_name: that it is enrolled under where no other name is given.
        images: the files, the most central first.
        stability: see `clusters`.
        nearest: class → share of the images that score highest for it.
        like_cameras, neighbours_cameras, near_cameras: see `clusters.Cluster`.
        first, last: when the earliest and the latest of the files were written, or of those that are not there any more
            were judged; ISO 8601, UTC.
    """

    number: int
    working_name: str
    images: list[str]
    stability: float
    nearest: dict[str, float]
    like_cameras: float | None
    neighbours_cameras: float | None
    near_cameras: bool
    first: str
    last: str


class Discovery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """clusters.json.

    Attributes:
        bundle: SHA-256 of the bundle that the images were looked at with.
        unknown: images that were called unknown.
        lone: those of them that belong to no cluster.
        images: that were looked at.
        left_out: images beyond MOST, of which an even share was taken.
    """

    schema: int
    bundle: str
    images: int
    unknown: int
    lone: int
    clusters: list[FoundCluster]
    skipped: list[str]
    left_out: int = 0
