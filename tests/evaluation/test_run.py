"""A whole evaluation of the small bundle on images of its kinds."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

import protoleak
from protoleak.bundle.bundle import Bundle
from protoleak.errors import BundleError, CalibrationError, ProtoleakError
from protoleak.evaluation.results import Report, VariantReport
from protoleak.evaluation.run import evaluate_bundle
from protoleak.evaluation.settings import EvaluationSettings
from protoleak.metrics.measures import ALL_UNKNOWN
from tests.evaluation.conftest import PHOTOGRAPHS, TESTED
from tests.tiny_bundle import GENERATORS


@pytest.fixture(scope="module")
def variant(report: Report) -> VariantReport:
    assert report.variants[0].error is None
    return report.variants[0]


def test_real_faces_accused_stand_first_and_are_those_that_screening_accuses(
    report: Report, variant: VariantReport, tiny_bundle: Path, real: Path
) -> None:
    assert next(iter(msgspec.to_builtins(report))) == "real_faces_accused"
    faces = variant.real_faces
    assert faces is not None
    assert report.real_faces_accused == {"fp32": faces.accused}
    screener = protoleak.load(tiny_bundle, engine="onnxruntime", threads=1)
    verdicts = [verdict.label for verdict in screener(sorted(real.iterdir()))]
    assert faces.verdicts == {name: verdicts.count(name) for name in ("known", "real", "unknown")}
    assert (faces.accused.count, faces.accused.of) == (verdicts.count("known"), len(PHOTOGRAPHS))
    assert sum(faces.accused_of.values()) == faces.accused.count


def test_the_closed_set_is_that_of_the_verdicts_scores(variant: VariantReport, tiny_bundle: Path, known: Path) -> None:
    from protoleak.metrics import scores as metrics

    screener = protoleak.load(tiny_bundle, engine="onnxruntime", threads=1)
    paths = [known / name / f"{number:03d}.png" for name in GENERATORS for number in TESTED]
    scores = np.array([[verdict.scores[name] for name in GENERATORS] for verdict in screener(paths)])
    labels = np.repeat(np.arange(len(GENERATORS)), len(TESTED))
    closed = variant.closed_set
    assert closed is not None
    assert closed.images == len(labels)
    assert closed.macro_auc_raw.value == pytest.approx(metrics.macro_auc(labels, scores))
    assert closed.macro_auc_softmax.value == pytest.approx(metrics.macro_auc_softmax(labels, scores))
    right = scores.argmax(axis=1) == labels
    assert closed.accuracy.value == pytest.approx(right.mean())
    assert closed.balanced_accuracy.value == pytest.approx(
        np.mean([right[labels == label].mean() for label in set(labels)])
    )
    raw = [closed.per_generator[name].auc_raw.value for name in GENERATORS]
    assert raw == pytest.approx(metrics.auc_per_generator(labels, scores).tolist())


def test_every_unknown_generator_has_its_row_and_all_of_them_together_the_last(variant: VariantReport) -> None:
    assert list(variant.unknown) == ["loner", "stranger", ALL_UNKNOWN]
    together = variant.unknown[ALL_UNKNOWN]
    parts = [variant.unknown[name] for name in ("loner", "stranger")]
    assert together.rejected.count == sum(part.rejected.count for part in parts)
    assert together.rejected.of == sum(part.rejected.of for part in parts) == 7
    assert together.rejected.count + sum(together.taken_for.values()) == 7
    assert together.open_set is not None
    assert (together.open_set.known, together.open_set.others) == (len(GENERATORS) * len(TESTED), 7)
    # A colour that the bundle has never seen lies far from all that it has.
    assert together.open_set.auroc.value == 1.0


def test_real_photographs_are_compared_apart_and_by_both_scores(variant: VariantReport) -> None:
    assert [one.score for one in variant.real_open_set] == ["log density", "calibrated probability of all generators"]
    assert {one.known for one in variant.real_open_set} == {2 * len(TESTED)}  # without the camera class


def test_false_rejection_stands_beside_its_promise(variant: VariantReport, report: Report) -> None:
    rejection = variant.false_rejection
    assert rejection is not None
    assert rejection.promised_on_average == report.alpha
    assert rejection.promised_on_average < rejection.bound_95
    assert rejection.rejected.count == sum(part.count for part in rejection.per_generator.values())
    # An image is rejected or withheld, not both: together they are what is called unknown.
    assert variant.confusion is not None
    unknown = sum(row[-1] for name, row in variant.confusion.rows.items() if name in GENERATORS)
    assert rejection.rejected.count + rejection.withheld.count == unknown
    assert rejection.within_bound == (rejection.rejected.count <= rejection.bound_95 * rejection.rejected.of)


def test_the_confusion_matrix_counts_every_image_once(variant: VariantReport) -> None:
    assert variant.confusion is not None
    assert variant.confusion.columns == [*GENERATORS, "unknown"]
    counts = {name: sum(row) for name, row in variant.confusion.rows.items()}
    assert counts == {
        **dict.fromkeys(GENERATORS, len(TESTED)), "loner (unknown)": 3, "stranger (unknown)": 4, "real photographs": 5,
    }  # fmt: skip
    assert variant.densities is not None
    for shares in variant.densities.shares.values():
        assert sum(shares) == pytest.approx(1.0)


def test_probabilities_have_their_calibration_error(variant: VariantReport) -> None:
    found = variant.probabilities
    assert found is not None
    assert found.ece.value is not None
    gaps = [one.images * abs(one.accuracy - one.confidence) for one in found.bins]
    assert found.ece.value == pytest.approx(sum(gaps) / sum(one.images for one in found.bins))
    assert found.brier.value is not None
    assert 0 <= found.brier.value <= 2


def test_each_operator_has_five_rows_and_chains_three(variant: VariantReport) -> None:
    robustness = variant.robustness
    assert robustness is not None
    names = [(row.operator, row.severity) for row in robustness.rows]
    expected = [("none", 0), *[(name, level) for name in ("jpeg", "crop") for level in range(1, 6)]]
    assert names == [*expected, ("chain", 1), ("chain", 2), ("chain", 3)]
    for row in robustness.rows:
        assert row.right.count + row.rejected.count + row.wrong.count == row.right.of == 3 * len(GENERATORS)
        assert row.real_accused is not None
        assert row.real_accused.of == 3
        assert row.failed == 0
    aucs = [robustness.macro_auc_per_operator[name] for name in ("jpeg", "crop")]
    assert robustness.macro_auc == pytest.approx(np.mean([auc for auc in aucs if auc is not None]))


def test_the_same_seed_gives_the_same_report(
    report: Report, tiny_bundle: Path, known: Path, unknown: Path, real: Path
) -> None:
    settings = EvaluationSettings(
        known, unknown, real, engine="onnxruntime", threads=1, operators=("crop",), images_per_class=3, resamples=200,
        batch_size=5,
    )  # fmt: skip
    again = evaluate_bundle(Bundle.load(tiny_bundle), settings).variants[0]
    before = report.variants[0]
    assert again.closed_set == before.closed_set
    assert again.unknown == before.unknown
    assert again.robustness is not None
    assert before.robustness is not None
    crops = [row for row in before.robustness.rows if row.operator == "crop"]
    assert [row for row in again.robustness.rows if row.operator == "crop"] == crops


def test_a_class_without_an_image_is_a_row_that_says_so_and_its_mean_is_left_empty(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    from tests.evaluation.conftest import write

    for kind, name in enumerate(GENERATORS[:2]):
        write(tmp_path / name, kind, range(4))
    report = evaluate_bundle(
        Bundle.load(tiny_bundle),
        EvaluationSettings(tmp_path, engine="onnxruntime", threads=1, operators=(), resamples=50),
    )
    closed = report.variants[0].closed_set
    assert closed is not None
    assert (closed.macro_auc_softmax.value, closed.macro_auc_softmax.missing) == (None, "no image of camera")
    assert closed.per_generator["camera"].auc_softmax.missing == "no image of it"
    assert closed.per_generator["camera"].recall.of == 0
    assert closed.accuracy.value is not None
    assert any("no image of camera" in note for note in report.notes)
    assert "NaN" not in msgspec.json.encode(report).decode()
    assert report.real_faces_accused == {"fp32": None}
    assert "was not measured" in report.notes[0]


def test_files_that_are_no_images_are_listed_and_counted_in_every_row(
    tiny_bundle: Path, known: Path, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    Image.new("RGB", (64, 64)).save(tmp_path / "real" / "whole.png")
    settings = EvaluationSettings(
        known, photographs=tmp_path / "real", engine="onnxruntime", threads=1, operators=("blur",), images_per_class=2,
        resamples=20,
    )  # fmt: skip
    variant = evaluate_bundle(Bundle.load(tiny_bundle), settings).variants[0]
    assert len(variant.unreadable) == 1
    assert variant.unreadable[0].startswith("real photographs/broken.jpg: ")
    assert variant.real_faces is not None
    assert variant.real_faces.accused.of == 1
    assert variant.robustness is not None
    assert {row.failed for row in variant.robustness.rows} == {1}
    assert all("broken.jpg" in (row.error or "") for row in variant.robustness.rows)


def test_a_variant_that_cannot_be_measured_is_an_error_in_its_place(
    tiny_files: tuple, known: Path, tmp_path: Path
) -> None:
    from protoleak.bundle.writer import write_bundle

    manifest, files = tiny_files
    twice = {name.replace("fp32", "fp16"): data for name, data in files.items() if name.startswith("variants/")}
    few = io.BytesIO()
    with np.load(io.BytesIO(twice["variants/fp16/calibration.npz"])) as calibration:
        np.savez(
            few,
            **{name: calibration[name][:2] if calibration[name].ndim else calibration[name] for name in calibration},
        )
    twice["variants/fp16/calibration.npz"] = few.getvalue()
    write_bundle(tmp_path / "bundle", msgspec.structs.replace(manifest, variants=["fp16", "fp32"]), {**files, **twice})
    settings = EvaluationSettings(known, engine="onnxruntime", threads=1, operators=(), resamples=20)
    report = evaluate_bundle(Bundle.load(tmp_path / "bundle"), settings)
    broken, whole = report.variants
    assert broken.error is not None
    assert broken.closed_set is None
    assert whole.error is None
    assert whole.closed_set is not None


def test_what_cannot_be_asked_for_is_refused_before_anything_runs(tiny_bundle: Path, known: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    with pytest.raises(BundleError, match="no variant 'int3'"):
        evaluate_bundle(bundle, EvaluationSettings(known, variants=("int3",)))
    with pytest.raises(CalibrationError, match="alpha 1"):
        evaluate_bundle(bundle, EvaluationSettings(known, alpha=1.0))
    for changes in ({"operators": ("sharpen",)}, {"split": "half"}, {"images_per_class": 0}, {"resamples": -1}):
        with pytest.raises(ProtoleakError):
            EvaluationSettings(known, **changes)  # type: ignore[arg-type]  # each is of its field's type but one


def test_it_needs_neither_pytorch_nor_scikit_learn() -> None:
    program = (
        "import sys\n"
        "for name in ('torch', 'sklearn', 'scipy', 'onnx', 'diffusers'): sys.modules[name] = None\n"
        "import protoleak.evaluation, protoleak.evaluation.page\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
