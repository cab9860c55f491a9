"""Still images on the command line: what is printed and written, and in which status it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import protoleak
from protoleak.cli.app import main
from tests.json_lines import json_lines
from tests.paths import ROOT
from tests.tiny_bundle import make_image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dawns, a camera image and one that nobody made, as files."""
    path = tmp_path_factory.mktemp("images")
    for name, kind in (("dawn1", 0), ("dawn2", 0), ("camera", 2), ("other", None)):
        Image.fromarray(make_image(kind, len(name))).save(path / f"{name}.png")
    return path


@pytest.fixture
def screen(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs `protoleak screen` with the tiny bundle and returns the exit status."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: object) -> int:
        return main(["screen", *map(str, arguments), "--bundle", str(tiny_bundle)])

    return run


def test_table_and_summary_say_what_was_found(screen, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert screen(folder) == 0
    printed = capsys.readouterr()
    rows = {Path(line.split()[0]).stem: line.split()[1:3] for line in printed.out.splitlines()[1:5]}
    assert rows["camera"] == ["real", "camera"]
    assert rows["dawn2"] == ["known", "dawn"]
    assert rows["other"][0] == "unknown"
    *_, accused, summary = printed.out.splitlines()
    assert summary == "4 verdicts: 2 known, 1 real, 1 unknown"
    assert accused.startswith("note: In this bundle's own test, 1 of 40 photographs of real faces")
    assert printed.err == ""


def test_results_equal_those_of_the_python_interface(screen, folder: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    assert screen(folder, "--out", tmp_path / "r.jsonl", "--batch-size", 3) == 0
    lines = json_lines(tmp_path / "r.jsonl")
    expected = [verdict.to_dict() for verdict in protoleak.load(tiny_bundle)(sorted(folder.iterdir()))]
    for one in [*lines, *expected]:
        del one["milliseconds"]
    assert [{name: line[name] for name in expected[0]} for line in lines] == expected
    assert {name for line in lines for name in line} - set(expected[0]) == {
        *("schema", "outcome", "sha256", "face", "faces", "reason", "settings")
    }


def test_one_bad_file_is_one_line_and_the_others_go_on_with_status_1(
    screen, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert screen(folder / "missing.png", folder / "camera.png", "no*match") == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        f"error: {folder}/missing.png: no such file",
        "error: no*match: no file matches this pattern",
    ]
    assert "1 verdict: 0 known, 1 real, 0 unknown; 2 failed" in printed.out


def test_nothing_but_bad_files_is_status_2(screen, folder: Path) -> None:
    assert screen(folder / "missing.png") == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--alpha", "0"], "between 0 and 1"),
        (["--alpha", "nan"], "between 0 and 1"),
        (["--alpha", "1e-9"], "smallest possible alpha"),
        (["--variant", "int8"], "only fp32"),
        (["--engine", "warp"], "'warp' is not one of 'auto', 'tensorrt'"),
        (["--resume"], "--out"),
        (["--out", "-", "--resume"], "--out FILE"),
        (["--out", "verdicts.txt"], ".jsonl or .csv"),
    ],
)
def test_option_that_cannot_be_honoured_is_one_line_and_status_2(
    screen, folder: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert screen(folder, *options) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert words in error[0]


@pytest.mark.parametrize("space", ["", " "])
def test_an_input_that_is_no_path_but_data_is_not_repeated_in_full(
    space: str, screen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as an image in base64, or a text with spaces, where a path is expected."""
    data = f"iVBORw0KGgo{space}" + 500 * f"AAAANSUhEUg{space}"
    for arguments in (["screen", data], ["inspect", data], ["bench", "--data", data], ["export", "x", "--data", data]):
        assert main(arguments) == 2
        *_, line = capsys.readouterr().err.splitlines()  # a bundle that looks at faces says first who finds them
        assert len(line) < 500
        if "export" not in arguments:  # which misses --out first
            assert data[:100] in line
            assert f"({len(data)} characters)" in line
    assert screen(data, tmp_path) == 2
    assert all(len(line) < 500 for line in capsys.readouterr().err.splitlines())


def test_json_lines_on_standard_output_are_alone_there(
    screen, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert screen(folder, "--out", "-") == 0
    printed = capsys.readouterr()
    assert [json.loads(line)["verdict"] for line in printed.out.splitlines()][:2] == ["real", "known"]
    assert "4 verdicts" in printed.err


def test_resume_does_only_what_is_missing(
    screen, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.jsonl"
    assert screen(folder / "camera.png", folder / "dawn1.png", "--out", out) == 0
    out.write_bytes(out.read_bytes()[:-10])  # as if the power had gone
    before = out.read_bytes()
    assert screen(folder, "--out", out) == 2
    assert out.read_bytes() == before
    capsys.readouterr()
    assert screen(folder, "--out", out, "--resume") == 0
    assert "3 verdicts: 2 known, 0 real, 1 unknown; 1 already in the file" in capsys.readouterr().out
    sources = [json.loads(line)["source"] for line in out.read_text().splitlines()]
    assert sorted(sources) == sorted(str(path) for path in folder.iterdir())
    assert screen(folder, "--out", out, "--resume") == 0
    assert len(out.read_text().splitlines()) == 4


def test_paths_on_standard_input_are_screened(
    screen, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = f"{folder}/camera.png\n{folder}/other.png\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(paths)))
    assert screen("-") == 0
    assert "2 verdicts" in capsys.readouterr().out


def test_conversion_is_noted(screen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(make_image(0, 1)).convert("L").save(tmp_path / "grey.png")
    assert screen(tmp_path / "grey.png") == 0
    assert capsys.readouterr().err == f"note: {tmp_path}/grey.png: grey is converted to RGB\n"


def test_markup_in_a_file_name_is_printed_as_it_is(screen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(make_image(0, 1)).save(tmp_path / "[red]x[bold].png")
    assert screen(tmp_path / "[red]x[bold].png", tmp_path / "[bold]y.png") == 1
    printed = capsys.readouterr()
    assert "[red]x[bold].png" in printed.out
    assert "[bold]y.png" in printed.err


def test_interruption_keeps_what_is_written_and_says_how_to_go_on(
    tiny_bundle: Path, folder: Path, tmp_path: Path
) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for index in range(3000):
        os.link(folder / "camera.png", many / f"{index:04}.png")
    out = tmp_path / "r.jsonl"
    command = [sys.executable, "-m", "protoleak.cli.app", "screen", str(many)]
    process = subprocess.Popen(
        [*command, "--bundle", str(tiny_bundle), "--out", str(out), "--threads", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    deadline = time.monotonic() + 60
    while not (out.exists() and out.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in printed
    assert "Traceback" not in errors
    lines = out.read_text().splitlines()
    assert 0 < len(lines) < 3000
    assert all(json.loads(line)["verdict"] for line in lines)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_output_is_valid_whatever_the_terminal_can_show(tiny_bundle: Path, tmp_path: Path, encoding: str) -> None:
    Image.fromarray(make_image(0, 1)).save(tmp_path / "Łódź.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "małe.png")
    command = [sys.executable, "-m", "protoleak.cli.app", "screen", str(tmp_path), "--bundle", str(tiny_bundle)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, env=environment, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count(b"\n") == 1
    done = subprocess.run([*command, "--out", "-"], capture_output=True, env=environment, check=False)
    sources = {line["outcome"]: line["source"] for line in map(json.loads, done.stdout.splitlines())}
    assert sources == {"verdict": str(tmp_path / "Łódź.png"), "error": str(tmp_path / "małe.png")}


def test_a_reader_that_goes_away_is_no_traceback(tiny_bundle: Path, folder: Path) -> None:
    command = f"{sys.executable} -m protoleak.cli.app screen {folder} --bundle {tiny_bundle} --out - | true"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
    )
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
