"""Are faces of a video framed on the GPU to the same bits as on the processor, and is it worth it?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.gpu_checks.rows import Row, measured, not_measured
from benchmarks.gpu_checks.setup import Setup
from protoleak.errors import ProtoleakError
from protoleak.faces.crops import frame_face, look_rectangles
from protoleak.images.framing import Box
from protoleak.runtime.executors import ON_GPU, Executor, FrameToCrop

FRAMING = "framing of a video's faces"
FRAMES = ((360, 640), (720, 1280), (1080, 1920))
FACES = (1, 4)
MARGIN = 0.25
REPEATS = 30


def framing(setup: Setup) -> Iterator[Row]:
    """A row for each size of frame and number of faces: bits that differ, and milliseconds beside the processor's."""
    for engine in ON_GPU:
        if engine not in setup.settings.engines:
            continue
        if (problem := setup.problem(engine, setup.settings.device)) is not None:
            yield not_measured(FRAMING, engine, problem)
            continue
        try:
            executor = setup.open(engine, "fp32")
            try:
                for height, width in FRAMES:
                    for faces in FACES:
                        yield _row(setup, executor, f"{engine}, {width}×{height}, {faces} faces", height, width, faces)
            finally:
                executor.close()
        except ProtoleakError as error:
            yield not_measured(FRAMING, engine, error, failed=True)


def _row(setup: Setup, executor: Executor, what: str, height: int, width: int, faces: int) -> Row:
    frame = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    rule = setup.bundle.manifest.preprocessing.framing
    boxes = [Box(0.7 * width * i / faces - 8.5, 0.3 * height, 0.2 * height, 0.26 * height) for i in range(faces)]

    def on_gpu() -> list[np.ndarray]:
        rectangles = [one for box in boxes for one in look_rectangles(rule, frame, box, MARGIN)]
        found = executor.frame([FrameToCrop(frame, rectangles)])
        assert found is not None  # the engine is on a GPU
        return [one.pixels for one in found]

    def on_processor() -> list[np.ndarray]:
        return [frame_face(rule, frame, box, MARGIN).pixels for box in boxes]

    pairs = zip(on_gpu(), on_processor(), strict=True)
    differing = sum(int(np.count_nonzero(one != other)) for one, other in pairs)
    values = {
        "values that differ": differing,
        "ms on the GPU": _median(on_gpu),
        "ms on the processor": _median(on_processor),
    }
    return measured(FRAMING, what, values, differing == 0)


def _median(work: Callable[[], object]) -> float:
    spent = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        spent.append(1000 * (time.perf_counter() - started))
    return float(np.median(spent))
