"""A data set of the small bundle's own kinds of images, made over shared names as generators over one content are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from protoleak.bundle.bundle import Bundle
from protoleak.evaluation.results import Report
from protoleak.evaluation.run import evaluate_bundle
from protoleak.evaluation.settings import EvaluationSettings
from tests.tiny_bundle import GENERATORS, make_image

TRAINED, TESTED, STRANGE, PHOTOGRAPHS = range(4), range(4, 10), range(2, 8), range(5)


def write(folder: Path, kind: int | None, numbers: range, seed: int = 5000) -> None:
    folder.mkdir(parents=True)
    for number in numbers:
        Image.fromarray(make_image(kind, seed + number)).save(folder / f"{number:03d}.png")


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images per class of the small bundle; a Split.json keeps six for the test. Not to be changed."""
    folder = tmp_path_factory.mktemp("evaluation") / "known"
    for kind, name in enumerate(GENERATORS):
        write(folder / name, kind, range(10))
    (folder / "Split.json").write_text(json.dumps({"train": [0, 1], "val": [2, 3], "test": list(TESTED)}))
    return folder


@pytest.fixture(scope="session")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators of other colours: over the data set's contents, and over contents of its own."""
    folder = tmp_path_factory.mktemp("evaluation") / "unknown"
    write(folder / "stranger", None, STRANGE)
    write(folder / "loner", None, range(100, 103))
    return folder


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images like the small bundle's camera class."""
    folder = tmp_path_factory.mktemp("evaluation") / "photographs"
    write(folder, 2, PHOTOGRAPHS, seed=9000)
    return folder


@pytest.fixture(scope="session")
def report(tiny_bundle: Path, known: Path, unknown: Path, real: Path) -> Report:
    settings = EvaluationSettings(
        known, unknown, real, engine="onnxruntime", threads=1, operators=("jpeg", "crop"), images_per_class=3,
        resamples=200,
    )  # fmt: skip
    return evaluate_bundle(Bundle.load(tiny_bundle), settings)
