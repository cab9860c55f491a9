"""Without the packages of an extra, its commands say what to install, and the others work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

# A module that is None cannot be imported: as if it were not installed.
PROGRAM = (
    "import sys; sys.modules[sys.argv[1]] = None; from protoleak.cli.app import main; sys.exit(main(sys.argv[2:]))"
)


def run_without(package: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, package, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )


@pytest.mark.parametrize(
    "command",
    [
        "train DATA --latent-encoder vae --out OUT",
        "import-checkpoint model.pt --latent-encoder vae --timesteps 0 --generators a,b --out OUT",
        "distill --teacher vae --data DATA --out OUT",
        "export DATA --data DATA --out OUT",
    ],
)
def test_a_command_that_needs_torch_names_the_extra_in_one_line(command: str, tmp_path: Path) -> None:
    places = {"DATA": tmp_path, "OUT": tmp_path / "out"}
    done = run_without("torch", *[places.get(part, part) for part in command.split()])
    assert done.returncode == 2
    assert done.stderr == 'error: torch is not installed: pip install "protoleak[export]"\n'


def test_a_package_that_is_needed_late_is_named_all_the_same(model: Path, data: Path, tmp_path: Path) -> None:
    done = run_without("sklearn", "export", model, "--data", data, "--out", tmp_path / "bundle")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: sklearn")
    assert 'pip install "protoleak[export]"' in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundle").exists()


def test_corpora_name_their_extra_before_anything_is_made(tmp_path: Path) -> None:
    done = run_without("pyarrow", "corpus", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr == 'error: pyarrow is not installed: pip install "protoleak[corpus]"\n'
    assert not (tmp_path / "out").exists()


def test_a_bundle_is_inspected_without_torch(tiny_bundle: Path) -> None:
    done = run_without("torch", "inspect", tiny_bundle)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tiny ")
