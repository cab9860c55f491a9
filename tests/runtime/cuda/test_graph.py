"""When stages run one by one, when they are captured, and which graphs are kept; on a worker that keeps the order."""

from __future__ import annotations

from typing import Any

import pytest

from protoleak.errors import EngineOutOfMemory
from protoleak.runtime.cuda.graph import CaptureRefused, GraphPerBatchSize, Stage


class RecordingBuilder:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    def begin_building(self, mode: str) -> RecordingBuilder:
        self.log.append(f"begin {mode}")
        return self

    def end_building(self) -> RecordingBuilder:
        self.log.append("end")
        return self

    def complete(self) -> RecordingBuilder:
        self.log.append("complete")
        return self

    def launch(self, _: object) -> None:
        self.log.append("launch")

    def close(self) -> None:
        pass


class RecordingStreamWorker:
    """Keeps the order of what a graph needs of a worker."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.stream = self

    def synchronize(self) -> None:
        pass

    def create_graph_builder(self) -> RecordingBuilder:
        return RecordingBuilder(self.log)


def test_a_batch_size_runs_once_plainly_and_is_captured_then() -> None:
    worker: Any = RecordingStreamWorker()
    graph = GraphPerBatchSize(
        worker,
        [
            Stage("latent encoder", lambda n: worker.log.append(f"z0 {n}")),
            Stage("noising", lambda n: worker.log.append(f"z_t {n}")),
        ],
    )
    for size in (2, 2, 2, 3, 3):
        graph.enqueue(size)
        worker.log.append("|")
    capture = "begin thread_local z0 {0} z_t {0} end complete launch |"
    expected = " ".join(["z0 2 z_t 2 |", capture.format(2), "launch |", "z0 3 z_t 3 |", capture.format(3)])
    assert " ".join(worker.log) == expected
    assert graph.captured == (2, 3)


def test_input_at_another_address_has_another_graph_and_the_oldest_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("protoleak.runtime.cuda.graph.MOST_GRAPHS", 2)
    worker: Any = RecordingStreamWorker()
    graph = GraphPerBatchSize(worker, [Stage("noising", lambda _: worker.log.append("z_t"))])
    for address in (512, 512, 1024, 512, 2048, 512, 1024):
        graph.enqueue(1, address)
        worker.log.append("|")
    capture = "begin thread_local z_t end complete launch |"
    # 2048 drives out 1024, which was used longest ago, so 1024 begins anew.
    assert " ".join(worker.log) == f"z_t | {capture} z_t | launch | z_t | launch | z_t |"
    assert graph.captured == (1,)


def test_switched_off_it_captures_nothing() -> None:
    worker: Any = RecordingStreamWorker()
    graph = GraphPerBatchSize(worker, [Stage("noising", lambda n: worker.log.append(f"z_t {n}"))], enabled=False)
    graph.enqueue(1)
    graph.enqueue(1)
    assert worker.log == ["z_t 1", "z_t 1"]
    assert graph.captured == ()


def test_a_stage_that_cannot_be_captured_is_named_and_the_capture_is_ended() -> None:
    worker: Any = RecordingStreamWorker()

    def allocates(size: int) -> None:  # noqa: ARG001
        if "begin thread_local" in worker.log:
            raise RuntimeError("operation not permitted when stream is capturing")

    graph = GraphPerBatchSize(worker, [Stage("attributor", allocates)])
    graph.enqueue(4)
    with pytest.raises(
        CaptureRefused, match="the attributor cannot be captured in a CUDA graph for batch size 4: operation"
    ):
        graph.enqueue(4)
    assert worker.log == ["begin thread_local", "end"]


def test_memory_that_runs_out_in_a_stage_is_that_error_still() -> None:
    worker: Any = RecordingStreamWorker()

    def fails(size: int) -> None:
        raise EngineOutOfMemory(f"tensorrt ran out of GPU memory in the attributor at {size}")

    with pytest.raises(EngineOutOfMemory, match=r"^tensorrt ran out"):
        GraphPerBatchSize(worker, [Stage("attributor", fails)]).enqueue(2)
