"""Nothing that protoleak loads calls home, or writes outside protoleak's own folders: the system calls are watched."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from tests.images.signed_image import signed_jpeg
from tests.paths import ROOT
from tests.tiny_bundle import make_image

SECONDS_ALIVE = 12  # libraries wait some seconds before they report
ENGINES = [name for name in ("onnxruntime", "openvino") if importlib.util.find_spec(name)]
CALLS = "%file,%network"
WRITES = re.compile(
    r"^\d+ +(?:(?:open(?:at)?|creat)\((?:[^,\"]+, )?\"(?P<opened>(?:[^\"\\]|\\.)*)\".*O_(?:WRONLY|RDWR|CREAT)"
    r"|(?:mkdir|mkdirat|rename|renameat|renameat2|link|linkat|symlink|symlinkat|unlink|unlinkat|mknod|mknodat|truncate)"
    r"\((?:[^,\"]+, )?\"(?P<changed>(?:[^\"\\]|\\.)*)\")"
)
NETWORK = re.compile(r"(?:connect|sendto|sendmsg|sendmmsg|bind)\(.*sa_family=AF_INET6?")
COMMAND_LINE = """
import sys, time
from protoleak.cli.app import main
begun = time.monotonic()
status = main(["screen", sys.argv[1], "--bundle", sys.argv[2], "--engine", sys.argv[3], "--threads", "1"])
time.sleep(max(0, float(sys.argv[4]) - time.monotonic() + begun))
sys.exit(status)
"""
PYTHON = """
import sys, time
import protoleak
begun = time.monotonic()
with protoleak.load(sys.argv[2], engine=sys.argv[3], threads=1) as screener:
    print(screener(sys.argv[1])[0].label)
    time.sleep(max(0, float(sys.argv[4]) - time.monotonic() + begun))
"""
RUNS = [(entry, engine) for entry in ("command line", "Python") for engine in ENGINES]


class Watched(NamedTuple):
    """What a run did: its system calls, and what it left in its home folder."""

    calls: list[str]
    left: list[Path]


@pytest.fixture(scope="module")
def watched(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Watched]:
    """Entry and engine → what it did; all runs at once, each with a home of its own, and without the variables by
    which libraries notice that they are being tested."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    image = tmp_path_factory.mktemp("watched") / "x.jpg"
    if importlib.util.find_spec("c2pa"):  # content credentials are read too, with all that they may refer to
        image.write_bytes(signed_jpeg("digitalCapture"))
    else:
        Image.fromarray(make_image(0, 1)).save(image)
    quiet = {"CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "PROTOLEAK_CACHE"}
    kept = {name: value for name, value in os.environ.items() if name not in quiet and not name.startswith("XDG_")}
    running = {}
    for entry, engine in RUNS:
        home = tmp_path_factory.mktemp("home")
        log = home.parent / f"{home.name}.calls"
        (temporary := home.parent / f"{home.name}.tmp").mkdir()
        code = COMMAND_LINE if entry == "command line" else PYTHON
        command = [sys.executable, "-c", code, str(image), str(tiny_bundle), engine, str(SECONDS_ALIVE)]
        process = subprocess.Popen(
            ["strace", "-f", "-qq", "-s", "300", "-e", f"trace={CALLS}", "-o", str(log), *command],
            env=kept
            | {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running[entry, engine] = (process, log, home)
    found = {}
    for run, (process, log, home) in running.items():
        _, errors = process.communicate(timeout=120)
        if process.returncode == 1 and "ptrace" in errors and not log.exists():
            pytest.skip(f"strace may not trace here: {errors.splitlines()[0]}")
        assert process.returncode == 0, errors
        found[run] = Watched(log.read_text(errors="replace").splitlines(), sorted(home.rglob("*")))
    return found


def test_the_watch_sees_what_an_unguarded_import_does(tmp_path: Path) -> None:
    """Otherwise the tests below could not fail."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    log = tmp_path / "calls"
    code = (
        f"import socket; open({str(tmp_path / 'written')!r}, 'w'); "
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('127.0.0.1', 9))"
    )
    done = subprocess.run(
        ["strace", "-f", "-qq", "-s", "300", "-e", f"trace={CALLS}", "-o", str(log), sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 1 and "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    calls = log.read_text().splitlines()
    assert str(tmp_path / "written") in written(calls)
    assert any(NETWORK.search(call) for call in calls)


@pytest.mark.parametrize("run", RUNS, ids=" ".join)
def test_nothing_is_sent_or_looked_up(watched: dict[tuple[str, str], Watched], run: tuple[str, str]) -> None:
    assert [call for call in watched[run].calls if NETWORK.search(call)] == []


@pytest.mark.parametrize("run", RUNS, ids=" ".join)
def test_nothing_but_compiled_graphs_is_left_in_the_home_folder(
    watched: dict[tuple[str, str], Watched], run: tuple[str, str]
) -> None:
    left = [path for path in watched[run].left if path.is_file()]
    if run[1] == "openvino":
        assert {(path.parts[-4:-1], path.suffix) for path in left} == {((".cache", "protoleak", "openvino"), ".blob")}
    else:
        assert watched[run].left == []


@pytest.mark.parametrize("run", RUNS, ids=" ".join)
def test_nothing_is_written_anywhere(watched: dict[tuple[str, str], Watched], run: tuple[str, str]) -> None:
    """Without --out there is nothing to write, but for what OpenVINO compiled; temporary files are not kept, and
    devices are no files."""
    compiled = r"|.*/home\d+/\.cache(/protoleak(/openvino(/.*)?)?)?$" if run[1] == "openvino" else ""
    own = re.compile(r"/dev/|/proc/self/|.*\.tmp/" + compiled)
    assert [path for path in written(watched[run].calls) if not own.match(path)] == []


def written(calls: list[str]) -> list[str]:
    """The paths that system calls created, changed or opened for writing."""
    found = []
    for call in calls:
        if (match := WRITES.search(call)) and " = -1 E" not in call:
            found.append(match["opened"] or match["changed"])
    return found


def test_a_program_that_uses_openvinos_telemetry_itself_keeps_it() -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra")
    from protoleak.runtime.engines.openvino import TELEMETRY, import_openvino

    kept = object()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, TELEMETRY, kept)
        import_openvino()
        assert sys.modules[TELEMETRY] is kept
