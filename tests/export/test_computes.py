"""What `export` makes of other arithmetic than exact computing: gated, calibrated and timed, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import protoleak
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.report import GateLimits
from protoleak.dataset import Dataset
from protoleak.environment.instructions import instructions
from protoleak.export import computes
from protoleak.export.export import ExportResult, export_bundle
from protoleak.export.settings import ExportSettings, VariantSettings
from protoleak.model.checkpoint import TrainedModel
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines.availability import compute_problem
from tests.training.images import write_images

LOOSE = GateLimits(generator_agreement=0.7, verdict_agreement=0.7, auc_drop=0.5)


@pytest.fixture(scope="module")
def exported(
    model: TrainedModel, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ExportResult]:
    """A bundle with photographs measured, and what this processor computes otherwise calibrated: OpenVINO's exact
    computing, which every processor has, and bfloat16 where it is there."""
    folder = tmp_path_factory.mktemp("computes")
    write_images(folder / "faces", "none", 5, first_seed=500)
    settings = ExportSettings(
        name="small", photographs=folder / "faces", variant_settings=VariantSettings(limits=LOOSE)
    )
    proper = computes._to_try
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(computes, "_to_try", lambda *given: [("fp32", "openvino", "exact"), *proper(*given)])
        return folder / "bundle", export_bundle(model, dataset, folder / "bundle", settings)


def test_each_compute_has_its_own_lists_report_and_time(exported: tuple[Path, ExportResult], dataset: Dataset) -> None:
    path, result = exported
    manifest = Bundle.load(path).manifest
    expected = [("fp32", "openvino", "exact")]
    if compute_problem("openvino", "bf16") is None:
        expected.append(("fp32", "openvino", "bf16"))
    assert [(one.variant, one.engine, one.compute) for one in manifest.computes] == expected
    assert result.computes.refused == {}
    assert all(one.milliseconds > 0 for one in manifest.computes)
    assert manifest.measured_on is not None
    assert manifest.measured_on.instructions == sorted(instructions() or ())
    for variant, engine, compute in expected:
        found = Bundle.load(path).variant(variant, engine, compute)
        assert (found.compute, found.report.engine, found.report.compute) == (compute, engine, compute)
        assert found.report.gate is not None
        assert found.report.gate.passes
        assert found.report.gate.all_images == 17  # 12 of the test split, 5 photographs
        options = EngineOptions(compute=compute)
        with protoleak.load(path, variant=variant, engine=engine, engine_options=options) as screener:
            verdicts = screener([sample.path for sample in dataset.calibration])
        densities = np.sort([verdict.log_density for verdict in verdicts])
        np.testing.assert_allclose(found.calibration.overall, densities, atol=1e-5)  # another number of threads


def test_a_compute_that_fails_the_gate_is_refused_with_the_reason_and_nobody_gets_it(
    model: TrainedModel, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computes, "_to_try", lambda *_: [("fp32", "openvino", "exact")])
    impossible = VariantSettings(limits=GateLimits(auc_drop=-1.0))
    result = export_bundle(model, dataset, tmp_path / "b", ExportSettings(name="small", variant_settings=impossible))
    bundle = Bundle.load(tmp_path / "b")
    assert bundle.manifest.computes == []
    (reason,) = result.computes.refused.values()
    assert "more than -1" in reason
    assert bundle.manifest.provenance["export"]["refused_computes"] == {"fp32 in openvino, exact": reason}
    assert not [name for name in bundle.manifest.files if "openvino" in name]
    assert (bundle.variant("fp32", "openvino", "exact").report.engine) == "onnxruntime"


def test_nothing_is_tried_where_no_compute_is_asked_for(model: TrainedModel, dataset: Dataset, tmp_path: Path) -> None:
    export_bundle(model, dataset, tmp_path / "b", ExportSettings(name="small", computes=()))
    assert Bundle.load(tmp_path / "b").manifest.computes == []


def test_int8_is_tried_in_every_engine_that_rounds_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime's own rounding is what a variant's own lists are of."""
    monkeypatch.setattr(computes, "compute_problem", lambda engine, _: None if engine == "openvino" else "never")
    assert list(computes._to_try(["fp32", "int8"], ["bf16"])) == [
        ("int8", "openvino", "exact"),
        ("fp32", "openvino", "bf16"),
        ("int8", "openvino", "bf16"),
    ]
