"""`screen --fdr` and drift, as the command says and reports them."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protoleak.metrics.false_discovery import benjamini_hochberg
from protoleak.runtime import drift, pipeline
from tests.json_lines import json_lines
from tests.tiny_bundle import make_image

LEVEL = 0.2


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the classes, ten of none, one that lacks content and one that is damaged."""
    folder = tmp_path_factory.mktemp("findings") / "images"
    folder.mkdir()
    for number in range(12):
        Image.fromarray(make_image(number % 3, number)).save(folder / f"known_{number:02d}.png")
    for number in range(10):
        Image.fromarray(make_image(None, number)).save(folder / f"odd_{number:02d}.png")
    Image.fromarray(np.zeros((80, 72, 3), np.uint8)).save(folder / "black.png")
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def test_findings_are_those_of_the_procedure_over_what_can_be_judged(
    screen, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, folder = tmp_path / "r.jsonl", tmp_path / "report"
    assert screen(images, "--fdr", LEVEL, "--out", out, "--report", folder) == 1  # one is damaged
    judged = [row for row in json_lines(out) if row["outcome"] == "verdict" and row["lacking"] is None]
    assert len(judged) == 22
    printed = capsys.readouterr().out
    html = " ".join(unescape(re.sub(r"<[^>]*>", " ", (folder / "report.html").read_text())).split())
    for name, column in (("not real", "real_p_value"), ("not known", "p_value")):
        found = benjamini_hochberg([row[column] for row in judged], LEVEL, name)
        assert f"{name}: {found}" in printed
        assert f"{name}: {found}" in html
        for row in judged:
            if found.threshold is not None and row[column] <= found.threshold:
                assert f"{row['source']} ({row[column]:.4g})" in html
    assert "Findings over all images" in html
    assert "Benjamini–Hochberg" in html


def test_something_is_found_there(screen, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    screen(images, "--fdr", LEVEL)
    printed = capsys.readouterr().out
    assert re.search(r"not known: [1-9]\d* of 22 at a false discovery rate of 0.2 \(Benjamini–Hochberg\)", printed)
    assert "odd_" in printed.split("not known:")[1]


def test_a_resumed_run_has_the_findings_of_a_whole_one(
    screen, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    screen(images, "--fdr", LEVEL, "--out", whole)
    findings = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("not ", "  "))]
    screen(*sorted(images.glob("known_*.png"))[:7], "--out", part)
    capsys.readouterr()
    screen(images, "--fdr", LEVEL, "--out", part, "--resume")
    again = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("not ", "  "))]
    assert sorted(again) == sorted(findings)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--fdr", 0), "a false discovery rate of 0: give a number between 0 and 1"),
        (("--fdr", LEVEL, "--out", "x.csv", "--resume"), "--fdr with --resume takes what was judged before from JSON"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(
    screen, images: Path, arguments: tuple[object, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert screen(images, *arguments) == 2
    assert named in capsys.readouterr().err


def test_findings_are_of_images_and_not_of_videos(screen, capsys: pytest.CaptureFixture[str]) -> None:
    assert screen("clip.mp4", "--fdr", LEVEL) == 2
    assert "--fdr is for images" in capsys.readouterr().err


def test_drift_is_said_once_and_stands_in_the_report(
    screen, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monitor = drift.DriftMonitor
    little = 1.01  # evidence that a few images reach by chance
    monkeypatch.setattr(pipeline, "DriftMonitor", lambda *about: monitor(*about[:-1], told_at=little))
    screen(images, "--report", tmp_path)
    said = [line for line in capsys.readouterr().err.splitlines() if "drift: after" in line]
    assert len(said) == 1
    html = " ".join(unescape(re.sub(r"<[^>]*>", " ", (tmp_path / "report.html").read_text())).split())
    assert "Drift: after" in html
    assert "evidence against it at most" in html


def test_a_few_images_are_no_drift(screen, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    screen(images)
    assert "drift" not in capsys.readouterr().err
