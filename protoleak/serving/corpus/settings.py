"""What a corpus is judged with: plain values that travel to the workers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec

from protoleak.choices import Compute, EngineName, Upright
from protoleak.faces.base import FaceDetector
from protoleak.faces.settings import FaceFinder, FaceSettings
from protoleak.image_records import Identity, Settings, settings_by_face, settings_whole
from protoleak.progress import Progress
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.screener import Screener
from protoleak.version import __version__


@dataclass(frozen=True)
class JudgeSettings:
    """How a worker judges. Paths must lead to the same files on every machine.

    Attributes:
        bundle, trusted_key, alpha, variant, engine, threads, device, compute, isolate, upright: see `protoleak.load`.
        threads: of one worker.
        finder: who finds faces, "none" to judge images whole; None for what the bundle was trained on.
        faces: how faces are found and cut out.
        batch_size: images or faces that go through the engines together.
    """

    bundle: str | None = None
    trusted_key: str | None = None
    alpha: float | None = None
    variant: str = "auto"
    engine: EngineName = "auto"
    threads: int | None = 1
    device: int = EngineOptions.device
    compute: Compute = EngineOptions.compute
    isolate: bool = False
    upright: Upright | None = None
    finder: FaceFinder | None = None
    faces: FaceSettings = field(default_factory=FaceSettings)
    batch_size: int = 8


@dataclass(frozen=True)
class OpenJudge:
    """A screener as the settings ask for it.

    Attributes:
        detector: None where images are judged whole.
        recorded: the settings that stand in every row.
    """

    screener: ImagePipeline
    detector: FaceDetector | None
    faces: FaceSettings
    recorded: Settings

    @property
    def identity(self) -> Identity:
        """What all rows of one corpus have in common."""
        return Identity(bundle=self.screener.bundle_record, alpha=self.screener.alpha, settings=self.recorded)


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of itself before the work begins.

    Attributes:
        version: of protoleak there.
        generators: names of the bundle's classes, but the real one.
        folder_is_shared: whether the folder of results is the one that the caller sees.
    """

    version: str
    identity: Identity
    generators: list[str]
    engine: str
    folder_is_shared: bool


def open_judge(settings: JudgeSettings, progress: Progress) -> OpenJudge:
    """Opens bundle, engine and detector.

    Args:
        progress: called while a plan is built.

    Raises:
        ProtoleakError: the bundle, the engine, alpha or the detector is not usable.
    """
    kind = ImagePipeline if settings.finder == "none" else Screener
    screener = kind(
        settings.bundle,
        trusted_key=settings.trusted_key,
        alpha=settings.alpha,
        variant=settings.variant,
        engine=settings.engine,
        threads=settings.threads,
        isolate=settings.isolate,
        upright=settings.upright,
        engine_options=EngineOptions(compute=settings.compute, device=settings.device, progress=progress),
    )
    finder = settings.finder or (screener.looks_at if isinstance(screener, Screener) else "none")
    faces = replace(settings.faces, faces=finder)
    detector = screener.detector(faces) if isinstance(screener, Screener) and finder != "none" else None
    whole = settings_whole(screener.upright)
    recorded = whole if detector is None else settings_by_face(detector.description, screener.upright, faces)
    return OpenJudge(screener, detector, faces, recorded)


def describe(judge: OpenJudge, *, folder_is_shared: bool) -> Description:
    """What the caller has to know of a worker."""
    manifest = judge.screener.bundle.manifest
    return Description(
        version=__version__,
        identity=judge.identity,
        generators=[name for name in manifest.generators if name != manifest.real_class],
        engine=judge.screener.engine.name,
        folder_is_shared=folder_is_shared,
    )
