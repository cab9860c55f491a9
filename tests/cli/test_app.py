"""The command line itself: its help, its completion, and how a process starts and ends."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import protoleak
from protoleak.cli.app import application, main
from protoleak.cli.commands import COMMANDS, module_of
from tests.paths import ROOT


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["screen", "--alhpa", "0.1", "x.png"], "--alhpa"),
        (["scren", "x.png"], "scren"),
        (["screen"], "SOURCE"),
        (["screen", "x.png", "--batch-size", "0"], "'--batch-size': '0': "),
        (["screen", "x.png", "--alpha=often"], "'--alpha': 'often'"),
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
