"""The config.pbtxt of each model, as text: protocol buffers in their text form, `inference.ModelConfig`.

Three things here have been measured, see docs/decisions/0024-triton.md: no `max_queue_delay_microseconds`, a bound on
every queue, and a warm-up that reads its image from a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protoleak.bundle.manifest import Manifest
from protoleak.serving.triton.graphs import LOOKS, Z0, output_shapes
from protoleak.serving.triton.settings import IMAGES_MAXIMUM, Backend, RepositorySettings

# The models, and the tensors between them that are no tensors of a graph.
SERVED, PREPARE, LATENT_ENCODER, ATTRIBUTOR, DECIDE = "protoleak", "prepare", "latent_encoder", "attributor", "decide"
ENCODED, ABOUT, VERDICTS = "image", "about", "verdicts"
WARM_UP = "image"  # the file in a model's folder `warmup`
BYTES, FLOAT, UINT8 = "TYPE_STRING", "TYPE_FP32", "TYPE_UINT8"
GRAPH_FILES: dict[Backend, str] = {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}
PLATFORMS: dict[Backend, str] = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}


def ensemble_files(manifest: Manifest, settings: RepositorySettings) -> dict[str, str]:
    """Model → config.pbtxt of the ensemble. Its batch is images; that of the graphs is faces, so the Python models
    between have none, and their first axes are free."""
    looks, latents, outputs = (
        looks_of(manifest),
        (len(manifest.preprocessing.looks), *manifest.latent_shape),
        {name: (FLOAT, shape) for name, shape in output_shapes(manifest).items()},
    )
    free_outputs = {name: (kind, (-1, *shape)) for name, (kind, shape) in outputs.items()}
    return {
        SERVED: "".join(
            [
                _head(SERVED, 'platform: "ensemble"', IMAGES_MAXIMUM),
                _tensors("input", {ENCODED: (BYTES, (1,))}),
                _tensors("output", {VERDICTS: (BYTES, (1,))}),
                _steps(
                    (PREPARE, [ENCODED], [LOOKS, ABOUT]),
                    (LATENT_ENCODER, [LOOKS], [Z0]),
                    (ATTRIBUTOR, [Z0], list(outputs)),
                    (DECIDE, [ABOUT, *outputs], [VERDICTS]),
                ),
            ]
        ),
        PREPARE: "".join(
            [
                _python(PREPARE, 0, settings.instances),
                _tensors("input", {ENCODED: (BYTES, (-1, 1))}),
                _tensors("output", {LOOKS: (UINT8, (-1, *looks)), ABOUT: (BYTES, (1,))}),
                _queue(settings.queue),
                _image_warm_up((1, 1)),
            ]
        ),
        LATENT_ENCODER: _graph(LATENT_ENCODER, {LOOKS: (UINT8, looks)}, {Z0: (FLOAT, latents)}, settings),
        ATTRIBUTOR: _graph(ATTRIBUTOR, {Z0: (FLOAT, latents)}, outputs, settings),
        DECIDE: "".join(
            [
                _python(DECIDE, 0, 1),
                _tensors("input", {ABOUT: (BYTES, (1,)), **free_outputs}),
                _tensors("output", {VERDICTS: (BYTES, (-1, 1))}),
                _queue(settings.queue),
            ]
        ),
    }


def single_file(settings: RepositorySettings) -> dict[str, str]:
    """The config.pbtxt of the one model of `--single`, which has the ensemble's name, input and output."""
    return {
        SERVED: "".join(
            [
                _python(SERVED, settings.batch_maximum, 1),
                _tensors("input", {ENCODED: (BYTES, (1,))}),
                _tensors("output", {VERDICTS: (BYTES, (1,))}),
                _queue(settings.queue),
                _image_warm_up((1,)),
            ]
        )
    }


def looks_of(manifest: Manifest) -> tuple[int, int, int, int]:
    """[L, S, S, 3] of one face."""
    side = manifest.preprocessing.image_size
    return len(manifest.preprocessing.looks), side, side, 3


def _head(name: str, what: str, batch_maximum: int) -> str:
    return (
        f'name: "{name}"\n{what}\nmax_batch_size: {batch_maximum}\nversion_policy: {{ latest {{ num_versions: 1 }} }}\n'
    )


def _python(name: str, batch_maximum: int, instances: int) -> str:
    head = _head(name, 'backend: "python"', batch_maximum)
    return f"{head}instance_group [ {{ kind: KIND_CPU count: {instances} }} ]\n"


def _graph(
    name: str,
    inputs: Mapping[str, tuple[str, tuple[int, ...]]],
    outputs: Mapping[str, tuple[str, tuple[int, ...]]],
    settings: RepositorySettings,
) -> str:
    warm = "\n".join(
        f'    inputs {{ key: "{tensor}" value {{ data_type: {kind} dims: {_dims(shape)} zero_data: true }} }}'
        for tensor, (kind, shape) in inputs.items()
    )
    return "".join(
        [
            _head(name, f'platform: "{PLATFORMS[settings.backend]}"', settings.batch_maximum),
            f'default_model_filename: "{GRAPH_FILES[settings.backend]}"\n',
            "instance_group [ { kind: KIND_GPU count: 1 } ]\n" if settings.backend == "tensorrt" else "",
            _tensors("input", inputs),
            _tensors("output", outputs),
            _queue(settings.queue),
            f'model_warmup [\n  {{\n    name: "one black face"\n    batch_size: 1\n{warm}\n  }}\n]\n',
        ]
    )


def _tensors(side: str, tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> str:
    each = ",\n".join(
        f'  {{ name: "{name}" data_type: {kind} dims: {_dims(shape)} }}' for name, (kind, shape) in tensors.items()
    )
    return f"{side} [\n{each}\n]\n"


def _dims(shape: Iterable[int]) -> str:
    return f"[ {', '.join(map(str, shape))} ]"


def _queue(length: int) -> str:
    """No delay: a batch is what waits when the model becomes free."""
    return f"dynamic_batching {{\n  default_queue_policy {{ timeout_action: REJECT max_queue_size: {length} }}\n}}\n"


def _image_warm_up(dims: tuple[int, ...]) -> str:
    return (
        'model_warmup [\n  {\n    name: "one image"\n    batch_size: 1\n'
        f'    inputs {{ key: "{ENCODED}" value {{ data_type: {BYTES} dims: {_dims(dims)} '
        f'input_data_file: "{WARM_UP}" }} }}\n'
        "  }\n]\n"
    )


def _steps(*steps: tuple[str, list[str], list[str]]) -> str:
    """The models of the ensemble, whose tensors have the same names inside and outside."""
    texts = []
    for model, inputs, outputs in steps:
        maps = [
            f'      {side}_map {{ key: "{name}" value: "{name}" }}'
            for side, names in (("input", inputs), ("output", outputs))
            for name in names
        ]
        texts.append("\n".join(["    {", f'      model_name: "{model}"', "      model_version: -1", *maps, "    }"]))
    return "ensemble_scheduling {\n  step [\n" + ",\n".join(texts) + "\n  ]\n}\n"
