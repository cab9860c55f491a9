"""The default bundle is found where the package isn't a folder: in a zipapp, and in a program made by PyInstaller."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import zipapp
from importlib import import_module
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from protoleak.bundle.bundle import Bundle
from tests.paths import ROOT


def test_a_zipapp_reads_the_default_bundle_from_itself(tmp_path: Path) -> None:
    copytree(ROOT / "protoleak", tmp_path / "app" / "protoleak", ignore=ignore_patterns("__pycache__"))
    (tmp_path / "app" / "__main__.py").write_text(
        "from protoleak.bundle.bundle import Bundle\n"
        "bundle = Bundle.load()\n"
        "print(bundle.path, bundle.sha256, len(bundle.face_detector))\n"
    )
    zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, tmp_path / "app.pyz"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    path, sha256, size = done.stdout.split()
    bundle = Bundle.load()
    assert path.startswith(str(tmp_path / "app.pyz"))
    assert (sha256, int(size)) == (bundle.sha256, len(bundle.face_detector or b""))


def test_pyinstaller_is_told_of_the_hook() -> None:
    tomllib = pytest.importorskip("tomllib")
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pyinstaller40"][
        "hook-dirs"
    ]
    module, function = entry.split(":")
    (folder,) = getattr(import_module(module), function)()
    assert (Path(folder) / "hook-protoleak.py").is_file()


def test_the_hook_collects_the_default_bundle() -> None:
    pytest.importorskip("PyInstaller", reason="it runs the hook")
    (folder,) = import_module("protoleak.pyinstaller").hook_folders()
    found = runpy.run_path(str(Path(folder) / "hook-protoleak.py"))
    names = {Path(source).name for source, _ in found["datas"]}
    assert {"manifest.json", "latent_encoder.onnx", "attributor.onnx"} <= names
    assert "protoleak.screener" in found["hiddenimports"]
