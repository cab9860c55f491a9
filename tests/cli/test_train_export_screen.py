"""From folders of images to verdicts, by commands alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.progress import Progress
from tests.cli.conftest import SMALL, Run
from tests.json_lines import json_lines
from tests.paths import ROOT
from tests.training.images import write_images

OneLine = Callable[[], str]


@pytest.fixture(scope="module")
def bundle(model: Path, data: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "first"
    assert run("export", model, "--data", data, "--out", out) == 0
    return out


def test_a_bundle_names_the_generators_of_images_that_training_never_saw(
    bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("columns", "rows"):
        write_images(tmp_path / kind, kind, 10, first_seed=800)
    out = tmp_path / "verdicts.jsonl"
    assert run("screen", tmp_path / "columns", tmp_path / "rows", "--bundle", bundle, "--out", out) == 0
    verdicts = json_lines(out)
    assert len(verdicts) == 20
    right = [each["nearest"] == Path(each["source"]).parent.name for each in verdicts]
    assert sum(right) >= 17  # chance would give 10; the kinds differ by stripes that fill the image
    assert {each["bundle"]["sha256"] for each in verdicts} == {Bundle.load(bundle).sha256}
    assert "20 verdicts" in capsys.readouterr().out


def test_inspect_tells_how_a_bundle_was_made(bundle: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", bundle) == 0
    text = capsys.readouterr().out
    assert text.startswith("first ")
    for words in ("columns, rows", "made_by: protoleak train", "24", "Parity"):
        assert words in text


def test_train_prints_what_it_trained_on_and_what_comes_next(
    data: Path, encoder: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(data, tmp_path / "data")
    (copy / "rows" / "000.png").write_bytes(b"")
    options = [*SMALL, "--epochs", 1]
    assert run("train", copy, "--latent-encoder", encoder, "--out", tmp_path / "model", *options) == 0
    out = capsys.readouterr().out
    assert "train: columns 20, rows 19" in out
    assert f"skipped: {copy}/rows/000.png" in out
    assert f"protoleak export {tmp_path}/model --data {copy}" in out


def test_a_log_of_train_has_a_line_for_every_encoding_and_epoch(data: Path, encoder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "protoleak", "train", data, "--latent-encoder", encoder, *SMALL, "--epochs", 2]
    with (tmp_path / "log").open("w") as log:
        done = subprocess.run(
            [str(part) for part in [*command, "--out", tmp_path / "model"]],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=False,
        )
    lines = (tmp_path / "log").read_text().splitlines()
    assert done.returncode == 0, lines
    stages = [line.split(": ")[0] for line in lines[:4]]
    assert stages == ["encode train", "encode validation", "epoch 1 of 2", "epoch 2 of 2"]
    assert re.fullmatch(r"epoch 2 of 2: \d/\d, loss \d+\.\d{3}, validation AUC [01]\.\d{4}, \d+ s", lines[3])


def test_export_prints_parity_numbers_and_what_it_skipped(
    model: Path, data: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(data, tmp_path / "data")
    (copy / "rows" / "041.png").write_bytes(b"")
    write_images(tmp_path / "unknown" / "drawings", "drawings", 3)
    write_images(tmp_path / "faces", "none", 4)
    others = ["--unknown", tmp_path / "unknown", "--photographs", tmp_path / "faces"]
    assert run("export", model, "--data", copy, "--out", tmp_path / "b.zip", *others, "--head", "tied_gaussian") == 0
    out = capsys.readouterr().out
    for words in ("log_density", "real faces accused: ", " of 4", "drawings: ", " of 3 called unknown"):
        assert words in out
    assert "skipped: test: rows/041.png: " in out
    assert Bundle.load(tmp_path / "b.zip").sha256 in out
    manifest = Bundle.load(tmp_path / "b.zip").manifest
    assert (manifest.name, manifest.head) == ("b", "tied_gaussian")


def test_a_face_detector_goes_into_the_bundle_and_inspect_shows_it(
    model: Path, data: Path, run: Run, tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector = shared / "weights" / "face_detection_yunet_2026may.onnx"
    if not detector.is_file():
        pytest.skip(f"there is no YuNet model at {detector}")
    assert run("export", model, "--data", data, "--out", tmp_path / "b", "--face-detector", detector) == 0
    assert Bundle.load(tmp_path / "b").face_detector == detector.read_bytes()
    capsys.readouterr()
    assert run("inspect", tmp_path / "b") == 0
    text = capsys.readouterr().out
    assert "face_detector: yunet" in text
    assert f"{detector.stat().st_size:,} bytes  face_detector.onnx" in text


def test_a_face_detector_that_is_none_is_refused_before_any_work(
    model: Path, data: Path, encoder: Path, run: Run, tmp_path: Path, one_line: OneLine
) -> None:
    assert run("export", model, "--data", data, "--out", tmp_path / "b", "--face-detector", encoder) == 2
    assert f"--face-detector {encoder} is no YuNet model: it lacks the output" in one_line()
    assert list(tmp_path.iterdir()) == []


def test_an_alpha_that_the_calibration_images_do_not_allow_is_one_line_with_the_smallest(
    model: Path, data: Path, run: Run, tmp_path: Path, one_line: OneLine
) -> None:
    assert run("export", model, "--data", data, "--out", tmp_path / "b", "--alpha", 0.01) == 2
    assert "smallest possible alpha is 0.04" in one_line()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_training_says_so_and_resume_finishes_it(
    data: Path,
    encoder: Path,
    model: Path,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from protoleak import progress as shown

    @contextmanager
    def impatient() -> Iterator[Progress]:
        def stop(stage: str, done: int, total: int, note: str = "", /) -> None:  # noqa: ARG001
            if stage == "epoch 9 of 16" and done > 1:
                raise KeyboardInterrupt

        yield stop

    arguments = ["train", data, "--latent-encoder", encoder, "--out", tmp_path / "model", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr(shown, "shown_progress", impatient)
        assert run(*arguments) == 130
    assert "--resume" in capsys.readouterr().err
    assert not (tmp_path / "model" / "model.json").exists()
    assert run(*arguments, "--resume") == 0
    # The same as one that was never interrupted, which `model` is.
    same = (tmp_path / "model" / "attributor.safetensors").read_bytes()
    assert same == (model / "attributor.safetensors").read_bytes()


def test_resuming_a_finished_run_gives_it_back_and_other_settings_are_refused(
    data: Path, encoder: Path, model: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (model / "attributor.safetensors").read_bytes()
    arguments = ["train", data, "--latent-encoder", encoder, "--out", model, *SMALL, "--resume"]
    assert run(*arguments) == 0
    assert (model / "attributor.safetensors").read_bytes() == before
    capsys.readouterr()
    assert run(*arguments, "--seed", 7) == 2
    # The bar of the encoding stands before it on a terminal; the message is still one line.
    assert "nothing to resume" in capsys.readouterr().err.splitlines()[-1]
    assert (model / "attributor.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train DATA --latent-encoder NOWHERE.onnx --out OUT", "no latent encoder at NOWHERE.onnx"),
        (
            "train DATA --latent-encoder ENCODER --out OUT --backbone resnet19",
            "'resnet19' is not one of 'conv'",
        ),
        ("train DATA --latent-encoder ENCODER --out OUT --timesteps 0,late", "whole numbers"),
        ("train DATA --latent-encoder ENCODER --out OUT --timesteps 0,1000", "1000"),
        ("train DATA --latent-encoder ENCODER --out OUT --compute fp8", "'fp8' is not one of 'auto', 'exact', 'bf16'"),
        ("train DATA --latent-encoder ENCODER --out OUT --input-range 1", "two numbers"),
        ("train DATA --latent-encoder ENCODER --out OUT --input-range 1,0", "the smaller first"),
        ("train DATA --latent-encoder ENCODER --out OUT --real-class nobody", "no folder"),
        ("train DATA/rows --latent-encoder ENCODER --out OUT", "at least two classes"),
        ("train NOWHERE --latent-encoder ENCODER --out OUT", "NOWHERE is not a folder"),
        ("export NOWHERE --data DATA --out OUT", "NOWHERE is not a model"),
        ("export MODEL --data NOWHERE --out OUT", "--data NOWHERE"),
        ("export MODEL --data DATA --out OUT --head nearest", "'--head': 'nearest' is not one of"),
        ("export MODEL --data DATA --out OUT --density-space raw", "'raw' is not one of"),
        ("export MODEL --data DATA --out OUT --settings NOWHERE.toml", "--settings NOWHERE.toml: cannot be read"),
        ("export MODEL --data DATA --out OUT --variants int4", "there is no 'int4'; choose among fp32, fp16, int8"),
        ("train DATA --latent-encoder ENCODER --out MODEL", "holds a finished model: replace it with --overwrite"),
        ("export MODEL --data DATA --out OUT --auxiliary NOWHERE", "--auxiliary NOWHERE"),
        ("export MODEL --data DATA --out OUT --auxiliary DATA/rows", "holds no folder"),
        ("export MODEL --data DATA --out OUT --auxiliary DATA", "has the name of a class"),
        ("export MODEL --data DATA --out OUT --unknown NOWHERE", "--unknown NOWHERE"),
        ("export MODEL --data DATA --out OUT --alpha 1", "between 0 and 1"),
        ("export MODEL --data DATA --out OUT --alpha nan", "between 0 and 1"),
        ("export MODEL --data DATA --out DATA", "is not a bundle"),
        ("distill --teacher ENCODER --data DATA --out OUT --widths 1,2 --blocks 0,1,1", "three whole numbers"),
        ("distill --teacher ENCODER --data DATA --out OUT --blocks 1,0,1", "belong together"),
        ("distill --teacher ENCODER --data DATA --out DATA", "not a light encoder"),
        ("distill --teacher ENCODER --data NOWHERE --out OUT", "NOWHERE is not a folder"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_one_line_and_status_2(
    command: str, words: str, data: Path, encoder: Path, model: Path, run: Run, tmp_path: Path, one_line: OneLine
) -> None:
    places = {"DATA": data, "ENCODER": encoder, "MODEL": model, "OUT": tmp_path / "out", "DATA/rows": data / "rows"}
    assert run(*[places.get(part, part) for part in command.split()]) == 2
    assert words in one_line()
    assert not (tmp_path / "out").exists()
