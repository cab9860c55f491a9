"""From a model and a data set to a bundle that screens."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import protoleak
from protoleak.bundle.bundle import Bundle
from protoleak.calibration.density import DensityModel, fit_density
from protoleak.calibration.heads import fit_head
from protoleak.choices import HEAD_KINDS, HeadKind
from protoleak.cli.app import main
from protoleak.dataset import Dataset, read_dataset
from protoleak.errors import CalibrationError, DatasetError
from protoleak.export.export import ExportResult, export_bundle
from protoleak.export.features import Features, network_features
from protoleak.export.images import in_order_of, split
from protoleak.export.settings import CONTRASTED_BANDWIDTH, ExportSettings
from protoleak.faces.framer import Framer
from protoleak.images.framing import Framing
from protoleak.images.preprocess import preprocess
from protoleak.model.checkpoint import TrainedModel, attributor_outputs
from tests.export.conftest import write_data
from tests.training.images import IMAGE_SIZE, make_image, write_images

FRAMER = Framer(Framing(image_size=IMAGE_SIZE))
UNSEEN = [make_image(kind, 700 + index) for kind in ("columns", "rows", "none") for index in range(4)]


def features(model: TrainedModel, dataset: Dataset, name: str) -> Features:
    images = split(dataset, name)
    return network_features(model, images.paths, images.labels, FRAMER, None)


def density_of(model: TrainedModel, dataset: Dataset, **options: Any) -> DensityModel:
    train, validation = features(model, dataset, "train"), features(model, dataset, "validation")
    return fit_density(train.embedding, train.gate, train.labels, validation.embedding, validation.gate, **options)


def network_outputs(model: TrainedModel) -> dict[str, np.ndarray]:
    """Of the unseen images, in PyTorch."""
    pixels = np.stack([preprocess(image, IMAGE_SIZE) for image in UNSEEN])
    return attributor_outputs(model, model.config.noised(model.latent_encoder.encode(pixels)))


def assert_same(found: list[Any], expected: np.ndarray) -> None:
    """To 1e-4 of the largest magnitude: what the parity gate allows between float32 graphs and PyTorch."""
    assert np.abs(np.array(found) - expected).max() <= 1e-4 * np.abs(expected).max()


def export(model: TrainedModel, dataset: Dataset, out: Path, **settings: Any) -> ExportResult:
    return export_bundle(model, dataset, out, ExportSettings(name="small", **{"computes": (), **settings}))


@pytest.fixture(scope="module")
def bundle(model: TrainedModel, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With everything measured that can be."""
    folder = tmp_path_factory.mktemp("exported")
    write_images(folder / "unknown" / "drawings", "drawings", 6, first_seed=300)
    write_images(folder / "unknown" / "paintings", "paintings", 5, first_seed=400)
    write_images(folder / "faces", "none", 7, first_seed=500)
    export(model, dataset, folder / "bundle", unknown=folder / "unknown", photographs=folder / "faces")
    return folder / "bundle"


@pytest.mark.parametrize("head", HEAD_KINDS)
def test_a_bundle_of_every_head_scores_images_as_the_fitted_head_does(
    head: HeadKind, model: TrainedModel, dataset: Dataset, bundle: Path, tmp_path: Path
) -> None:
    if head != "prototype":
        bundle = tmp_path / "bundle"
        export(model, dataset, bundle, head=head)
    verdicts = protoleak.load(bundle, engine="onnxruntime")(UNSEEN)
    train, validation = features(model, dataset, "train"), features(model, dataset, "validation")
    fitted = fit_head(
        head,
        *(train.embedding, train.gate, train.labels),
        *(validation.embedding, validation.gate, validation.labels),
        dataset.generators,
    )
    outputs = network_outputs(model)
    expected = fitted.scores(outputs["embedding"], outputs["gate"], outputs["class_score"])
    assert_same([list(verdict.scores.values()) for verdict in verdicts], expected)
    assert [verdict.nearest for verdict in verdicts] == [dataset.generators[i] for i in expected.argmax(axis=1)]
    made = Bundle.load(bundle)
    assert made.manifest.head == head
    assert all(row.passes for row in made.variant("fp32").report.parity)


