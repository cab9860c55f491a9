"""Bundles that are calibrated for other arithmetic than exact computing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import CalibratedCompute, Manifest
from protoleak.bundle.writer import write_bundle
from protoleak.errors import BundleError
from tests.calibrated_bundle import BF16, SHIFT, calibrated_files


def test_a_compute_has_lists_of_its_own_in_its_engine_alone(
    tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path
) -> None:
    write_bundle(tmp_path / "b", *calibrated_files(tiny_files))
    bundle = Bundle.load(tmp_path / "b")
    exact, bf16 = bundle.variant("fp32"), bundle.variant("fp32", "openvino", "bf16")
    np.testing.assert_allclose(bf16.calibration.overall, exact.calibration.overall + SHIFT)
    assert (bf16.compute, bf16.report.compute, exact.compute, exact.report.compute) == (
        "bf16",
        "bf16",
        "exact",
        "exact",
    )
    for engine, compute in (("onnxruntime", "bf16"), ("openvino", "exact"), (None, "bf16")):
        other = bundle.variant("fp32", engine, compute)
        assert other.compute == "exact"
        np.testing.assert_array_equal(other.calibration.overall, exact.calibration.overall)


def test_a_bundle_without_computes_is_written_as_before_there_were_any(
    tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path
) -> None:
    """So that every protoleak reads it."""
    write_bundle(tmp_path / "b", *tiny_files)
    written = msgspec.json.decode((tmp_path / "b" / "manifest.json").read_bytes())
    assert not {"computes", "measured_on"} & set(written)


@pytest.mark.parametrize("file", ["calibration.npz", "report.json"])
def test_a_compute_without_its_files_is_refused(
    file: str, tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path
) -> None:
    manifest, files = calibrated_files(tiny_files)
    del files[f"{BF16.folder}/{file}"]
    write_bundle(tmp_path / "b", manifest, files)
    with pytest.raises(BundleError, match=f"does not list {BF16.folder}/{file}"):
        Bundle.load(tmp_path / "b")


def test_a_changed_list_of_a_compute_is_found_by_its_hash(
    tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path
) -> None:
    write_bundle(tmp_path / "b", *calibrated_files(tiny_files))
    file = tmp_path / "b" / BF16.folder / "calibration.npz"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"openvino-bf16/calibration\.npz was changed"):
        Bundle.load(tmp_path / "b")


@pytest.mark.parametrize(
    ("computes", "problem"),
    [
        ([CalibratedCompute("int8", "openvino", "bf16", 1.0)], "a compute of no variant"),
        ([CalibratedCompute("fp32", "../x", "bf16", 1.0)], "computes of no engine"),
        ([BF16, BF16], "one of them twice"),
        ([CalibratedCompute("fp32", "openvino", "bf16", 0.0)], "without a time"),
        ([CalibratedCompute("fp32", "openvino", "fp4", 1.0)], "not a valid manifest"),
    ],
)
def test_a_manifest_with_an_impossible_compute_is_refused(
    computes: list[Any], problem: str, tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path
) -> None:
    manifest, files = calibrated_files(tiny_files)
    write_bundle(tmp_path / "b", msgspec.structs.replace(manifest, computes=computes), files)
    with pytest.raises(BundleError, match=problem):
        Bundle.load(tmp_path / "b")
