"""Is a video screened on the GPU with the verdicts of the processor, and how fast?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu_checks.rows import Row, measured, not_measured
from benchmarks.gpu_checks.setup import GPU_ENGINES, Setup, own_cache
from protoleak.errors import ProtoleakError
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.video.events import FaceEvent
from protoleak.video.settings import StreamSettings

VIDEO = "screening of a clip"


def video(setup: Setup) -> Iterator[Row]:
    """A row for each engine: frames per second, and verdicts that differ from ONNX Runtime's on the processor."""
    clip = setup.settings.clip
    if clip is None:
        yield not_measured(VIDEO, "every engine", "no clip was given: --clip FILE")
        return
    expected: list[tuple[float, str, str]] | None = None
    for engine in GPU_ENGINES:
        if engine not in setup.settings.engines:
            continue
        if (problem := setup.problem(engine, setup.settings.device)) is not None:
            yield not_measured(VIDEO, engine, problem)
            continue
        try:
            if expected is None:
                expected, _ = _screened(setup, clip, "onnxruntime")
            _screened(setup, clip, engine)  # builds plans, captures graphs
            found, fps = _screened(setup, clip, engine)
        except ProtoleakError as error:
            yield not_measured(VIDEO, engine, error, failed=True)
            continue
        pixels = sum(one[2] != other[2] for one, other in zip(found, expected, strict=False))
        labels = sum(one[1] != other[1] for one, other in zip(found, expected, strict=False))
        values = {
            "frames per second": fps,
            "verdicts": len(found),
            "other pixels judged": pixels,
            "other labels": labels,
        }
        yield measured(VIDEO, engine, values, pixels == 0 and len(found) == len(expected))


def _screened(setup: Setup, clip: Path, engine: str) -> tuple[list[tuple[float, str, str]], float]:
    """Timestamp, label and SHA-256 of the pixels of each verdict; frames per second."""
    from protoleak.video.sources.file import FileSource
    from protoleak.video.stream import stream

    settings = StreamSettings(faces="auto" if setup.bundle.face_detector is not None else "none", every=0.2)
    with own_cache(setup.cache / "video"), ImagePipeline(setup.bundle, engine=engine, variant="fp32") as pipeline:
        source = FileSource(str(clip))
        frames = float((source.info.duration or 0) * (source.info.rate or 0))
        started = time.perf_counter()
        events = list(stream(pipeline, source, settings))
        fps = frames / (time.perf_counter() - started)
    faces = [event for event in events if isinstance(event, FaceEvent)]
    return sorted((one.timestamp, one.verdict.label, one.verdict.input.sha256) for one in faces), fps
