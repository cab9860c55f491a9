"""What OpenVINO compiled is kept, gives the same numbers, and is never trusted where it could be another's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protoleak.runtime.engines import Graph, open_engine

pytest.importorskip("openvino", reason="OpenVINO is an extra")
pytest.importorskip("onnx", reason="onnx makes the graphs")
from protoleak.runtime.engines import openvino as module
from protoleak.runtime.engines import openvino_cache
from tests.runtime.engines.graphs import images, network


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROTOLEAK_CACHE", str(tmp_path))
    return tmp_path / "openvino"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for each graph that was compiled, and not taken from the cache."""
    found: list[int] = []
    keep = module._keep

    def counted(*arguments: Any) -> None:
        found.append(1)
        keep(*arguments)

    monkeypatch.setattr(module, "_keep", counted)
    return found


def outputs(of: Graph) -> np.ndarray:
    return open_engine("openvino", of, threads=1).run({"x": images(2)})["y"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_kept_graph_gives_the_same_bits(folder: Path, compiled: list[int], precision: str) -> None:
    of = network(precision)
    first = outputs(of)
    (blob,) = folder.glob("*.blob")
    assert blob.stat().st_mode & 0o077 == 0
    np.testing.assert_array_equal(outputs(of), first)
    assert len(compiled) == 1


def test_another_graph_or_another_setting_is_another_entry(folder: Path, compiled: list[int]) -> None:
    outputs(network("fp32"))
    outputs(network("int8"))
    open_engine("openvino", network("fp32"), threads=2)
    assert len(compiled) == len(list(folder.glob("*.blob"))) == 3


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "sealed rubbish", "of another graph"])
def test_what_is_damaged_is_compiled_again_and_replaced(folder: Path, compiled: list[int], damage: str) -> None:
    of = network("fp32")
    first = outputs(of)
    (blob,) = folder.glob("*.blob")
    data = blob.read_bytes()
    if damage == "sealed rubbish":  # as whoever may write there could leave it
        content = b"no graph at all" * 100
        data = hashlib.sha256(blob.stem.encode() + content).digest() + content
    elif damage == "of another graph":
        outputs(network("int8"))
        data = next(one for one in folder.glob("*.blob") if one != blob).read_bytes()
        compiled.pop()
    else:
        data = {"cut": data[:-100], "changed": data[:500] + b"\0\1\2\3" + data[504:], "empty": b""}[damage]
    blob.write_bytes(data)
    np.testing.assert_array_equal(outputs(of), first)
    assert len(compiled) == 2
    np.testing.assert_array_equal(outputs(of), first)
    assert len(compiled) == 2


def test_what_another_user_could_have_written_is_not_read(folder: Path, compiled: list[int]) -> None:
    outputs(network("fp32"))
    (blob,) = folder.glob("*.blob")
    blob.chmod(0o622)
    outputs(network("fp32"))
    assert len(compiled) == 2
    folder.chmod(0o777)
    outputs(network("fp32"))
    assert len(compiled) == 3


def test_a_cache_that_cannot_be_written_is_none(monkeypatch: pytest.MonkeyPatch, compiled: list[int]) -> None:
    monkeypatch.setenv("PROTOLEAK_CACHE", "/dev/null")
    np.testing.assert_array_equal(outputs(network("fp32")), outputs(network("fp32")))
    assert len(compiled) == 2


def test_the_oldest_make_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_cache, "MOST_BYTES", 2500)
    for index in range(4):
        openvino_cache.store(f"{index:064x}", bytes(1000))
        (folder / f"{index:064x}.blob").touch()
    assert sorted(path.stem[-1] for path in folder.glob("*.blob")) == ["2", "3"]


def test_the_converter_is_there_for_whoever_asks_for_it() -> None:
    openvino = module.import_openvino()
    assert callable(openvino.convert_model)
