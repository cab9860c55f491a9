"""The command line: screen and inspect."""

from __future__ import annotations

import gc
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from typer.main import get_command

import protoleak
from protoleak.cli.app import application, main
from protoleak.cli.commands import COMMANDS, module_of
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
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
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


def test_damaged_bundle_is_one_line_and_debug_shows_the_traceback(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(tiny_bundle, tmp_path / "copy")
    (copy / "noise_bank.npy").unlink()
    assert main(["inspect", str(copy)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(protoleak.BundleError):
        main(["inspect", str(copy), "--debug"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["screen", "--alhpa", "0.1", "x.png"], "--alhpa"),
        (["scren", "x.png"], "scren"),
        (["screen"], "SOURCE"),
        (["screen", "x.png", "--batch-size", "0"], "'--batch-size': '0': "),
        (["screen", "x.png", "--alpha=often"], "'--alpha': 'often': "),
        (["screen", "x.png", "--every"], "--every"),
    ],
)
def test_what_is_misspelt_or_left_out_is_one_line_that_names_it_and_status_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert "--help says what there is" in line


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"protoleak {protoleak.__version__}\n"


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    printed = capsys.readouterr().out
    for command in ("screen", "import-checkpoint", "build-plans", "--version", "--install-completion"):
        assert command in printed


def test_completion_is_installed_and_completes_commands_and_options(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "protoleak"]
    done = subprocess.run([*command, "--install-completion", "bash"], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "_PROTOLEAK_COMPLETE" in (tmp_path / ".bash_completions" / "protoleak.sh").read_text()
    for typed, expected in (("protoleak build", "build-plans"), ("protoleak screen --dash", "--dashboard")):
        asked = {"_PROTOLEAK_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
        done = subprocess.run(command, capture_output=True, text=True, env=environment | asked, check=False)
        assert expected in done.stdout.split()


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


@pytest.mark.parametrize("arguments", [["--version"], ["screen", "nothing-here.jpg"], ["scren"]])
def test_a_process_ends_with_the_commands_status_and_all_that_it_said(arguments: list[str]) -> None:
    code = "import atexit, sys; from protoleak.cli.app import run_process; atexit.register(print, 'last words'); "
    done = subprocess.run(
        [sys.executable, "-c", f"{code}sys.argv[1:] = {arguments}; run_process()"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == main(arguments)
    assert done.stdout.endswith("last words\n")


def test_the_collector_rests_while_a_process_of_one_command_starts_and_in_no_other() -> None:
    code = (
        "import atexit, gc, sys; from protoleak.cli.app import run_process; "
        "sys.argv[1:] = ['screen', 'nothing-here.jpg']; "
        "atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count() > 0)); run_process()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("True True\n")
    before = gc.get_freeze_count()
    main(["screen", "nothing-here.jpg"])
    assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_a_command_imports_no_other_command() -> None:
    code = (
        "import sys; from protoleak.cli.app import main; main(['screen', 'nothing-here.jpg']); "
        "print(*sorted(name for name in sys.modules if name.startswith(('protoleak.cli.', 'pydantic'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    loaded = set(done.stdout.split())
    assert "protoleak.cli.screen" in loaded
    assert not loaded & {module_of(name) for name in COMMANDS if name != "screen"}
    assert "pydantic" not in loaded  # Typer's validators, which take as long to import as NumPy


def test_the_help_of_all_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_names_every_option_in_full_on_a_narrow_terminal(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out.split()
    options = [name for parameter in get_command(application()).commands[command].params for name in parameter.opts]
    assert not [name for name in options if name.startswith("--") and name not in shown]
