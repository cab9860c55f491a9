"""Plans of an encoder of Stable Diffusion 2.1's size, really built; one model is exported for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from protoleak.runtime.engines import EngineOptions, Graph

for package, reason in (
    ("tensorrt_rtx", "TensorRT-RTX is an extra"),
    ("torch", "torch exports the encoder"),
    ("diffusers", "diffusers has its layers"),
    ("onnx", "onnx holds it"),
):
    pytest.importorskip(package, reason=reason)

import torch  # noqa: E402

from protoleak.runtime.engines.tensorrt.builder import BuiltPlan, build_plan  # noqa: E402
from protoleak.runtime.engines.tensorrt.library import load_library  # noqa: E402
from protoleak.runtime.engines.tensorrt.settings import plan_key  # noqa: E402
from tests.runtime.engines.sd21 import exported, quantised  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")]
MIB = 2**20


@pytest.fixture(scope="module")
def fp32() -> bytes:
    return exported(torch.float32)


def built(model: bytes) -> BuiltPlan:
    library, graph, options = load_library("tensorrt-rtx"), Graph("latent encoder", model, ("z0",)), EngineOptions()
    key = plan_key(library, graph, options, ("8.6", "8.9", "12.0"))
    return build_plan(library, graph, key, b"", options.progress)


def test_fp32_plan_computes_in_fp32_alone(fp32: bytes) -> None:
    plan = built(fp32)
    assert set(plan.layers) == {"fp32"}
    assert plan.layers["fp32"] > 50
    assert 120 * MIB < len(plan.data) < 160 * MIB  # 34 million weights of 4 bytes


def test_fp16_plan_computes_in_fp16_and_takes_half_the_space() -> None:
    plan = built(exported(torch.float16))
    assert plan.layers["fp16"] > 50
    assert plan.layers["fp16"] > 5 * plan.layers.get("fp32", 0)
    assert 60 * MIB < len(plan.data) < 80 * MIB


def test_int8_plan_computes_its_convolutions_in_int8(fp32: bytes, tmp_path: Path) -> None:
    plan = built(quantised(fp32, tmp_path))
    assert plan.layers["int8"] >= 25  # the convolutions of the encoder; TensorRT may fuse some with what is around them
    assert len(plan.data) < 60 * MIB
