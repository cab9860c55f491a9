"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from protoleak.bundle.manifest import Manifest
from protoleak.bundle.writer import write_bundle
from tests.paths import SHARED, TOKEN

FLOOR = -0.5  # best class score below which an image of the small bundle lies far from everything

if TYPE_CHECKING:
    from protoleak.model.checkpoint import TrainedModel


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
def enrollable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle that generators can be enrolled in, not to be changed; see tiny_bundle.py."""
    pytest.importorskip("onnx", reason="onnx makes the small bundle's graphs")
    from tests.tiny_bundle import tiny_bundle_files

    path = tmp_path_factory.mktemp("bundles") / "enrollable"
    write_bundle(path, *tiny_bundle_files(floor=FLOOR))
    return path


@pytest.fixture(scope="session")
def tiny_look_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle with three looks, face, native and image, not to be changed; see tiny_bundle.py."""
    pytest.importorskip("onnx", reason="onnx makes the small bundle's graphs")
    from tests.tiny_bundle import tiny_bundle_files

    path = tmp_path_factory.mktemp("bundles") / "looks"
    write_bundle(path, *tiny_bundle_files(("face", "native", "image")))
    return path


@pytest.fixture(scope="session")
def face_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators and a camera class of images with a face, not to be changed; see look_bundle.py."""
    from tests.look_bundle import write_data

    return write_data(tmp_path_factory.mktemp("faces") / "data")


@pytest.fixture(scope="session")
def look_model(face_data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """Trained on them in three looks."""
    torch = pytest.importorskip("torch", reason="PyTorch trains")
    from tests.look_bundle import train_small

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return train_small(face_data, tmp_path_factory.mktemp("look_model"))
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def exported_looks(look_model: TrainedModel, face_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of that model, with YuNet and with margins of what was left out; not to be changed."""
    from tests.look_bundle import export_small

    return export_small(look_model, face_data, tmp_path_factory.mktemp("exported_looks"))


@pytest.fixture(scope="session")
def default_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with the default bundle that wants `tests.paths.TOKEN`."""
    pytest.importorskip("uvicorn", reason="it serves: pip install 'protoleak[serve]'")
    from tests.serving.running import ENGINE, RunningServer

    token = tmp_path_factory.mktemp("served") / "token"
    token.write_text(TOKEN)
    with RunningServer("--token-file", token, *ENGINE, "--no-isolate", "--request-seconds", "120") as running:
        yield f"http://127.0.0.1:{running.port}"


@pytest.fixture
def runs_as_root() -> bool:
    """Root reads files whatever their permissions, so tests of unreadable files skip then."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
