"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from protoleak.bundle.bundle import write_bundle
from protoleak.bundle.manifest import Manifest
from tests.paths import SHARED


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data beside the project; tests that need it skip where it isn't there."""
    if not SHARED.is_dir():
        pytest.skip(f"the shared data folder is not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def tiny_files() -> tuple[Manifest, dict[str, bytes]]:
    """Manifest and files of a small bundle with real graphs; see tiny_bundle.py."""
    pytest.importorskip("onnx", reason="onnx makes the small bundle's graphs")
    from tests.tiny_bundle import tiny_bundle_files

    return tiny_bundle_files()


@pytest.fixture(scope="session")
def tiny_bundle(tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That bundle as a directory, not to be changed."""
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    write_bundle(path, *tiny_files)
    return path


@pytest.fixture(scope="session")
def tiny_look_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle with three looks, face, native and image, not to be changed; see tiny_bundle.py."""
    pytest.importorskip("onnx", reason="onnx makes the small bundle's graphs")
    from tests.tiny_bundle import tiny_bundle_files

    path = tmp_path_factory.mktemp("bundles") / "looks"
    write_bundle(path, *tiny_bundle_files(("face", "native", "image")))
    return path


@pytest.fixture
def runs_as_root() -> bool:
    """Root reads files whatever their permissions, so tests of unreadable files skip then."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
