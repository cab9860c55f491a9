"""How images are stored, and whether that is found out when it tells."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from protoleak.errors import DatasetError
from zoo.files import FILE_LENGTH, levelled, write_image
from zoo.format_check import check_format

pytest.importorskip("sklearn", reason="scikit-learn classifies formats")


def make_image(seed: int) -> npt.NDArray[np.uint8]:
    """Smooth or detailed, by seed, so that what it compresses to differs."""
    small = np.random.default_rng(seed).integers(0, 256, (8 + 8 * seed, 8 + 8 * seed, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((256, 256)))


def jpeg(quality: int, subsampling: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(make_image(2)).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()


def two_classes(folder: Path) -> dict[str, list[Path]]:
    classes: dict[str, list[Path]] = {"first": [], "second": []}
    for name, paths in classes.items():
        for seed in range(6):
            paths.append(folder / name / f"{seed}.jpg")
            write_image(make_image(seed), paths[-1])
    return classes


def test_files_of_images_that_compress_differently_have_one_length(tmp_path: Path) -> None:
    for seed in (0, 5):
        write_image(make_image(seed), tmp_path / f"{seed}.jpg")
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {FILE_LENGTH}


def test_levelling_leaves_the_pixels_as_they_were() -> None:
    original = jpeg(95)
    with Image.open(io.BytesIO(original)) as before, Image.open(io.BytesIO(levelled(original, FILE_LENGTH))) as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.parametrize("length", [100, 10**6])
def test_a_length_that_two_comments_cannot_reach_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="can't be levelled"):
        levelled(jpeg(95), length)


def test_format_is_at_chance_for_files_of_the_zoo(tmp_path: Path) -> None:
    check = check_format(two_classes(tmp_path))
    assert check.distinct_formats == 1
    assert check.at_chance


@pytest.mark.parametrize(
    "telling",
    [
        pytest.param(levelled(jpeg(90), FILE_LENGTH), id="quality"),
        pytest.param(levelled(jpeg(95, subsampling=2), FILE_LENGTH), id="sampling"),
        pytest.param(levelled(jpeg(95), FILE_LENGTH - 1), id="length"),
        pytest.param(jpeg(95), id="markers"),
    ],
)
def test_a_class_of_another_format_is_found_out(tmp_path: Path, telling: bytes) -> None:
    classes = two_classes(tmp_path)
    for path in classes["second"]:
        path.write_bytes(telling)
    check = check_format(classes)
    assert check.balanced_accuracy == 1
    assert not check.at_chance


def test_a_file_that_is_no_jpeg_is_named(tmp_path: Path) -> None:
    classes = two_classes(tmp_path)
    Image.fromarray(make_image(0)).save(classes["first"][0], "PNG")
    with pytest.raises(DatasetError, match=r"0\.jpg is no JPEG"):
        check_format(classes)
