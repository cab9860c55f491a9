"""What PyInstaller is told to put into a frozen program, beside what imports show it."""

from __future__ import annotations

import runpy
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest

from tests.paths import ROOT

HOOKS = ROOT / "protoleak" / "pyinstaller"


def test_openvino_is_frozen_with_what_it_opens_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO is an extra")

    def collect_dynamic_libs(package: str, search_patterns: list[str]) -> list[tuple[str, str]]:
        """As PyInstaller's: all files below the package that match a pattern, with the folder that each goes to."""
        assert package == "openvino"
        home = Path(openvino.__file__).parent
        files = [file for file in home.rglob("*") if any(fnmatch(file.name, pattern) for pattern in search_patterns)]
        return [(str(file), str(file.parent.relative_to(home.parent))) for file in files]

    played = ModuleType("PyInstaller.utils.hooks")
    played.collect_dynamic_libs = collect_dynamic_libs  # type: ignore[attr-defined]
    for name in ("PyInstaller", "PyInstaller.utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, played.__name__, played)
    binaries = runpy.run_path(str(HOOKS / "hook-openvino.py"))["binaries"]
    names = [Path(source).name for source, _ in binaries]
    for wanted in ("_cpu_plugin", "_onnx_frontend", "_ir_frontend"):
        assert any(wanted in name for name in names), (wanted, names)
    assert not any("gpu" in name or "npu" in name for name in names)
