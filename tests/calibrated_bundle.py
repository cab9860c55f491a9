"""The small bundle, calibrated for bfloat16 in OpenVINO beside exact computing: with lists that can't be mixed up."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from protoleak.bundle.calibration import Calibration
from protoleak.bundle.manifest import CalibratedCompute, Manifest, MeasuredOn
from protoleak.bundle.report import BundleReport, parse_report

BF16 = CalibratedCompute("fp32", "openvino", "bf16", 5.0)
EXACT_MILLISECONDS = 10.0
SHIFT = 1000.0  # of the log densities in the lists of bfloat16: everything is unknown by them
INSTRUCTIONS = ["avx512_bf16", "avx512f"]


def calibrated_files(
    tiny_files: tuple[Manifest, dict[str, bytes]], milliseconds: float = BF16.milliseconds
) -> tuple[Manifest, dict[str, bytes]]:
    """Manifest and files of it, from those of the small bundle."""
    manifest, files = tiny_files
    exact = Calibration.from_bytes(files["variants/fp32/calibration.npz"], len(manifest.generators), "the small bundle")
    shifted = replace(
        exact,
        overall=exact.overall + SHIFT,
        per_generator=tuple(np.asarray(one + SHIFT, np.float64) for one in exact.per_generator),
    )
    report: BundleReport = parse_report(files["variants/fp32/report.json"], "the small bundle")
    report = msgspec.structs.replace(report, engine="openvino", compute="bf16")
    bf16 = msgspec.structs.replace(BF16, milliseconds=milliseconds)
    manifest = msgspec.structs.replace(
        manifest,
        computes=[bf16],
        speeds={"openvino": {"fp32": EXACT_MILLISECONDS}, "onnxruntime": {"fp32": EXACT_MILLISECONDS}},
        measured_on=MeasuredOn("a processor", INSTRUCTIONS),
    )
    return manifest, files | {
        f"{BF16.folder}/calibration.npz": shifted.to_bytes(),
        f"{BF16.folder}/report.json": report.to_json(),
    }
