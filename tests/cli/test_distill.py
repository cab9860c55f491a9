"""`protoleak distill`, and the student in the place of its teacher."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from protoleak.model.latent_encoder import load_latent_encoder
from tests.cli.conftest import SMALL, Run
from tests.training.images import make_image

OPTIONS = [
    *("--widths", "4,4,4", "--blocks", "1,1,1", "--views", 1),
    *("--epochs", 2, "--batch-size", 8, "--learning-rate", 0.005),
]


def test_a_student_is_reported_on_per_channel_and_trains_where_its_teacher_did(
    encoder: Path, data: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    for index in range(12):
        make_image("rows", index, (272, 260)).save(tmp_path / "images" / f"{index}.png")
    (tmp_path / "images" / "letter.png").write_text("a text file")
    folder, out = tmp_path / "images", tmp_path / "student"
    assert run("distill", "--teacher", encoder, "--data", folder, "--out", out, *OPTIONS) == 0
    text = capsys.readouterr().out
    report = json.loads((out / "distillation.json").read_text())
    assert len(report["correlation_per_channel"]) == 4
    assert "per channel: " + " ".join(f"{value:.3f}" for value in report["correlation_per_channel"]) in text
    assert f"mean {report['correlation_mean']:.3f}" in text
    assert f"on {report['held_out_images']} images not seen" in text
    assert "skipped 1 files" in text
    assert report["training_images"] + report["held_out_images"] == 12
    assert load_latent_encoder(out).latent_shape(64) == load_latent_encoder(encoder).latent_shape(64)
    model = tmp_path / "model"
    assert run("train", data, "--latent-encoder", out, "--out", model, *SMALL, "--epochs", 1) == 0
    assert json.loads((model / "model.json").read_text())["config"]["latent_encoder"]["kind"] == "light_encoder"


def test_several_students_stand_in_a_folder_each(encoder: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index in range(10):
        make_image("rows", index, (64, 64)).save(tmp_path / "images" / f"{index}.png")
    options = ["--views", 0, "--window", 32, "--epochs", 1, "--workers", 0]
    chosen = ["--student", "1g,2g", "--out", tmp_path / "family"]
    assert run("distill", "--teacher", encoder, "--data", tmp_path / "images", *chosen, *options) == 0
    gflop = [
        json.loads((tmp_path / "family" / name / "distillation.json").read_text())["gflop"] for name in ("1g", "2g")
    ]
    assert gflop[0] < gflop[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--student", "4g"], "there is no student '4g': choose from 1g, 2g, 3g"),
        (["--widths", "4,4,4"], "belong together"),
        (["--student", "1g", "--widths", "4,4,4", "--blocks", "0,1,1"], "in place of --student"),
        (["--widths", "4,4", "--blocks", "0,1,1"], "three whole numbers"),
        (["--window", "100"], "window is 100"),
        (["--compute", "int8"], "'int8' is not one of 'auto', 'exact', 'bf16'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(
    options: list[str], message: str, encoder: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("distill", "--teacher", encoder, "--data", tmp_path, "--out", tmp_path / "student", *options) == 2
    assert message in capsys.readouterr().err
