"""One writer at a time."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from protoleak.errors import ProtoleakError
from protoleak.file_locks import locked

HOLDER = """
import sys, pathlib
from protoleak.file_locks import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def held_by_another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_another_process_writes_is_refused_until_it_ends(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    if kind == "folder":
        path.mkdir()
    with held_by_another_process(path) as process:
        with pytest.raises(ProtoleakError, match=f"out is being written by process {process.pid}: "), locked(path):
            pass
        process.kill()
        process.wait()
        with locked(path):  # the lock file is still there
            pass
    assert list(tmp_path.iterdir()) == ([path] if kind == "folder" else [])


def test_one_process_does_not_write_a_file_twice_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with locked(path):
        with pytest.raises(ProtoleakError, match="by this process already"), locked(path):
            pass
        with locked(tmp_path / "y.jsonl"):
            pass
    with locked(path):
        pass


def test_what_is_no_file_is_not_locked() -> None:
    with locked(Path("/dev/null")), locked(Path("/dev/null")):
        pass


def test_a_lock_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ProtoleakError, match="cannot write"), locked(tmp_path / "file" / "out.jsonl"):
        pass
