"""protoleak tells which generative model made a face image, and says "none that I know" where that is the verdict.

    import protoleak

    with protoleak.load() as screener:
        verdict = screener("face.jpg")[0]
        print(verdict.label, verdict.nearest, verdict.p_value)

Importing the package is light: NumPy and the engines are imported by the first use of a name below.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from protoleak.version import __version__

# From 1.29 on ONNX Runtime writes below ~/.cache/Microsoft and reports its use over the network as soon as it is
# imported; it looks at this variable then. Whoever wants that sets it to 0 themselves. OpenVINO's is switched off where
# it is imported, in runtime/engines/openvino.py.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # diffusers', which reads checkpoints

if TYPE_CHECKING:
    from protoleak.bundle.bundle import Bundle
    from protoleak.choices import Upright
    from protoleak.errors import (
        BundleError,
        CalibrationError,
        CheckpointError,
        DatasetError,
        DiskFull,
        EngineError,
        EngineOutOfMemory,
        EngineUnavailable,
        MediaError,
        MissingExtra,
        NoFaceError,
        ParityError,
        ProtoleakError,
        ServerError,
        SettingError,
    )
    from protoleak.faces.base import BoxRecord, Face, FaceDetector
    from protoleak.faces.settings import FaceSettings
    from protoleak.faces.still_images import FaceVerdict
    from protoleak.images.claims.claim import Claim
    from protoleak.runtime.drift import DriftEvent, DriftMonitor
    from protoleak.runtime.engine_options import EngineOptions
    from protoleak.runtime.verdict import Verdict
    from protoleak.screener import Screener
    from protoleak.video.events import Event, FaceEvent, FailureEvent, GapEvent, TrackEvent, TrackVerdict
    from protoleak.video.frames import Frame, FrameSource, Gap, SourceInfo
    from protoleak.video.outputs.annotate import AnnotatedVideo
    from protoleak.video.outputs.folder import OutputFolder, open_output_folder
    from protoleak.video.outputs.records import RecordFiles
    from protoleak.video.outputs.report import HtmlReport
    from protoleak.video.outputs.run_record import RunRecord, run_record
    from protoleak.video.settings import StreamSettings
    from protoleak.video.sink import Sink, SourcesSink, TrackedFace
    from protoleak.video.statistics import Statistics

# Name → module, for what isn't an error.
_HOME_OF = {
    "AnnotatedVideo": "protoleak.video.outputs.annotate",
    "BoxRecord": "protoleak.faces.base",
    "Bundle": "protoleak.bundle.bundle",
    "Claim": "protoleak.images.claims.claim",
    "DriftEvent": "protoleak.runtime.drift",
    "DriftMonitor": "protoleak.runtime.drift",
    "EngineOptions": "protoleak.runtime.engine_options",
    "Event": "protoleak.video.events",
    "Face": "protoleak.faces.base",
    "FaceDetector": "protoleak.faces.base",
    "FaceEvent": "protoleak.video.events",
    "FaceSettings": "protoleak.faces.settings",
    "FaceVerdict": "protoleak.faces.still_images",
    "FailureEvent": "protoleak.video.events",
    "Frame": "protoleak.video.frames",
    "FrameSource": "protoleak.video.frames",
    "Gap": "protoleak.video.frames",
    "GapEvent": "protoleak.video.events",
    "HtmlReport": "protoleak.video.outputs.report",
    "OutputFolder": "protoleak.video.outputs.folder",
    "RecordFiles": "protoleak.video.outputs.records",
    "RunRecord": "protoleak.video.outputs.run_record",
    "Screener": "protoleak.screener",
    "Sink": "protoleak.video.sink",
    "SourceInfo": "protoleak.video.frames",
    "SourcesSink": "protoleak.video.sink",
    "Statistics": "protoleak.video.statistics",
    "StreamSettings": "protoleak.video.settings",
    "TrackEvent": "protoleak.video.events",
    "TrackVerdict": "protoleak.video.events",
    "TrackedFace": "protoleak.video.sink",
    "Verdict": "protoleak.runtime.verdict",
    "open_output_folder": "protoleak.video.outputs.folder",
    "run_record": "protoleak.video.outputs.run_record",
}

__all__ = [
    "AnnotatedVideo",
    "BoxRecord",
    "Bundle",
    "BundleError",
    "CalibrationError",
    "CheckpointError",
    "Claim",
    "DatasetError",
    "DiskFull",
    "DriftEvent",
    "DriftMonitor",
    "EngineError",
    "EngineOptions",
    "EngineOutOfMemory",
    "EngineUnavailable",
    "Event",
    "Face",
    "FaceDetector",
    "FaceEvent",
    "FaceSettings",
    "FaceVerdict",
    "FailureEvent",
    "Frame",
    "FrameSource",
    "Gap",
    "GapEvent",
    "HtmlReport",
    "MediaError",
    "MissingExtra",
    "NoFaceError",
    "OutputFolder",
    "ParityError",
    "ProtoleakError",
    "RecordFiles",
    "RunRecord",
    "Screener",
    "ServerError",
    "SettingError",
    "Sink",
    "SourceInfo",
    "SourcesSink",
    "Statistics",
    "StreamSettings",
    "TrackEvent",
    "TrackVerdict",
    "TrackedFace",
    "Verdict",
    "__version__",
    "load",
    "open_output_folder",
    "run_record",
]


def load(
    bundle: str | os.PathLike[str] | None = None,
    *,
    trusted_key: str | os.PathLike[str] | None = None,
    alpha: float | None = None,
    variant: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    engine_options: EngineOptions | None = None,
    isolate: bool = False,
    upright: Upright | None = None,
) -> Screener:
    """Opens a bundle, checks all of it, and returns what turns images and videos into verdicts.

    Args:
        bundle: a bundle directory or .zip; None for the one that comes with the package.
        trusted_key: file with the Ed25519 public key that the bundle must be signed with, see `protoleak sign`; None
            takes any bundle.
        alpha: significance level in (0, 1): the share of known images that may be called unknown; None for the level
            that the bundle was measured at.
        variant: a precision of the bundle, such as "fp32"; None or "auto" for the fastest in the engine: as measured
            when the bundle was exported where that was on such a processor, else as timed on this one, once.
        engine: what executes the graphs: one that `protoleak engines` lists, or "auto" for the best that can run here.
        threads: processor threads for one image; None for the engine's own choice (the physical cores), or for what a
            container's quota of processor time keeps busy.
        engine_options: what else can be set of an engine, such as OpenVINO's bfloat16 or the CUDA device.
        isolate: decode images and videos in processes of their own, with limits on processor time, memory and wall
            time, so that a hostile file costs an error and at most 5 s. Needs Linux or macOS.
        upright: "auto" turns images as their EXIF orientation says, "never" leaves them as they lie in their files;
            None for what the bundle was trained on.

    Raises:
        BundleError: the bundle is damaged, unsafe, of another schema, lacks the variant, or is not signed with the key.
        CalibrationError: alpha is outside (0, 1), or too small for the bundle's calibration images.
        EngineUnavailable: the engine is unknown or cannot run here; the message says what to install.
        EngineOutOfMemory: the bundle doesn't fit the GPU's memory.
    """
    from protoleak.screener import Screener

    return Screener(
        bundle,
        trusted_key=trusted_key,
        alpha=alpha,
        variant=variant,
        engine=engine,
        threads=threads,
        engine_options=engine_options,
        isolate=isolate,
        upright=upright,
    )


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'protoleak' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF.get(name, "protoleak.errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
