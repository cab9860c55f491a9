"""What tests of the executors share."""

from __future__ import annotations

from pathlib import Path

import pytest

from protoleak.bundle.bundle import Bundle


@pytest.fixture(scope="session")
def plan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one test built, the others needn't."""
    return tmp_path_factory.mktemp("plans")


@pytest.fixture
def look_bundle(tiny_look_bundle: Path, plan_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The tiny bundle with three looks, for executors on a played GPU."""
    monkeypatch.setenv("PROTOLEAK_CACHE", str(plan_folder))
    return Bundle.load(tiny_look_bundle)


@pytest.fixture
def bundle(tiny_bundle: Path, plan_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The tiny bundle, for executors on a played GPU."""
    monkeypatch.setenv("PROTOLEAK_CACHE", str(plan_folder))
    return Bundle.load(tiny_bundle)
