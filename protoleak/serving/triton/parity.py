"""The gate of a model repository: the served graphs compute what the runtime computes, or nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from protoleak.bundle.bundle import Bundle, Variant
from protoleak.errors import ParityError
from protoleak.runtime.engines.onnxruntime import ERRORS_ONLY, PROVIDER, import_onnxruntime
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS, Graphs, open_executor
from protoleak.serving.triton.graphs import LOG_DENSITY, LOOKS, Z0, ServedGraphs

# The same operations on each face; ONNX Runtime may fuse those in front of the attributor with what follows.
RELATIVE_TOLERANCE = 1e-4
# A batch may be summed in another order, which float16 rounds to other neighbours; faces that mix differ everywhere.
BATCH_TOLERANCE = 1e-2
FACES = 3  # in the batch that is compared


@dataclass(frozen=True)
class ServedParity:
    """How the served graphs compare with the runtime on images.

    Attributes:
        relative: output → largest absolute difference over the largest magnitude that the runtime gave.
    """

    relative: dict[str, float]

    @property
    def largest(self) -> tuple[str, float]:
        """The output that differs most, and by how much."""
        return max(self.relative.items(), key=lambda item: item[1])


def check_parity(bundle: Bundle, variant: Variant, served: ServedGraphs) -> ServedParity:
    """Runs both with ONNX Runtime on the processor, on a batch of three "faces": noise, a gradient, and a flat colour.

    Raises:
        ParityError: an output has another shape, is not finite, or differs by more than 1e-4 of its magnitude; or faces
            in a batch are not independent.
        EngineError: the runtime cannot run the bundle's graphs, or their outputs are not finite.
    """
    faces = _faces(len(bundle.manifest.preprocessing.looks), bundle.manifest.preprocessing.image_size)
    executor = open_executor(
        "onnxruntime", Graphs.of_variant(variant), bundle.manifest, bundle.noise_bank, location=bundle.path
    )
    try:
        expected = executor.run(faces.reshape(-1, *faces.shape[2:])).outputs
    finally:
        executor.close()
    run = open_served(served)
    alone = [run(faces[index : index + 1]) for index in range(len(faces))]
    found = {name: np.concatenate([outputs[name] for outputs in alone]) for name in ATTRIBUTOR_OUTPUTS}
    mixed = max(_compare(found, run(faces)).values())
    found[LOG_DENSITY] = found[LOG_DENSITY].reshape(-1)
    relative = _compare(expected, found)
    if not max(relative.values()) <= RELATIVE_TOLERANCE:
        listed = ", ".join(f"{name} {value:.1e}" for name, value in relative.items())
        raise ParityError(
            f"the graphs with the noising inside give other numbers than the runtime (relative differences: {listed}; "
            f"{RELATIVE_TOLERANCE:g} is allowed): nothing was written; export the bundle again, or report this"
        )
    if not mixed <= BATCH_TOLERANCE:
        raise ParityError(
            f"the graphs give other numbers for {len(faces)} faces together than for each alone (relative difference "
            f"{mixed:.1e}): nothing was written; export the bundle again with a dynamic batch"
        )
    return ServedParity(relative)


def open_served(served: ServedGraphs) -> Callable[[npt.NDArray[np.uint8]], dict[str, npt.NDArray[Any]]]:
    """The attributor's outputs of uint8 [N, L, S, S, 3], all in one batch, as a server runs it."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    encoder, attributor = (
        onnxruntime.InferenceSession(graph, options, providers=[PROVIDER])
        for graph in (served.latent_encoder, served.attributor)
    )

    def run(faces: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
        z0 = encoder.run([Z0], {LOOKS: faces})[0]
        return dict(zip(ATTRIBUTOR_OUTPUTS, attributor.run(list(ATTRIBUTOR_OUTPUTS), {Z0: z0}), strict=True))

    return run


def _faces(looks: int, side: int) -> npt.NDArray[np.uint8]:
    random = np.random.default_rng(0)
    faces = random.integers(0, 256, (FACES, looks, side, side, 3), dtype=np.uint8)
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    faces[1] = ramp[:, None, None] // 2 + ramp[None, :, None] // 2
    faces[2] = random.integers(0, 256, 3)
    return faces


def _compare(expected: Mapping[str, npt.NDArray[Any]], found: Mapping[str, npt.NDArray[Any]]) -> dict[str, float]:
    """NaN or a wrong shape counts as infinitely different."""
    relative = {}
    for name, reference in expected.items():
        result = found[name]
        if result.shape != reference.shape or not np.isfinite(result).all():
            relative[name] = float("inf")
            continue
        difference = np.abs(result.astype(np.float64) - reference.astype(np.float64)).max()
        scale = max(float(np.abs(reference).max()), np.finfo(np.float32).tiny)
        relative[name] = float(difference / scale)
    return relative
