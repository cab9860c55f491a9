"""The executor on the processor."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.errors import EngineError
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS, Executor, Graphs, open_executor
from protoleak.runtime.noising import Noising
from tests.tiny_bundle import IMAGE_SIZE, make_image

IMAGES = np.stack([make_image(kind, kind, IMAGE_SIZE, IMAGE_SIZE) for kind in range(3)])


def opened(bundle: Bundle, engine: str = "onnxruntime") -> Executor:
    graphs = Graphs.of_variant(bundle.variant("fp32"))
    return open_executor(engine, graphs, bundle.manifest, bundle.noise_bank, location=bundle.path, threads=2)


def test_stages_are_given_when_asked_for_and_change_no_output(bundle: Bundle) -> None:
    executor = opened(bundle)
    alone, whole = executor.run(IMAGES), executor.run(IMAGES, stages=True)
    assert alone.z0 is None
    assert set(alone.stages) == set(ATTRIBUTOR_OUTPUTS)
    assert set(whole.stages) == {"z0", "z_t", *ATTRIBUTOR_OUTPUTS}
    assert whole.z0 is not None
    assert whole.z_t is not None
    np.testing.assert_array_equal(whole.z_t, Noising.of(bundle.manifest, bundle.noise_bank)(whole.z0))
    for name in ATTRIBUTOR_OUTPUTS:
        np.testing.assert_array_equal(whole.outputs[name], alone.outputs[name])


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_closed_executor_runs_nothing_and_closes_again(bundle: Bundle, engine: str) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is an extra")
    executor = opened(bundle, engine)
    executor.run(IMAGES)
    executor.close()
    executor.close()
    with pytest.raises(EngineError, match="closed: open the bundle again"):
        executor.run(IMAGES)


def test_closing_gives_the_engines_threads_back(bundle: Bundle) -> None:
    before = _threads()
    executor = opened(bundle)
    executor.run(IMAGES)
    assert _threads() > before  # both sessions have a pool of their own
    executor.close()
    latest = time.monotonic() + 5  # the timer that limits a run ends in its own time, on a busy machine
    while _threads() > before and time.monotonic() < latest:
        time.sleep(0.01)
    assert _threads() <= before
    assert threading.active_count() >= 1


def _threads() -> int:
    """Threads of this process, those of C++ libraries among them."""
    from pathlib import Path

    return len(list(Path("/proc/self/task").iterdir()))
