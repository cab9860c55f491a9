"""A data set of the small bundle's own kinds of images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.tiny_bundle import GENERATORS, make_image

PER_FOLDER = 4


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder per class of the small bundle, one of a colour that it doesn't know, and one of other cameras."""
    folder = tmp_path_factory.mktemp("labelled")
    kinds = {**{name: index for index, name in enumerate(GENERATORS)}, "stranger": None, "phones": 2}
    for name, kind in kinds.items():
        (folder / name).mkdir()
        for index in range(PER_FOLDER):
            Image.fromarray(make_image(kind, 5000 + index)).save(folder / name / f"{index}.png")
    return folder
