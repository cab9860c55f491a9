"""SIGTERM and Ctrl-C end every command in good order within seconds; the second one at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from protoleak.cli import signals
from protoleak.cli.exit_status import ExitStatus

SECONDS = 60.0  # for the process to start on a busy machine
WITHIN = 5.0  # what is promised; the process's own clock stops it, however busy the machine is
# A command that says when it works, and works as it is told: in Python, or in C where no handler runs.
COMMAND = """
import sys, time
import protoleak.cli.app as app

works = lambda: print("works", flush=True)

def wait():
    {work}

app.application().command("wait")(wait)
sys.argv[1:] = ["wait"]
sys.exit(app.main())
"""
IN_PYTHON = "works(); time.sleep(60)"
# Without the interpreter's lock, and said to work once it is in there: a signal before that would be Python's.
IN_C = "import hashlib, threading; threading.Timer(0.5, works).start(); hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
SLOW_END = "\n    ".join(["", "try: works(); time.sleep(60)", "finally: time.sleep(60)"])


def started(work: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(work=work)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "works\n"
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_its_own_status_and_no_traceback(number: signal.Signals, status: int) -> None:
    process = started(IN_PYTHON)
    process.send_signal(number)
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (status, "")


def test_the_second_signal_ends_at_once() -> None:
    process = started(SLOW_END)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    process.communicate(timeout=SECONDS)
    assert process.returncode == 143
    assert time.monotonic() - begun < signals.GRACE_SECONDS - 1


def test_what_is_busy_where_no_handler_runs_is_ended_in_time() -> None:
    process = started(IN_C)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 143
    assert errors.strip() == "error: still busy 4.5 s after SIGTERM: ended now"
    assert signals.GRACE_SECONDS < WITHIN


@pytest.mark.skipif(not Path("/usr/bin/unshare").is_file(), reason="no unshare here")
def test_process_1_of_a_container_ends_too() -> None:
    """The kernel keeps from process 1 of a PID namespace whatever it doesn't handle."""
    namespace = ["/usr/bin/unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no right to make a PID namespace")
    command = COMMAND.format(work="import os; print(os.getpid(), flush=True); " + IN_PYTHON)
    with subprocess.Popen([*namespace, sys.executable, "-c", command], stdout=subprocess.PIPE, text=True) as unshare:
        assert unshare.stdout is not None
        assert [unshare.stdout.readline() for _ in range(2)] == ["1\n", "works\n"]
        [child] = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
        assert unshare.wait(timeout=SECONDS) == 143


def test_signals_are_the_callers_own_where_arguments_are_given() -> None:
    from protoleak.cli.app import main

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert main(["--version"]) == 0
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_an_interruption_where_no_command_expects_it_is_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from protoleak.cli import app

    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "application", lambda: interrupted)
    assert app.main([]) == ExitStatus.INTERRUPTED
    assert capsys.readouterr().err == ""


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_sigterm_in_the_middle_of_a_video_leaves_everything_complete(tiny_bundle: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV reads and writes the videos")
    from tests.video.sources.media import write

    clip, out = tmp_path / "clip.mp4", tmp_path / "out"
    write(clip)
    slowed = "import runpy, sys, time; from protoleak.faces.open import WholeFrame as W; find = W.__call__; "
    slowed += "W.__call__ = lambda self, image: (time.sleep(0.2), find(self, image))[1]; "
    slowed += "sys.argv = sys.argv[1:]; runpy.run_module('protoleak', run_name='__main__')"
    given = ["protoleak", "screen", str(clip), "--bundle", str(tiny_bundle), "--out", str(out), "--faces", "none"]
    given += ["--engine", "onnxruntime", "--threads", "1", "--every", "0.1", "--annotate"]
    process = subprocess.Popen(
        [sys.executable, "-c", slowed, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    verdicts = out / "verdicts.jsonl"
    until(
        lambda: verdicts.exists() and verdicts.read_text().count("\n") >= 3
    )  # the first frame is in the video by then
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 143, errors
    assert "interrupted" in printed
    [source] = json.loads((out / "tracks.json").read_text())["sources"]
    assert source["ended"]
    assert source["statistics"]["interrupted"]
    assert "stopped by somebody" in (out / "report.html").read_text()
    with av.open(str(out / "annotated.mp4")) as video:
        assert 0 < sum(1 for _ in video.decode(video=0)) < 60
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
