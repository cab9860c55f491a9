"""An image serves one split of one class."""

from __future__ import annotations

from pathlib import Path

import pytest

from protoleak.dataset import read_dataset
from protoleak.dataset_copies import refuse_copies
from protoleak.errors import DatasetError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of ten files each, all of one size and all different; the splits go by name."""
    for name in ("moss", "dawn"):
        (tmp_path / name).mkdir()
        for index in range(10):
            (tmp_path / name / f"{index}.png").write_text(f"{name} {index}")
    return tmp_path


def test_different_images_of_one_size_are_let_through(folder: Path) -> None:
    refuse_copies(read_dataset(folder), {"negatives": ()})


def test_a_copy_in_the_same_class_and_split_is_let_through(folder: Path) -> None:
    (folder / "moss" / "1.png").write_bytes((folder / "moss" / "0.png").read_bytes())
    refuse_copies(read_dataset(folder))


@pytest.mark.parametrize(("copy", "of"), [("moss/9.png", "moss/0.png"), ("moss/0.png", "dawn/0.png")])
def test_a_copy_in_another_split_or_class_is_refused_by_name(folder: Path, copy: str, of: str) -> None:
    (folder / copy).write_bytes((folder / of).read_bytes())
    with pytest.raises(DatasetError, match="1 image is a copy") as refused:
        refuse_copies(read_dataset(folder))
    assert copy in str(refused.value)
    assert of in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_copy_among_images_of_no_class_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    negative = tmp_path_factory.mktemp("negatives") / "n.png"
    negative.write_bytes((folder / "moss" / "3.png").read_bytes())
    with pytest.raises(DatasetError, match=r"moss/3\.png"):
        refuse_copies(read_dataset(folder), {"negatives": (negative,)})
