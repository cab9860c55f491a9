"""What commands exit with."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from protoleak.cli.exit_status import ExitStatus, status_of_all, status_of_parts
from protoleak.errors import DiskFull


@pytest.mark.parametrize(
    ("failed", "of", "problems", "status"),
    [(0, 3, False, 0), (1, 3, False, 1), (0, 3, True, 1), (3, 3, False, 2), (3, 3, True, 2), (0, 0, False, 0)],
)
def test_failed_parts_decide(failed: int, of: int, problems: bool, status: int) -> None:
    assert status_of_parts(failed, of, problems) == status


@pytest.mark.parametrize(
    ("statuses", "status"), [([0], 0), ([2], 2), ([0, 0], 0), ([2, 2], 2), ([0, 2], 1), ([0, 1], 1), ([1, 130], 130)]
)
def test_images_and_videos_have_one_status_together(statuses: list[int], status: int) -> None:
    assert status_of_all([ExitStatus(one) for one in statuses]) == status


@pytest.mark.parametrize(
    "error", [DiskFull("no room"), OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EFBIG, "too large")]
)
def test_a_full_disk_is_one_line_and_status_1_wherever_it_is_met(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from protoleak.cli import app

    def full(**_: object) -> None:
        raise error

    monkeypatch.setattr(app, "application", lambda: full)
    monkeypatch.setattr(app, "_drop_output", lambda: None)
    assert app.main([]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_standard_output_that_is_full_is_one_line_and_status_1() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "protoleak", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "error: No space left on device: free some space; what was written before is valid\n"
