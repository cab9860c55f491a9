"""Every command takes α from the bundle, and another one where it is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from protoleak.bundle.manifest import Manifest
from protoleak.bundle.writer import write_bundle
from tests.cli.conftest import Run
from tests.tiny_bundle import make_image

QUICK = ("--engine", "onnxruntime", "--threads", 1)


@pytest.fixture(scope="module")
def bundle(tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measured at α = 0.2."""
    manifest, files = tiny_files
    path = tmp_path_factory.mktemp("alpha") / "bundle"
    write_bundle(path, msgspec.structs.replace(manifest, alpha=0.2), files)
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for index in range(3):
        Image.fromarray(make_image(2, index)).save(folder / f"{index}.png")
    return folder


@pytest.mark.parametrize(("given", "expected"), [((), 0.2), (("--alpha", 0.1), 0.1)])
def test_commands_use_the_level_of_the_bundle_unless_another_is_given(
    given: tuple[object, ...], expected: float, bundle: Path, photographs: Path, run: Run, tmp_path: Path
) -> None:
    verdicts = tmp_path / "verdicts.jsonl"
    assert run("screen", photographs, "--bundle", bundle, "--out", verdicts, *QUICK, *given) == 0
    assert {json.loads(line)["alpha"] for line in verdicts.read_text().splitlines()} == {expected}
    timed = ("--runs", 1, "--warm-up", 0, "--batch-sizes", 1)
    assert run("bench", bundle, *QUICK, *timed, "--json", tmp_path / "bench.json", *given) == 0
    assert json.loads((tmp_path / "bench.json").read_text())["alpha"] == expected


@pytest.mark.parametrize(("given", "shown"), [((), "0.2"), (("--alpha", 0.1), "0.1")])
def test_inspect_bounds_false_rejection_at_the_level_of_the_bundle(
    given: tuple[object, ...], shown: str, bundle: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("inspect", bundle, *given) == 0
    assert f"False rejection at alpha {shown}: " in capsys.readouterr().out