@pytest.mark.parametrize("space", ["whitened", "gated"])
def test_the_density_space_that_was_asked_for_is_what_decides(
    space: Any, model: TrainedModel, dataset: Dataset, bundle: Path, tmp_path: Path
) -> None:
    path = bundle
    if space == "gated":
        path = tmp_path / "bundle"
        export(model, dataset, path, density_space=space)
    outputs = network_outputs(model)
    expected = density_of(model, dataset, space=space).log_density(outputs["embedding"], outputs["gate"])
    assert_same([verdict.log_density for verdict in protoleak.load(path, engine="onnxruntime")(UNSEEN)], expected)
    assert Bundle.load(path).manifest.density.space == space


def test_the_density_is_contrasted_with_the_auxiliary_generators(
    model: TrainedModel, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index, kind in enumerate(("drawings", "paintings")):
        write_images(tmp_path / "auxiliary" / kind, kind, 5, first_seed=800 + 50 * index)
    (tmp_path / "auxiliary" / "paintings" / "empty.png").write_bytes(b"")
    result = export(model, dataset, tmp_path / "bundle", auxiliary=tmp_path / "auxiliary", contrast=0.3)
    paths = [path for kind in ("drawings", "paintings") for path in sorted((tmp_path / "auxiliary" / kind).iterdir())]
    others = network_features(model, paths, np.zeros(len(paths), np.int64), FRAMER, None)
    fitted = density_of(
        model, dataset, bandwidth=CONTRASTED_BANDWIDTH, auxiliary=(others.embedding, others.gate), contrast=0.3
    )
    outputs = network_outputs(model)
    expected = fitted.log_density(outputs["embedding"], outputs["gate"])
    assert_same(
        [verdict.log_density for verdict in protoleak.load(tmp_path / "bundle", engine="onnxruntime")(UNSEEN)], expected
    )
    manifest = Bundle.load(tmp_path / "bundle").manifest
    density = manifest.density
    assert (density.contrast, density.auxiliary_images, density.reference_images) == (0.3, 10, len(dataset.train))
    assert manifest.provenance["export"]["images"]["auxiliary"] == 10
    assert [line.split(": ")[:2] for line in result.skipped] == [["auxiliary", "paintings/empty.png"]]
    assert main(["inspect", str(tmp_path / "bundle"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["density"]["contrast"] == 0.3


@pytest.mark.parametrize(
    ("settings", "bandwidth"),
    [
        ({}, None),
        ({"bandwidth": 2.0}, 2.0),
        ({"auxiliary": Path("others")}, CONTRASTED_BANDWIDTH),
        ({"auxiliary": Path("others"), "contrast": 0.0}, None),
        ({"auxiliary": Path("others"), "bandwidth": 2.0}, 2.0),
    ],
    ids=str,
)
def test_the_bandwidth_is_fixed_where_it_is_given_or_contrasted(
    settings: dict[str, Any], bandwidth: float | None
) -> None:
    assert ExportSettings(name="small", **settings).density_bandwidth == bandwidth


def test_a_bundle_without_a_contrast_has_the_manifest_that_it_always_had(bundle: Path) -> None:
    density = json.loads((bundle / "manifest.json").read_text())["density"]
    assert set(density) == {"space", "bandwidth", "bandwidth_in_neighbour_distances", "reference_images"}


def test_the_calibration_is_that_of_the_images_kept_for_it(model: TrainedModel, dataset: Dataset, bundle: Path) -> None:
    calibration = Bundle.load(bundle).variant("fp32").calibration
    kept = features(model, dataset, "calibration")
    expected = np.sort(density_of(model, dataset).log_density(kept.embedding, kept.gate))
    assert len(calibration.overall) == len(dataset.calibration) == 36
    assert_same(list(calibration.overall), expected)
    assert sum(len(group) for group in calibration.per_generator) == 36


def test_the_report_counts_the_verdicts_of_the_screener(bundle: Path, dataset: Dataset) -> None:
    report = Bundle.load(bundle).variant("fp32").report
    screener = protoleak.load(bundle, alpha=0.05)
    faces = [verdict.label for verdict in screener(sorted((bundle.parent / "faces").iterdir()))]
    assert report.real_faces is not None
    assert report.real_faces.accused.of == 7
    assert report.real_faces.accused.count == faces.count("known")
    for name, count in (("drawings", 6), ("paintings", 5)):
        verdicts = [each.label for each in screener(sorted((bundle.parent / "unknown" / name).iterdir()))]
        assert report.unknown[name].rejected.of == count
        assert report.unknown[name].rejected.count == verdicts.count("unknown")
    test = [verdict.label for verdict in screener([sample.path for sample in dataset.test])]
    assert report.false_rejection is not None
    assert report.false_rejection.rejected.count + report.false_rejection.withheld.count == test.count("unknown")
    assert report.closed_set is not None
    assert report.closed_set.images == 12


def test_inspect_prints_real_faces_accused_first_and_parity_as_a_table(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(bundle)]) == 0
    text = capsys.readouterr().out
    assert text.index("Real faces accused") < text.index("False rejection at alpha") < text.index("Closed set")
    rows = [line.split() for line in text.splitlines()]
    assert ["output", "maximum", "mean", "relative", "passes"] in rows
    assert [row[0] for row in rows if len(row) == 5 and row[-1] == "yes"] == [
        *("z0", "z_t", "embedding", "gate", "timestep_weight", "prototype_distance", "class_score", "log_density")
    ]
    assert max(len(line) for line in text.splitlines()) <= 120 + len(str(bundle))
    assert main(["inspect", str(bundle), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["variants"]["fp32"]["report"]
    assert next(iter(report)) == "real_faces"
    assert len(report["parity"]) == 8
    assert set(report["calibration"]) == {"camera", "columns", "rows"}


def test_exporting_again_gives_the_same_graphs_calibration_and_report(
    model: TrainedModel, dataset: Dataset, bundle: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    export(model, dataset, again, unknown=bundle.parent / "unknown", photographs=bundle.parent / "faces")
    first, second = Bundle.load(bundle), Bundle.load(again)
    assert first.manifest.files == second.manifest.files  # hashes of every file but the manifest, which has the date


def test_a_zip_is_a_bundle_and_nothing_is_left_beside_it(model: TrainedModel, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(model, dataset, tmp_path / "out" / "small.zip")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.zip"]
    assert zipfile.is_zipfile(tmp_path / "out" / "small.zip")
    assert {verdict.label for verdict in protoleak.load(tmp_path / "out" / "small.zip")(UNSEEN)} <= {
        *("known", "real", "unknown")
    }


def test_unreadable_images_are_skipped_counted_and_named(model: TrainedModel, data_copy: Path, tmp_path: Path) -> None:
    bad = {"train": 0, "validation": 10, "calibration": 14, "test": 26}  # the first file of each split
    for index in bad.values():
        (data_copy / "rows" / f"{index:03d}.png").write_bytes(b"")
    write_images(tmp_path / "unknown" / "drawings", "drawings", 3)
    (tmp_path / "unknown" / "drawings" / "letter.png").write_text("a text file")
    write_images(tmp_path / "faces", "none", 3)
    (tmp_path / "faces" / "cut.png").write_bytes((tmp_path / "faces" / "000.png").read_bytes()[:300])
    result = export(
        model,
        read_dataset(data_copy, "camera"),
        tmp_path / "bundle",
        unknown=tmp_path / "unknown",
        photographs=tmp_path / "faces",
    )
    made = Bundle.load(tmp_path / "bundle").manifest.provenance["export"]
    assert made["images"] == {"train": 29, "validation": 11, "calibration": 35, "test": 11}
    assert made["skipped"] == list(result.skipped)
    assert [line.rsplit(": ", 1)[0] for line in made["skipped"][:4]] == [
        f"{name}: rows/{index:03d}.png" for name, index in bad.items()
    ]
    assert "empty" in made["skipped"][0]
    assert [line.split(": ")[:2] for line in made["skipped"][4:]] == [
        ["drawings", "letter.png"],
        ["real faces", "cut.png"],
    ]
    assert str(tmp_path) not in json.dumps(made["skipped"])
    assert result.report.real_faces is not None
    assert result.report.real_faces.accused.of == 3
    assert result.report.unknown["drawings"].rejected.of == 3


def test_an_alpha_too_small_for_the_calibration_images_is_refused_before_any_work_with_the_smallest(
    model: TrainedModel, dataset: Dataset, tmp_path: Path
) -> None:
    seen: list[str] = []
    settings = ExportSettings(name="small", alpha=0.01)
    with pytest.raises(
        CalibrationError, match=r"alpha 0.01 is too small for 36 .* smallest possible alpha is 0\.02703"
    ):
        export_bundle(model, dataset, tmp_path / "bundle", settings, lambda stage, *_: seen.append(stage))
    assert seen == []
    assert list(tmp_path.iterdir()) == []


def test_a_small_data_set_without_test_images_exports_at_an_alpha_that_it_allows(
    model: TrainedModel, tmp_path: Path
) -> None:
    data = write_data(tmp_path / "data", {"columns": "columns", "rows": "rows", "camera": "none"}, (3, 2, 3, 0))
    result = export(model, read_dataset(data, "camera"), tmp_path / "bundle", alpha=0.1)
    assert result.report.false_rejection is None
    assert result.report.closed_set is None
    assert result.report.calibration["rows"].n == 9
    assert Bundle.load(tmp_path / "bundle").manifest.alpha == 0.1
    [verdict] = protoleak.load(tmp_path / "bundle")(UNSEEN[0])
    assert (verdict.alpha, verdict.calibration.n) == (0.1, 9)
    with pytest.raises(CalibrationError, match="smallest possible alpha"):
        protoleak.load(tmp_path / "bundle", alpha=0.05)


@pytest.mark.parametrize(
    ("option", "make", "words"),
    [
        ("unknown", lambda path: path.mkdir(), "holds no image"),
        ("unknown", lambda path: (path / "empty").mkdir(parents=True), "empty holds no image"),
        ("unknown", lambda path: path.write_text("a file"), "is not a folder"),
        ("photographs", lambda path: path.mkdir(), "holds no image"),
        ("photographs", lambda path: path.write_text("a file"), "is not a folder"),
    ],
)
def test_a_folder_to_measure_on_that_holds_nothing_is_refused_before_any_work(
    option: str, make: Any, words: str, model: TrainedModel, dataset: Dataset, tmp_path: Path
) -> None:
    make(tmp_path / "others")
    seen: list[str] = []
    settings = ExportSettings(name="small", **{option: tmp_path / "others"})
    with pytest.raises(DatasetError, match=words):
        export_bundle(model, dataset, tmp_path / "bundle", settings, lambda stage, *_: seen.append(stage))
    assert seen == []


def test_margins_that_cannot_be_read_are_refused_before_any_work(
    model: TrainedModel, dataset: Dataset, tmp_path: Path
) -> None:
    margins = tmp_path / "left_out.npz"
    margins.write_text("none")
    seen: list[str] = []
    with pytest.raises(CalibrationError, match=r"left_out\.npz holds no margins"):
        export_bundle(
            model,
            dataset,
            tmp_path / "bundle",
            ExportSettings(name="small", left_out=margins),
            lambda stage, *_: seen.append(stage),
        )
    assert seen == []


def test_a_data_set_of_other_generators_is_refused_with_both_lists(
    model: TrainedModel, data_copy: Path, tmp_path: Path
) -> None:
    (data_copy / "rows").rename(data_copy / "lines")
    with pytest.raises(DatasetError, match=r"'rows'\].*'lines'\]"):
        export(model, read_dataset(data_copy, "camera"), tmp_path / "bundle")


def test_labels_follow_the_order_of_the_model_s_generators(dataset: Dataset) -> None:
    generators = ["rows", "camera", "columns"]
    ordered = in_order_of(generators, dataset)
    assert ordered.generators == tuple(generators)
    for before, after in ((getattr(dataset, name), getattr(ordered, name)) for name in ("train", "calibration")):
        assert [generators[sample.label] for sample in after] == [sample.path.parent.name for sample in before]


def test_a_class_of_one_image_is_refused_by_name(data_copy: Path) -> None:
    for path in sorted((data_copy / "rows").iterdir())[1:]:
        path.unlink()
    with pytest.raises(DatasetError, match="the class 'rows' has one image"):
        read_dataset(data_copy, "camera")


def test_a_class_without_a_readable_training_image_is_refused_by_name(
    model: TrainedModel, data_copy: Path, tmp_path: Path
) -> None:
    for index in range(10):
        (data_copy / "rows" / f"{index:03d}.png").write_bytes(b"")
    with pytest.raises(CalibrationError, match="rows has 0"):
        export(model, read_dataset(data_copy, "camera"), tmp_path / "bundle")


def test_calibration_images_that_cannot_be_read_leave_too_few_for_alpha(
    model: TrainedModel, data_copy: Path, tmp_path: Path
) -> None:
    for name in ("rows", "columns"):
        for index in range(14, 26):
            (data_copy / name / f"{index:03d}.png").write_bytes(b"")
    with pytest.raises(CalibrationError, match="too small for 12 calibration images"):
        export(model, read_dataset(data_copy, "camera"), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
