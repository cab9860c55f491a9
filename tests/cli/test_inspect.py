"""What `inspect` says of a bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import protoleak
from protoleak.cli.app import main


def test_damaged_bundle_is_one_line_and_debug_shows_the_traceback(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(tiny_bundle, tmp_path / "copy")
    (copy / "noise_bank.npy").unlink()
    assert main(["inspect", str(copy)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(protoleak.BundleError):
        main(["inspect", str(copy), "--debug"])


def test_inspect_puts_accused_real_faces_first(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tiny_bundle)]) == 0
    text = capsys.readouterr().out
    wanted = [
        "Real faces accused",
        "False rejection at alpha 0.05",
        "macro_auc_softmax: 0.99",
        "accuracy: 0.98",
        "made_by: the tests",
    ]
    positions = [text.index(words) for words in wanted]
    assert positions == sorted(positions)
    assert "dawn, moss, camera (real)" in text


def test_inspect_says_when_real_faces_were_not_measured(
    tiny_files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from protoleak.bundle.writer import write_bundle

    manifest, files = tiny_files
    write_bundle(tmp_path / "b", manifest, files | {"variants/fp32/report.json": b'{"variant": "fp32", "alpha": 0.05}'})
    assert main(["inspect", str(tmp_path / "b")]) == 0
    assert "not measured" in capsys.readouterr().out


def test_inspect_gives_the_bound_of_each_generator_as_json(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from protoleak.runtime.conformal import false_rejection_bound

    assert main(["inspect", str(tiny_bundle), "--json", "--alpha", "0.1"]) == 0
    summary = json.loads(capsys.readouterr().out)
    for row in summary["variants"]["fp32"]["false_rejection_bounds"]:
        assert row["bound_95"] == false_rejection_bound(row["n"], 0.1)
    assert next(iter(summary["variants"]["fp32"]["report"])) == "real_faces"


def test_inspect_says_which_alpha_is_too_small(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tiny_bundle), "--alpha", "0.0001"]) == 0
    assert "smallest possible alpha" in capsys.readouterr().out
    assert main(["inspect", str(tiny_bundle), "--alpha", "2"]) == 2
