"""The command on a Ray cluster of this machine: killed, refused, continued."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray.data", reason="Ray is not installed: it is too large for every test run")

from protoleak.serving.corpus.cluster import HOME_FILE
from tests.paths import ROOT
from tests.serving.corpus.conftest import rows_of, write_images

IMAGES = 200  # four blocks


def protoleak(*typed: object) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "protoleak", *map(str, typed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )


def home_of_head(parent: int) -> Path:
    """The home folder of the head process that Ray started for a process."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (
                f"\nPPid:\t{parent}\n" in (process / "status").read_text()
                and b"dashboard/dashboard.py" in (process / "cmdline").read_bytes()
            ):
                variables = (process / "environ").read_text().split("\0")
                return Path(dict(one.partition("=")[::2] for one in variables)["HOME"])
    raise AssertionError("Ray has no head process")


def test_a_killed_run_is_continued_to_the_same_rows(tiny_bundle: Path, tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    write_images(images, IMAGES)
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff and no more")
    typed = ["corpus", images, "--out", out, "--bundle", tiny_bundle, "--engine", "onnxruntime", "--workers", 1]
    typed += ["--patience", 300]  # a test machine may be busy
    first = protoleak(*typed)
    while not list(out.glob("verdicts/part-*.parquet")):
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    home = home_of_head(first.pid)
    assert (home / HOME_FILE).is_file()  # else it asks the network in which cloud it is
    assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700  # Ray lets everybody write its own folder
    first.kill()
    first.communicate()
    before = {part: part.stat().st_mtime_ns for part in out.glob("verdicts/part-*.parquet")}

    refused = protoleak(*typed)
    _, errors = refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert errors == (
        f"error: {out} exists: continue it with --resume, replace it with --overwrite, or give another --out\n"
    )
    other = protoleak(*typed[:1], images / "broken.jpg", *typed[2:], "--resume")
    _, errors = other.communicate(timeout=60)
    assert other.returncode == 2
    assert f"was begun with the sources {images}, and these are others" in errors

    second = protoleak(*typed, "--resume")
    output, errors = second.communicate(timeout=300)
    assert second.returncode == 1, errors  # one image is broken
    assert all(line.startswith("judging: ") for line in errors.splitlines()), errors  # a line a minute
    assert before.items() <= {part: part.stat().st_mtime_ns for part in out.glob("verdicts/part-*.parquet")}.items()
    rows = rows_of(out)
    assert [row["source"] for row in rows] == [str(path) for path in sorted(images.iterdir())]
    assert [row["outcome"] for row in rows].count("error") == 1
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["inputs"], summary["rows"]) == (IMAGES + 1, IMAGES + 1)
    assert f"{IMAGES + 1} inputs, {IMAGES + 1} rows ({IMAGES} verdict, 1 error) in {out}" in output
    assert "Benjamini–Hochberg" in output
    assert not list(out.rglob("*.partial*"))
