"""Verdicts against labels."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import msgspec
import pytest

from protoleak.bench.accuracy import Reference, attributions, judge
from protoleak.bench.inputs import Kind, Labelled, drawn_images, labelled_images
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import Manifest
from protoleak.errors import DatasetError
from protoleak.runtime.engines.base import EngineDescription
from protoleak.runtime.verdict import BundleRecord, CalibrationGroup, InputRecord, Label, NearestPrototype, Verdict, Why
from tests.bench.conftest import PER_FOLDER

NAME = ("onnxruntime", "fp32", "exact")


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.load(tiny_bundle)


@pytest.fixture
def manifest(bundle: Bundle) -> Manifest:
    return bundle.manifest


def make_images(*kinds: tuple[Kind, str]) -> list[Labelled]:
    return [Labelled(Path(f"{index}.png"), kind, folder) for index, (kind, folder) in enumerate(kinds)]


def test_folders_are_the_bundle_s_generators_its_camera_or_strangers(labelled: Path, manifest: Manifest) -> None:
    found = {one.folder: one.kind for one in labelled_images(labelled, manifest, real_class="phones")}
    assert found == {
        "dawn": "generator",
        "moss": "generator",
        "camera": "camera",
        "phones": "camera",
        "stranger": "other",
    }


def test_of_a_data_set_with_splits_only_the_test_split_is_judged(
    labelled: Path, manifest: Manifest, tmp_path: Path
) -> None:
    for name in ("dawn", "moss"):
        (tmp_path / name).symlink_to(labelled / name)
    (tmp_path / "Split.json").write_text(json.dumps({"train": [0], "val": [1], "test": [3]}))
    assert [one.path.name for one in labelled_images(tmp_path, manifest)] == ["3.png", "3.png"]
    assert len(labelled_images(labelled, manifest)) == 5 * PER_FOLDER


def test_a_camera_folder_that_is_not_there_is_an_error(labelled: Path, manifest: Manifest) -> None:
    with pytest.raises(DatasetError, match="lenses"):
        labelled_images(labelled, manifest, real_class="lenses")


def test_a_folder_without_folders_of_images_is_an_error(tmp_path: Path, manifest: Manifest) -> None:
    with pytest.raises(DatasetError, match="folder per generator"):
        labelled_images(tmp_path, manifest)


def verdict(bundle: Bundle, label: Label, nearest: str) -> Verdict:
    """Of an image that scores highest for the class `nearest`."""
    scores = {name: float(name == nearest) for name in bundle.manifest.generators}
    prototype = NearestPrototype(nearest, 0, 0.0)
    return Verdict(
        source=None, label=label, generator=nearest if label == "known" else None, nearest=nearest, p_value=0.5,
        real_p_value=None, accusation_level=None, generated_p_value=None, acquittal_level=None, alpha=0.05,
        calibration=CalibrationGroup("overall", 180),
        log_density=0.0, scores=scores, probabilities=None, why=Why(prototype, prototype, {}, {}, [], []), notes=[],
        lacking=None,
        input=InputRecord("", "file", 0, 1, 1), bundle=BundleRecord("tiny", "", "fp32"),
        engine=EngineDescription("onnxruntime", "1", "CPU", {}), milliseconds={},
    )  # fmt: skip


def without_real_class(bundle: Bundle) -> Bundle:
    changed = copy.copy(bundle)
    changed.manifest = msgspec.structs.replace(bundle.manifest, real_class=None)
    return changed


def test_an_accused_real_face_is_counted_and_a_generator_under_another_name_is_wrong(bundle: Bundle) -> None:
    judged = make_images(
        ("camera", "phones"), ("camera", "phones"), ("generator", "dawn"), ("generator", "dawn"), ("other", "stranger")
    )
    verdicts = [
        verdict(bundle, "known", "dawn"), verdict(bundle, "real", "camera"), verdict(bundle, "known", "moss"),
        verdict(bundle, "known", "dawn"), None,
    ]  # fmt: skip
    found = judge(NAME, judged, verdicts, bundle)
    assert found.real_faces is not None
    assert found.real_faces.verdicts == {"known": 1, "real": 1, "unknown": 0}
    assert (found.real_faces.accused.count, found.real_faces.accused_of) == (1, {"dawn": 1})
    assert found.known_right is not None
    assert (found.known_right.count, found.known_right.of) == (1, 2)
    assert found.unknown == {}
    assert found.unreadable == 1
    assert found.right is not None
    assert found.right.share == 0.5


def test_camera_originals_of_the_bundle_s_own_class_are_counted_apart_from_other_photographs(bundle: Bundle) -> None:
    judged = make_images(("camera", "camera"), ("camera", "camera"), ("camera", "phones"))
    verdicts = [verdict(bundle, "real", "camera"), verdict(bundle, "known", "moss"), verdict(bundle, "real", "camera")]
    found = judge(NAME, judged, verdicts, bundle)
    assert found.real_class is not None
    assert (found.real_class.count, found.real_class.of) == (1, 2)
    assert found.real_faces is not None
    assert (found.real_faces.accused.count, found.real_faces.accused.of) == (0, 1)


def test_without_a_real_class_unknown_is_the_right_verdict_on_a_real_face(bundle: Bundle) -> None:
    images = make_images(("camera", "faces"))
    found = judge(NAME, images, [verdict(bundle, "unknown", "dawn")], without_real_class(bundle))
    assert found.right is not None
    assert found.right.share == 1


def test_another_name_for_the_same_image_is_a_verdict_that_differs(bundle: Bundle) -> None:
    judged = make_images(("generator", "dawn"), ("generator", "dawn"))
    dawn, moss = verdict(bundle, "known", "dawn"), verdict(bundle, "known", "moss")
    found = judge(NAME, judged, [dawn, moss], bundle, Reference("first", attributions([dawn, dawn])))
    assert (found.reference, found.same_as_reference) == ("first", 0.5)


def test_of_images_without_a_verdict_nothing_is_measured(bundle: Bundle) -> None:
    found = judge(NAME, make_images(("generator", "dawn")), [None], bundle)
    assert (found.unreadable, found.right, found.closed_set) == (1, None, None)


def test_drawn_images_are_the_same_every_time() -> None:
    assert drawn_images(2) == drawn_images(2)
    assert len(set(drawn_images(2))) == 2
