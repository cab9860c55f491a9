"""Which images are taken, and what they were made from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import Manifest
from protoleak.errors import DatasetError
from protoleak.evaluation.images import Images, read_images
from protoleak.evaluation.settings import EvaluationSettings
from tests.evaluation.conftest import PHOTOGRAPHS, TESTED
from tests.tiny_bundle import GENERATORS


@pytest.fixture(scope="module")
def manifest(tiny_bundle: Path) -> Manifest:
    return Bundle.load(tiny_bundle).manifest


@pytest.fixture
def copy(known: Path, tmp_path: Path) -> Path:
    """The known data set, to be changed."""
    return Path(shutil.copytree(known, tmp_path / "known"))


def of(images: Images, kind: str, folder: str) -> list[str]:
    return [image.source for image in images.all if (image.kind, image.folder) == (kind, folder)]


def test_the_test_split_is_taken_where_there_is_one(manifest: Manifest, known: Path) -> None:
    images = read_images(manifest, EvaluationSettings(known))
    for label, name in enumerate(GENERATORS):
        assert of(images, "known", name) == [f"{number:03d}" for number in TESTED]
        assert {image.label for image in images.all if image.folder == name} == {label}
    assert "the test split of known (Split.json)" in images.facts[0]


def test_every_image_is_taken_where_there_is_no_split_or_when_asked_for(
    manifest: Manifest, known: Path, copy: Path
) -> None:
    (copy / "Split.json").unlink()
    without = read_images(manifest, EvaluationSettings(copy))
    assert len(without.all) == 10 * len(GENERATORS)
    assert "doesn't look like the data that the bundle was trained on" in without.facts[0]
    assert len(read_images(manifest, EvaluationSettings(known, split="all")).all) == 10 * len(GENERATORS)


@pytest.mark.parametrize(
    "record",
    [{"data": "known"}, {"data": "elsewhere", "images": {"train": dict.fromkeys(GENERATORS, 7)}}],
    ids=["by name", "by counts"],
)
def test_of_the_folder_that_the_bundle_was_trained_on_only_the_test_split_is_taken(
    manifest: Manifest, copy: Path, record: dict[str, object]
) -> None:
    (copy / "Split.json").unlink()
    trained = msgspec.structs.replace(manifest, provenance={"model": record})
    images = read_images(trained, EvaluationSettings(copy))
    assert of(images, "known", "dawn") == ["008", "009"]  # 70/15/15 in name order, as train and export divide it
    assert "name order, 70/15/15" in images.facts[0]


def test_a_class_without_a_folder_is_no_error(manifest: Manifest, copy: Path) -> None:
    shutil.rmtree(copy / "moss")
    assert of(read_images(manifest, EvaluationSettings(copy)), "known", "moss") == []


def test_unknown_images_whose_content_training_saw_are_left_out_where_names_are_shared(
    manifest: Manifest, known: Path, unknown: Path
) -> None:
    images = read_images(manifest, EvaluationSettings(known, unknown))
    assert of(images, "unknown", "stranger") == ["004", "005", "006", "007"]  # 002 and 003 are in validation
    assert of(images, "unknown", "loner") == ["100", "101", "102"]
    assert any("left out: 2 images" in fact for fact in images.facts)


def test_without_a_split_no_unknown_image_is_left_out(manifest: Manifest, known: Path, unknown: Path) -> None:
    images = read_images(manifest, EvaluationSettings(known, unknown, split="all"))
    assert len(of(images, "unknown", "stranger")) == 6


def test_unknown_images_without_folders_are_one_generator(manifest: Manifest, known: Path, unknown: Path) -> None:
    images = read_images(manifest, EvaluationSettings(known, unknown / "loner"))
    assert images.unknown_generators == ["loner"]


def test_equal_names_are_one_source_but_never_with_a_real_photograph(
    manifest: Manifest, known: Path, unknown: Path, real: Path
) -> None:
    images = read_images(manifest, EvaluationSettings(known, unknown, real))
    made = {image.source for image in images.all if image.kind != "real"}
    photographs = {image.source for image in images.all if image.kind == "real"}
    assert len(made) == len(TESTED) + 3
    assert len(photographs) == len(PHOTOGRAPHS)
    assert not made & photographs


def test_names_that_are_in_another_split_too_are_pointed_out(manifest: Manifest, copy: Path) -> None:
    names = {name: ["004.png", "005.png"] for name in GENERATORS}
    parts = {
        "train": names,
        "val": {name: ["006.png"] for name in GENERATORS},
        "test": {name: ["007.png"] for name in GENERATORS},
    }
    parts["test"]["dawn"] = ["008.png"]
    parts["train"]["dawn"] = ["007.png"]
    (copy / "Split.json").write_text(json.dumps(parts))
    facts = read_images(manifest, EvaluationSettings(copy)).facts
    assert any(fact.startswith("2 of 3 test images have the name of an image in another split") for fact in facts)


def test_a_test_image_that_is_a_copy_of_a_training_image_is_refused(manifest: Manifest, copy: Path) -> None:
    shutil.copy(copy / "dawn" / "000.png", copy / "dawn" / "007.png")
    with pytest.raises(DatasetError, match=r"1 test images of .* are copies .* the first is dawn/007\.png"):
        read_images(manifest, EvaluationSettings(copy))


def test_folders_that_do_not_fit_the_bundle_are_refused(
    manifest: Manifest, known: Path, copy: Path, unknown: Path
) -> None:
    shutil.copytree(unknown / "loner", copy / "loner")
    with pytest.raises(DatasetError, match="holds loner, and the bundle knows dawn, moss, camera"):
        read_images(manifest, EvaluationSettings(copy))
    with pytest.raises(DatasetError, match="which the bundle knows: move it to --data"):
        read_images(manifest, EvaluationSettings(known, copy))


def test_a_folder_without_images_is_refused(manifest: Manifest, known: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for settings in (EvaluationSettings(tmp_path / "empty"), EvaluationSettings(tmp_path / "nowhere")):
        with pytest.raises(DatasetError, match=r"no folder|not a folder"):
            read_images(manifest, settings)
    with pytest.raises(DatasetError, match="holds no image"):
        read_images(manifest, EvaluationSettings(known, photographs=tmp_path / "empty"))
