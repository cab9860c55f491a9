"""protoleak tells which generative model made a face image, and says "none that I know" when that is the answer.

    import protoleak

    screener = protoleak.load()
    verdict = screener("face.jpg")[0]
    print(verdict.label, verdict.nearest, verdict.p_value)

Importing the package is light: NumPy and the engines are imported by the first use of a name below.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protoleak.bundle.bundle import Bundle
    from protoleak.errors import (
        BundleError,
        CalibrationError,
        EngineError,
        EngineOutOfMemory,
        EngineUnavailable,
        MediaError,
        ProtoleakError,
    )
    from protoleak.runtime.engines.base import EngineOptions
    from protoleak.runtime.verdict import Verdict
    from protoleak.screener import Screener

from protoleak.version import __version__

__all__ = [
    "Bundle",
    "BundleError",
    "CalibrationError",
    "EngineError",
    "EngineOptions",
    "EngineOutOfMemory",
    "EngineUnavailable",
    "MediaError",
    "ProtoleakError",
    "Screener",
    "Verdict",
    "__version__",
    "load",
]

_HOME_OF = {
    "Bundle": "protoleak.bundle.bundle",
    "EngineOptions": "protoleak.runtime.engines.base",
    "Screener": "protoleak.screener",
    "Verdict": "protoleak.runtime.verdict",
}


def load(
    bundle: str | os.PathLike[str] | None = None,
    *,
    alpha: float = 0.05,
    variant: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    engine_options: EngineOptions | None = None,
) -> Screener:
    """Opens a bundle, checks all of it, and returns what turns images into verdicts.

    Args:
        bundle: a bundle directory or .zip; None for the one that comes with the package.
        alpha: significance level in (0, 1): the share of known images that may be called unknown.
        variant: a precision of the bundle, such as "fp32"; None or "auto" for the fastest in the engine, as measured
            when the bundle was exported, or for the first that its manifest lists.
        engine: what executes the graphs: one that `protoleak engines` lists, or "auto" for the best that can run here.
        threads: processor threads for one image; None for the engine's own choice (the physical cores).
        engine_options: what else can be set of an engine, such as OpenVINO's bfloat16 or the CUDA device.

    Raises:
        BundleError: the bundle is damaged, unsafe, of another schema, or lacks the variant.
        CalibrationError: alpha is outside (0, 1), or too small for the bundle's calibration images.
        EngineUnavailable: the engine is unknown or cannot run here; the message says what to install.
        EngineOutOfMemory: the bundle doesn't fit the GPU's memory.
    """
    from protoleak.screener import Screener

    return Screener(bundle, alpha=alpha, variant=variant, engine=engine, threads=threads, engine_options=engine_options)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'protoleak' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF.get(name, "protoleak.errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
