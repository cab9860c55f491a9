import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protoleak.dataset import Sample, _split_by_name, list_images, read_dataset
from protoleak.errors import DatasetError


def _make(root: Path, **classes: int | list[str]) -> Path:
    """Empty files are enough: nothing opens them."""
    for name, images in classes.items():
        listed = [f"{index:03}.png" for index in range(images)] if isinstance(images, int) else images
        for file in listed:
            target = root / name / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        (root / name).mkdir(parents=True, exist_ok=True)
    return root


def _split(root: Path, content: object) -> Path:
    (root / "Split.json").write_text(json.dumps(content))
    return root


def _names(samples: tuple[Sample, ...], label: int = 0) -> list[str]:
    return [sample.name for sample in samples if sample.label == label]


def test_generators_are_the_sorted_folder_names_and_labels_index_them(tmp_path: Path) -> None:
    data = read_dataset(_make(tmp_path, sdxl=4, dcgan=4, camera=4), real_class="camera")
    assert data.generators == ("camera", "dcgan", "sdxl")
    assert data.real_class == "camera"
    assert all(sample.path.parent.name == data.generators[sample.label] for sample in data.train)
    assert all(sample.path.is_file() for sample in data.train + data.validation + data.calibration + data.test)


def test_without_a_split_file_it_is_70_15_15_by_name_with_validation_dealt_in_turn(tmp_path: Path) -> None:
    data = read_dataset(_make(tmp_path, a=20, b=20))
    assert _names(data.train) == [f"{index:03}.png" for index in range(14)]
    assert _names(data.validation) == ["014.png", "016.png"]
    assert _names(data.calibration) == ["015.png"]
    assert _names(data.test) == ["017.png", "018.png", "019.png"]


@given(st.integers(2, 2000))
def test_the_split_by_name_covers_every_image_once_and_leaves_one_to_test_from_three_on(count: int) -> None:
    splits = _split_by_name(count)
    assert sorted(index for indices in splits.values() for index in indices) == list(range(count))
    assert len(splits["train"]) >= 1
    assert len(splits["validation"]) >= 1
    assert count == 2 or len(splits["test"]) >= 1
    if count >= 6:  # below, the published rounding leaves no test image
        assert len(splits["train"]) == round(0.7 * count)


def test_indices_apply_to_every_class_in_lower_cased_name_order(tmp_path: Path) -> None:
    _make(tmp_path, a=["B.png", "a.png", "C.jpg", "d.png"], b=["4.png", "3.png", "2.png", "1.png"])
    data = read_dataset(_split(tmp_path, {"train": [0, 2], "val": [1], "test": [3]}))
    assert _names(data.train) == ["a.png", "C.jpg"]
    assert _names(data.validation) == ["B.png"]
    assert _names(data.test) == ["d.png"]
    assert _names(data.train, label=1) == ["1.png", "3.png"]


def test_file_names_per_class_may_be_bare_or_paths(tmp_path: Path) -> None:
    _make(tmp_path, a=["x/1.png", "x/2.png", "3.png"], b=3)
    split = {
        "training": {"a": ["x/1.png"], "b": ["000.png"]},
        "valid": {"a": ["2.png"], "b": ["001.png"]},
        "testing": {"a": ["a/3.png"], "b": ["002.png"]},
    }
    data = read_dataset(_split(tmp_path, split))
    assert (_names(data.train), _names(data.validation), _names(data.test)) == (["x/1.png"], ["x/2.png"], ["3.png"])


def test_a_calibration_split_of_its_own_leaves_validation_whole(tmp_path: Path) -> None:
    data = read_dataset(_split(_make(tmp_path, a=6, b=6), {"train": [0, 1], "val": [2, 3], "calibration": [4, 5]}))
    assert _names(data.validation) == ["002.png", "003.png"]
    assert _names(data.calibration) == ["004.png", "005.png"]
    assert data.test == ()


def test_hidden_files_and_other_kinds_are_ignored(tmp_path: Path) -> None:
    _make(tmp_path, a=["1.png", "2.JPG", ".3.png", ".cache/4.png", "notes.txt"], b=2)
    (tmp_path / ".git").mkdir()
    data = read_dataset(tmp_path)
    assert _names(data.train + data.validation + data.calibration + data.test) == ["1.png", "2.JPG"]


@pytest.mark.parametrize(
    ("split", "reason"),
    [
        ({"train": [0, 9], "val": [1]}, "index 9, but the class 'a' has 4 images"),
        ({"train": [0, -1], "val": [1]}, "index -1"),
        ({"train": [0, "1"], "val": [1]}, "holds '1', which is no index"),
        ({"train": [0, True], "val": [1]}, "holds True, which is no index"),
        ({"train": [0, 1], "val": [1]}, "'001.png' of the class 'a' in both train and validation"),
        ({"train": [0, 0], "val": [1]}, "twice in train"),
        ({"train": [0], "val": [1], "validation": [2]}, "both 'val' and 'validation'"),
        ({"train": [0]}, "no 'val'"),
        ({"val": [0]}, "no 'train'"),
        ({"train": {"a": ["000.png"], "c": ["1.png"]}, "val": [1]}, "the class 'c', which is no folder"),
        ({"train": {"a": ["000.png"]}, "val": [1]}, "class 'b' no image for train"),
        ({"train": {"a": ["missing.png"]}, "val": [1]}, "names 'missing.png' in the class 'a'"),
        ({"train": {"a": "000.png"}, "val": [1]}, "give a list of file names"),
        ({"train": 3, "val": [1]}, "neither a list of indices"),
        ([1, 2], "cannot be read"),
    ],
)
def test_a_split_file_that_contradicts_the_files_is_refused(tmp_path: Path, split: object, reason: str) -> None:
    with pytest.raises(DatasetError, match=r"Split\.json") as error:
        read_dataset(_split(_make(tmp_path, a=4, b=4), split))
    assert reason in str(error.value)


def test_a_bare_name_that_two_folders_hold_is_ambiguous(tmp_path: Path) -> None:
    _make(tmp_path, a=["x/1.png", "y/1.png"], b=2)
    with pytest.raises(DatasetError, match="ambiguous"):
        read_dataset(_split(tmp_path, {"train": {"a": ["1.png"], "b": ["000.png"]}, "val": [1]}))


def test_a_split_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (_make(tmp_path, a=2, b=2) / "Split.json").write_text("{")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_dataset(tmp_path)


def test_too_few_classes_or_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not a folder"):
        read_dataset(tmp_path / "absent")
    with pytest.raises(DatasetError, match="at least two classes"):
        read_dataset(tmp_path)
    with pytest.raises(DatasetError, match="only the folder 'a'"):
        read_dataset(_make(tmp_path, a=3))
    with pytest.raises(DatasetError, match="class 'b' has one image"):
        read_dataset(_make(tmp_path, b=1))
    with pytest.raises(DatasetError, match="class 'A' has no image"):
        read_dataset(_make(tmp_path, A=0))


def test_a_real_class_that_is_no_folder_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'cameras' is no folder of .*: choose one of a, camera"):
        read_dataset(_make(tmp_path, a=3, camera=3), real_class="cameras")


def test_images_are_listed_at_any_depth_in_name_order(tmp_path: Path) -> None:
    _make(tmp_path, z=["b.png", "A.webp", "c/d.bmp"])
    assert [path.name for path in list_images(tmp_path)] == ["A.webp", "b.png", "d.bmp"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no image"):
        list_images(tmp_path / "empty")
    with pytest.raises(DatasetError, match="not a folder"):
        list_images(tmp_path / "z" / "b.png")
