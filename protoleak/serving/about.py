"""What a server says of its bundle and of what judges with it."""

from __future__ import annotations

from typing import Any

import msgspec

from protoleak.environment.versions import library_versions
from protoleak.serving.judging import BundleJudge
from protoleak.version import __version__

LIBRARIES = ("numpy", "pillow", "opencv-python-headless", "onnxruntime", "openvino", "starlette", "uvicorn")


def about(judge: BundleJudge) -> dict[str, Any]:
    """As JSON says it: the bundle, its promise and what that rests on, the engine, and the versions."""
    screener = judge.screener
    manifest, record = screener.bundle.manifest, screener.bundle_record
    calibration = screener.calibration
    per_generator = zip(manifest.generators, calibration.per_generator, strict=True)
    example = judge.example
    accused = screener.report.accused
    return {
        "name": record.name,
        "sha256": record.sha256,
        "signer": msgspec.to_builtins(record.signer),
        "variant": record.variant,
        "compute": screener.compute,
        "generators": list(manifest.generators),
        "real_class": manifest.real_class,
        "looks": list(screener.framing.looks),
        "timesteps": list(manifest.timesteps),
        "alpha": screener.alpha,
        "accusation_level": None if example is None else example.accusation_level,
        "acquittal_level": None if example is None else example.acquittal_level,
        "calibration": {
            "overall": len(calibration.overall),
            "per_generator": {name: len(values) for name, values in per_generator},
            "real": _count(calibration.real_margins),
            "generated": _count(calibration.generated_margins),
        },
        "real_faces_accused": (
            None if accused is None else {"count": accused[0], "of": accused[1], "since": manifest.changes}
        ),
        "engine": msgspec.to_builtins(screener.engine),
        "settings": dict(judge.identity(False).settings),
        "versions": {"protoleak": __version__} | library_versions(LIBRARIES),
    }


def _count(values: Any) -> int | None:
    return None if values is None else len(values)
