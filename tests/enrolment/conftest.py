"""Images of a colour that no class of the small bundle has, and the bundle in which they are enrolled as "lemon"."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.tiny_bundle import CAMERA, IMAGE_SIZE, make_image


def write_images(folder: Path, kind: int | None, count: int, first_seed: int) -> Path:
    """PNG files of one class of the small bundle, of the size of its record's; of another colour for None."""
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(make_image(kind, first_seed + index, IMAGE_SIZE, IMAGE_SIZE)).save(folder / f"{index:03d}.png")
    return folder


@pytest.fixture(scope="session")
def lemons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images of the newcomer, not to be changed."""
    return write_images(tmp_path_factory.mktemp("images") / "lemons", None, 40, 5000)


@pytest.fixture(scope="session")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four images of the camera class, not to be changed."""
    return write_images(tmp_path_factory.mktemp("images") / "cameras", CAMERA, 24, 7000)


@pytest.fixture(scope="session")
def with_lemon(enrollable: Path, lemons: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle with the newcomer enrolled, not to be changed."""
    from protoleak.bundle.bundle import Bundle
    from protoleak.dataset import list_images
    from protoleak.enrolment.enrol import enrol

    out = tmp_path_factory.mktemp("bundles") / "with_lemon"
    assert enrol(Bundle.load(enrollable), "lemon", list_images(lemons), out, threads=1).sha256 is not None
    return out
