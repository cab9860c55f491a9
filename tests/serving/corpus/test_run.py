"""The command on a Ray cluster of this machine: killed, refused, continued."""

from __future__ import annotations

import contextlib
import json
import os
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


def head_homes() -> list[bool]:
    """Of every head process of Ray that runs here for protoleak: whether its home is a folder that was made for it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if b"dashboard/dashboard.py" in command and b"/protoleak-" in command:
                home = dict(one.partition("=")[::2] for one in (process / "environ").read_text().split("\0"))["HOME"]
                found.append(Path(home).name.startswith("protoleak-") and (Path(home) / HOME_FILE).is_file())
    return found


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
    assert set(head_homes()) == {True}  # else it asks the network in which cloud it is
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
