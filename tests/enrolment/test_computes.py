"""A changed bundle has no thresholds of before the change, in no compute; the bundle as exported keeps all of them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import MANIFEST, Manifest
from protoleak.bundle.writer import write_bundle
from protoleak.cli.app import main
from protoleak.errors import BundleError
from protoleak.runtime.configuration import configure
from tests.calibrated_bundle import BF16, calibrated_files


@pytest.fixture(scope="module")
def calibrated(enrollable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that generators can be enrolled in, calibrated for bfloat16 in OpenVINO."""
    bundle = Bundle.load(enrollable)
    files = {name: bundle.contents()[name] for name in bundle.manifest.files}
    path = tmp_path_factory.mktemp("calibrated") / "bundle"
    write_bundle(path, *calibrated_files((bundle.manifest, files)))
    return path


def test_an_enrolled_bundle_is_exact_and_says_so_and_removing_restores_the_computes(
    calibrated: Path, lemons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    options = ["--generator", "lemon", "--data", str(lemons), "--threads", "1", "--out", str(out)]
    assert main(["enrol", str(calibrated), *options]) == 0
    assert "bf16 in openvino: its thresholds were those of before" in capsys.readouterr().err
    changed = Bundle.load(out)
    assert changed.manifest.computes == []
    assert configure(changed, "openvino").compute == "exact"
    assert main(["enrol", str(out), "--remove", "lemon", "--out", str(back)]) == 0
    assert (back / MANIFEST).read_bytes() == (calibrated / MANIFEST).read_bytes()
    assert Bundle.load(back).variant("fp32", "openvino", "bf16").compute == "bf16"


def test_a_changed_bundle_with_the_thresholds_of_before_is_refused(with_lemon: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(with_lemon)
    files = {name: bundle.contents()[name] for name in bundle.manifest.files}
    files |= {f"{BF16.folder}/{name}": files[f"variants/fp32/{name}"] for name in ("calibration.npz", "report.json")}
    manifest: Manifest = msgspec.structs.replace(bundle.manifest, computes=[BF16])
    write_bundle(tmp_path / "b", manifest, files)
    with pytest.raises(BundleError, match="not that of its base with additions: computes"):
        Bundle.load(tmp_path / "b")
