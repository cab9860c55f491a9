"""From the cache to a loaded plan. Deserialising needs a GPU, so that step alone is played; the rest is real."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from protoleak.errors import EngineError
from protoleak.runtime.engines import EngineOptions
from protoleak.runtime.engines.gpu import Gpu
from protoleak.runtime.engines.tensorrt.plan_cache import Plan, PlanCache
from tests.runtime.engines.test_plan_cache import path_of


@pytest.fixture
def notes() -> list[str]:
    return []


def loaded(_: bytes) -> str | None:
    return "engine"


def refused(_: bytes) -> str | None:
    return None


class TestOpening:
    GPU = Gpu("NVIDIA GeForce RTX 4070", "8.9", 12 * 2**30, integrated=False)

    @pytest.fixture(autouse=True)
    def real_parts(self, tmp_path: Path, notes: list[str]) -> None:
        pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an extra")
        pytest.importorskip("onnx", reason="onnx makes the graphs")
        from protoleak.runtime.engines.tensorrt.library import load_library
        from tests.runtime.engines.graphs import network

        self.notes = notes
        self.library = load_library("tensorrt-rtx")
        self.graph = network("fp32")
        self.options = EngineOptions(notify=notes.append)
        self.cache = PlanCache(tmp_path / "plans", notes.append)

    def open(self, deserialise: object) -> tuple[object, Plan]:
        from protoleak.runtime.engines.tensorrt.plans import open_plan

        return open_plan(self.library, self.graph, self.options, self.GPU, self.cache, deserialise)  # type: ignore[arg-type]

    def test_second_time_the_plan_comes_from_the_cache(self) -> None:
        assert not self.open(loaded)[1].cached
        engine, plan = self.open(loaded)
        assert plan.cached
        assert engine == "engine"
        assert self.notes == []

    def test_plan_built_ahead_for_several_gpus_with_another_profile_is_taken(self) -> None:
        from protoleak.runtime.engines.tensorrt.plans import obtain_plan

        ahead = replace(self.options, batch_maximum=32)
        built = obtain_plan(self.library, self.graph, ahead, ("8.6", "8.9"), self.cache)
        _, plan = self.open(loaded)
        assert plan.cached
        assert plan.record == built.record

    def test_plan_damaged_on_disk_is_built_again(self) -> None:
        path = path_of(self.open(loaded)[1])
        path.write_bytes(path.read_bytes()[:1000])
        engine, plan = self.open(loaded)
        assert engine == "engine"
        assert not plan.cached
        assert len(self.notes) == 1
        assert hashlib.sha256(path.read_bytes()).hexdigest() == plan.record.plan_sha256

    def test_cached_plan_that_tensorrt_refuses_is_discarded_and_built_again_once(self) -> None:
        self.open(loaded)
        answers = iter([None, "engine"])
        engine, plan = self.open(lambda _: next(answers))
        assert engine == "engine"
        assert not plan.cached
        assert "cannot use the cached plan" in self.notes[0]

    def test_fresh_plan_that_tensorrt_refuses_is_one_clear_error(self) -> None:
        with pytest.raises(EngineError, match="cannot load the plan that it has just built for the attributor"):
            self.open(refused)
        assert not list(self.cache.folder.glob("*.plan"))
