"""What was at work in a run: the record that makes its verdicts repeatable."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import msgspec

from protoleak.environment.versions import library_versions
from protoleak.runtime.engines.base import EngineDescription
from protoleak.runtime.verdict import BundleRecord
from protoleak.video.settings import StreamSettings

if TYPE_CHECKING:
    from protoleak.bundle.report import BundleReport
    from protoleak.runtime.pipeline import ImagePipeline

LIBRARIES = ("protoleak", "numpy", "opencv-python-headless", "pillow", "av")


class RealFacesAccused(msgspec.Struct, frozen=True):
    """How many photographs of people, from sources that training never saw, the bundle's own test called known.

    Attributes:
        since: what was done to the bundle after that test, such as "lemon was enrolled".
    """

    count: int
    of: int
    since: list[str] = []


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the program, over however many sources.

    Attributes:
        created: UTC, ISO 8601.
        bundle, engine: as in every verdict.
        generators: the classes of the bundle.
        real_class: the one that stands for cameras; None where there is none.
        real_faces_accused: at the bundle's own significance level; None where it wasn't measured.
        alpha: significance level of this run.
        settings: of the stream, by the names of `StreamSettings`.
        face_finder: which detector, which model; None where no faces are searched.
        libraries: package → version.
    """

    created: str
    bundle: BundleRecord
    engine: EngineDescription
    generators: list[str]
    real_class: str | None
    real_faces_accused: RealFacesAccused | None
    alpha: float
    settings: dict[str, str | int | float | None]
    face_finder: str | None
    libraries: dict[str, str]


def run_record(pipeline: ImagePipeline, settings: StreamSettings, face_finder: str | None = None) -> RunRecord:
    """The record of a run with this pipeline and these settings.

    Args:
        face_finder: `FaceDetector.description`.
    """
    manifest = pipeline.bundle.manifest
    return RunRecord(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        bundle=pipeline.bundle_record,
        engine=pipeline.engine,
        generators=list(manifest.generators),
        real_class=manifest.real_class,
        real_faces_accused=_accused(pipeline.report, manifest.changes),
        alpha=pipeline.alpha,
        settings={name: _plain(getattr(settings, name)) for name in settings.__dataclass_fields__},
        face_finder=face_finder,
        libraries=library_versions(LIBRARIES),
    )


def _accused(report: BundleReport, changes: list[str]) -> RealFacesAccused | None:
    return None if report.accused is None else RealFacesAccused(*report.accused, since=changes)


def _plain(value: object) -> str | int | float | None:
    return value if value is None or isinstance(value, (str, int, float)) else str(value)
