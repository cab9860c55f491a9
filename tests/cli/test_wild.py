"""The commands of docs/wild.md on a small data set in WILD's layout."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL, Run
from tests.paths import ROOT
from tests.training.images import write_images, write_latent_encoder

# In each class: train, val, test; half of val serves calibration, and α = 0.05 needs 19 of all classes together.
PARTS = (14, 26, 6)

DOCUMENT = ROOT / "docs" / "wild.md"


def write_wild(folder: Path, form: str) -> Path:
    """closed/ with two generators and a Split.json, open/ with one more, photographs/; names are the prompts'."""
    for name, kind, seed in (("sd_a", "columns", 0), ("sd_b", "rows", 0)):
        write_images(folder / "closed" / name, kind, sum(PARTS), seed)
    write_images(folder / "open" / "gan_c", "none", sum(PARTS), 500)
    write_images(folder / "photographs", "none", 5, 900)
    ends = [sum(PARTS[: index + 1]) for index in range(3)]
    parts: dict[str, object] = {
        name: [*range(end - size, end)] for name, end, size in zip(("train", "val", "test"), ends, PARTS, strict=True)
    }
    if form == "names":
        parts = {
            split: {name: [f"{index:03d}.png" for index in indices] for name in ("sd_a", "sd_b")}
            for split, indices in parts.items()
            if isinstance(indices, list)
        }
    (folder / "closed" / "Split.json").write_text(json.dumps(parts))
    return folder


@pytest.mark.parametrize("form", ["indices", "names"])
def test_train_export_and_evaluate_take_wild_as_it_lies(
    form: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = write_wild(tmp_path / "WILD", form)
    encoder = write_latent_encoder(tmp_path / "encoder.onnx")
    model, bundle, numbers = tmp_path / "model", tmp_path / "bundle", tmp_path / "wild.json"
    assert run("train", wild / "closed", "--latent-encoder", encoder, "--out", model, *SMALL, "--epochs", 4) == 0
    assert run("export", model, "--data", wild / "closed", "--out", bundle) == 0
    capsys.readouterr()
    given = ("--data", wild / "closed", "--unknown", wild / "open", "--photographs", wild / "photographs")
    options = ("--engine", "onnxruntime", "--operators", "jpeg", "--images", 2, "--bootstrap", 50)
    assert run("evaluate", bundle, *given, *options, "--json", numbers) == 0
    assert capsys.readouterr().out.startswith("real faces accused (fp32)  ")
    report = json.loads(numbers.read_text())
    variant = report["variants"][0]
    assert variant["closed_set"]["images"] == 2 * PARTS[2]
    # Prompts that training, validation or calibration saw are left out of the open set.
    assert variant["unknown"]["gan_c"]["rejected"]["of"] == PARTS[2]
    assert variant["real_faces"]["accused"]["of"] == 5
    assert variant["closed_set"]["accuracy"]["value"] > 0.5


def test_the_document_names_options_that_there_are(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    text = DOCUMENT.read_text().replace("\\\n", " ")
    commands = re.findall(r"^protoleak (\w+) (.*)$", text, re.MULTILINE)
    assert {name for name, _ in commands} >= {"train", "export", "evaluate"}
    for name, rest in commands:
        assert run(name, "--help") == 0
        shown = capsys.readouterr().out
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in shown, f"protoleak {name} has no {option}"
