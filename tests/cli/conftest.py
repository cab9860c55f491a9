"""A latent encoder, images and options for runs of the whole command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protoleak.bundle.bundle import DEFAULT_BUNDLE
from protoleak.bundle.reader import FACE_DETECTOR
from protoleak.cli.app import main

# As small as the network can be and still tell the two kinds apart.
SMALL = ["--settings", Path(__file__).with_name("small_training.toml"), "--epochs", 16]
CPU = ("--engine", "onnxruntime", "--threads", 1)
FACES = ("--faces", "yunet", "--face-model", DEFAULT_BUNDLE / FACE_DETECTOR)
Run = Callable[..., int]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Latents are cached in a folder of the tests' own, and one thread does small work fastest."""
    monkeypatch.setenv("PROTOLEAK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    torch = sys.modules.get("torch")  # tests of commands that don't need it run without
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators, not to be changed."""
    from tests.export.conftest import write_data

    return write_data(
        tmp_path_factory.mktemp("commands") / "data", {"columns": "columns", "rows": "rows"}, (20, 6, 12, 4)
    )


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.training.images import write_latent_encoder

    return write_latent_encoder(tmp_path_factory.mktemp("encoder") / "encoder.onnx")


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a command line of any objects and returns the exit status."""
    return lambda *arguments: main([str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def screen(run: Run, tiny_bundle: Path) -> Run:
    """`protoleak screen` with the small bundle."""
    return lambda *arguments: run("screen", *arguments, "--bundle", tiny_bundle, *CPU)


@pytest.fixture(scope="session")
def model(data: Path, encoder: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained by the command, not to be changed."""
    out = tmp_path_factory.mktemp("trained") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROTOLEAK_CACHE", str(out.parent / "cache"))
        assert run("train", data, "--latent-encoder", encoder, "--out", out, *SMALL) == 0
    return out


@pytest.fixture
def one_line(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was printed on standard error since the last look, which must be one line."""

    def read() -> str:
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        return lines[0]

    return read
