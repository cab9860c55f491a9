"""The configurations are read by Triton's own reader, and say what is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from google.protobuf import text_format

from protoleak.bundle.bundle import Bundle
from protoleak.serving.triton.configuration import ensemble_files, looks_of, single_file
from protoleak.serving.triton.settings import Backend, RepositorySettings

model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason='pip install "tritonclient[grpc]"')


def parsed(text: str) -> Any:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.fixture(params=get_args(Backend))
def configurations(request: pytest.FixtureRequest, tiny_look_bundle: Path) -> dict[str, Any]:
    backend: Backend = request.param
    manifest = Bundle.load(tiny_look_bundle).manifest
    texts = ensemble_files(manifest, RepositorySettings(backend=backend, batch_maximum=8, queue=5, instances=3))
    return {name: parsed(text) for name, text in texts.items()}


def test_the_steps_pass_their_tensors_on(configurations: dict[str, Any]) -> None:
    """Every tensor has one maker, and the shapes on both sides agree: -1 faces where a side has no batch."""
    ensemble = configurations["protoleak"]
    made = {"image"}
    for step in ensemble.ensemble_scheduling.step:
        config = configurations[step.model_name]
        assert set(step.input_map) == {each.name for each in config.input}
        assert set(step.output_map) == {each.name for each in config.output}
        assert set(step.input_map.values()) <= made
        made |= set(step.output_map.values())
    assert {"verdicts"} == {each.name for each in ensemble.output} <= made
    full: dict[str, set[tuple[int, ...]]] = {}
    for config in configurations.values():
        for each in (*config.input, *config.output):
            batch = (-1,) if config.max_batch_size else ()
            full.setdefault(each.name, set()).add((*batch, *each.dims))
    assert {name: shapes for name, shapes in full.items() if len(shapes) > 1} == {}


def test_graphs_are_batched_without_delay_and_queues_are_bounded(configurations: dict[str, Any]) -> None:
    assert configurations["protoleak"].max_batch_size == 16
    for name in ("latent_encoder", "attributor"):
        assert configurations[name].max_batch_size == 8
    for name in ("prepare", "latent_encoder", "attributor", "decide"):
        batching = configurations[name].dynamic_batching
        assert batching.max_queue_delay_microseconds == 0
        assert batching.default_queue_policy.max_queue_size == 5
        assert batching.default_queue_policy.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT
    for config in configurations.values():
        assert config.version_policy.latest.num_versions == 1
    assert configurations["prepare"].instance_group[0].count == 3


def test_warm_up_and_files(configurations: dict[str, Any], tiny_look_bundle: Path) -> None:
    (image,) = configurations["prepare"].model_warmup
    assert image.inputs["image"].input_data_file == "image"
    (face,) = configurations["latent_encoder"].model_warmup
    assert tuple(face.inputs["looks"].dims) == looks_of(Bundle.load(tiny_look_bundle).manifest)
    encoder = configurations["latent_encoder"]
    backend = {"onnxruntime_onnx": "model.onnx", "tensorrt_plan": "model.plan"}
    assert encoder.default_model_filename == backend[encoder.platform]


def test_the_single_model_has_the_interface_of_the_ensemble(configurations: dict[str, Any]) -> None:
    (text,) = single_file(RepositorySettings(single=True, batch_maximum=8)).values()
    single, ensemble = parsed(text), configurations["protoleak"]
    assert (single.name, single.backend, single.max_batch_size) == ("protoleak", "python", 8)
    assert [(each.name, each.data_type, list(each.dims)) for each in (*single.input, *single.output)] == [
        (each.name, each.data_type, list(each.dims)) for each in (*ensemble.input, *ensemble.output)
    ]
