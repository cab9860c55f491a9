"""Files and folders that are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from protoleak.errors import ProtoleakError
from protoleak.file_locks import locked
from protoleak.files import (
    LinesFile,
    cache_folder,
    read_regular,
    remove_partial,
    replace_file,
    replacing,
    why_refused,
    write_whole,
)


def broken() -> Iterator[bytes]:
    yield b"half of "
    raise RuntimeError("the rest never comes")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "made" / "report.json"
    replace_file(file, [b"first"])
    replace_file(file, [b"the ", b"second"])
    assert file.read_bytes() == b"the second"
    assert list(file.parent.iterdir()) == [file]


def test_where_writing_fails_the_old_content_stays_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        replace_file(file, broken())
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    (folder / "old").mkdir(parents=True)
    with replacing(folder) as staged:
        (staged / "new").mkdir(parents=True)
        assert [path.name for path in folder.iterdir()] == ["old"]
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_fails_half_way_leaves_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    (folder / "old").mkdir(parents=True)
    with contextlib.suppress(KeyboardInterrupt), replacing(folder) as staged:
        staged.mkdir()
        raise KeyboardInterrupt
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [folder]


def test_what_a_killed_process_left_half_written_is_removed_with_its_own_file(tmp_path: Path) -> None:
    kill = "import os, sys, pathlib; from protoleak.files import replacing\n"
    kill += "with replacing(pathlib.Path(sys.argv[1])) as staged: staged.write_text('half'); os.kill(os.getpid(), 9)"
    for name in ("tracks.json", "report.html", "n" * 255):
        subprocess.run([sys.executable, "-c", kill, str(tmp_path / name)], check=False)
    assert len(list(tmp_path.iterdir())) == 3
    for name in ("tracks.json", "n" * 255):
        with locked(tmp_path / name):
            remove_partial(tmp_path / name)
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".partial.report.html.")


def test_only_a_private_file_is_closed_to_others(tmp_path: Path) -> None:
    replace_file(tmp_path / "plan", [b""], private=True)
    assert stat.S_IMODE((tmp_path / "plan").stat().st_mode) == 0o600
    replace_file(tmp_path / "report", [b""])
    (tmp_path / "plain").touch()  # what the process's umask makes of a file
    assert (tmp_path / "report").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_refusing_disk_is_one_line_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProtoleakError, match=r"^cannot write .*/file/report: (File exists|Not a directory); "):
        write_whole(tmp_path / "file" / "report", [b""])


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROTOLEAK_CACHE", str(tmp_path))
    assert cache_folder("latents") == tmp_path / "latents"
    monkeypatch.delenv("PROTOLEAK_CACHE")
    assert cache_folder("latents") == Path.home() / ".cache" / "protoleak" / "latents"


def test_a_regular_file_is_read_up_to_a_limit_whatever_its_size_was(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    assert read_regular(path, 10) == b"0123456789"
    assert read_regular(path, 4) == b"01234"  # one more than allowed says that there is more


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name here")
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"."):
            read_regular(path, 10)


def test_what_looks_like_a_file_and_may_never_have_anything_is_not_waited_for() -> None:
    # Whoever may open it waits for a message of the kernel; where there are some already, they come.
    with contextlib.suppress(OSError):
        assert len(read_regular(Path("/proc/kmsg"), 10)) <= 11


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_removed_while_it_is_written_is_said(replaced: bool, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = LinesFile(path)
    lines.append(b"one")
    path.unlink()
    if replaced:
        path.write_bytes(b"of somebody else")
    with pytest.raises(ProtoleakError, match="was removed or replaced"):
        lines.append(b"two")
    lines.close()
    assert not replaced or path.read_bytes() == b"of somebody else"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (  # as Arrow words it
            OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] …"),
            "No space left on device; free some space or give another place",
        ),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied; give another place"),
        (OSError("the device is gone"), "the device is gone; give another place"),
    ],
)
def test_what_the_disk_refused_has_the_systems_reason_and_a_remedy(error: OSError, said: str) -> None:
    assert why_refused(error) == said
