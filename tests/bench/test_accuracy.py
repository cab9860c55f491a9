"""Verdicts against labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from protoleak.bench.accuracy import Answer, judge
from protoleak.bench.inputs import Kind, Labelled, drawn_images, labelled_images
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import Manifest
from protoleak.errors import DatasetError
from tests.bench.conftest import PER_FOLDER

NAME = ("onnxruntime", "fp32", "variant")


@pytest.fixture
def manifest(tiny_bundle: Path) -> Manifest:
    return Bundle.load(tiny_bundle).manifest


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


def test_an_accused_real_face_is_counted_and_a_generator_under_another_name_is_wrong() -> None:
    judged = make_images(
        ("camera", "faces"), ("camera", "faces"), ("generator", "dawn"), ("generator", "dawn"), ("other", "stranger")
    )
    given: list[Answer | None] = [("known", "dawn"), ("real", None), ("known", "moss"), ("known", "dawn"), None]
    found = judge(NAME, judged, given, "camera")
    assert found.camera is not None
    assert (found.camera.known, found.camera.real, found.camera.right) == (1, 1, 1)
    assert found.generators is not None
    assert (found.generators.known, found.generators.right) == (2, 1)
    assert found.others is None
    assert found.unreadable == 1
    assert found.agreement == 0.5


def test_without_a_camera_class_unknown_is_the_right_verdict_on_a_real_face() -> None:
    found = judge(NAME, make_images(("camera", "faces")), [("unknown", None)], None)
    assert found.agreement == 1


def test_another_name_for_the_same_image_is_a_verdict_that_differs() -> None:
    judged = make_images(("generator", "dawn"), ("generator", "dawn"))
    reference: list[Answer | None] = [("known", "dawn"), ("known", "dawn")]
    found = judge(NAME, judged, [("known", "dawn"), ("known", "moss")], None, ("first", reference))
    assert (found.reference, found.same_as_reference) == ("first", 0.5)


def test_drawn_images_are_the_same_every_time() -> None:
    assert drawn_images(2) == drawn_images(2)
    assert len(set(drawn_images(2))) == 2
