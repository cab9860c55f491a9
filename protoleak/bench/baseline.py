"""Eager PyTorch of the same model: what the engines are compared with. The one file here that imports torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import torch

from protoleak.arrays import Array
from protoleak.bench.timing import Sample, Workload
from protoleak.bundle.manifest import Manifest
from protoleak.errors import CheckpointError
from protoleak.images.open import open_image
from protoleak.model.checkpoint import TrainedModel, attributor_outputs, load_model
from protoleak.model.latent_encoder import LatentEncoder
from protoleak.model.model_config import ModelConfig
from protoleak.model.torch_latent_encoder import TorchLatentEncoder
from protoleak.runtime.engines import EngineDescription
from protoleak.runtime.executors import ExpectedShapes, HostExecutor
from protoleak.runtime.noising import Noising


def eager_pytorch(model_directory: Path, manifest: Manifest, threads: int | None = None) -> Workload:
    """Encoded images to the attribution network's outputs in eager PyTorch, float32, on the CPU.

    It does the work of the research code: decode, preprocess, encode, add noise, attribute. Images are judged whole.
    The density and the decision, which a bundle has on top, are left out, in the baseline's favour.

    Args:
        manifest: of the bundle that it is compared with.
        threads: PyTorch's, for the whole process; None leaves them.

    Raises:
        CheckpointError: no such model, another model than the bundle's, or a latent encoder that isn't PyTorch.
        MissingExtra: diffusers is needed and not installed.
    """
    model = load_model(model_directory)
    config, encoder = model.config, model.latent_encoder
    _check_same(model_directory, config, encoder, manifest)
    if threads is not None:
        torch.set_num_threads(threads)
    executor = HostExecutor(
        _EagerEngine(lambda feeds: {"z0": model.encode(feeds["image"])}),
        _EagerEngine(partial(_attribute, model)),
        Noising.of(manifest, config.noise_bank()),
        # The network in PyTorch takes noised latents, whatever the bundle's graph does.
        ExpectedShapes(model_directory, msgspec.structs.replace(manifest, attributor_input="z_t")),
    )

    def run(images: Sequence[bytes]) -> Sample:
        started = time.perf_counter()
        opened = [open_image(image, upright=config.framing.upright).pixels for image in images]
        decoded = time.perf_counter()
        pixels = np.concatenate([config.framing.frame(image, None) for image in opened])
        preprocessed = time.perf_counter()
        given = executor.run(pixels)
        spent = {"decode": 1000 * (decoded - started), "preprocess": 1000 * (preprocessed - decoded)}
        return Sample(len(images), 1000 * (time.perf_counter() - started), spent | given.milliseconds)

    return run


@dataclass(frozen=True)
class _EagerEngine:
    """A PyTorch module as an engine, so that the executor that runs the bundles runs it too."""

    compute: Callable[[Mapping[str, Array]], dict[str, Array]]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return self.compute(feeds)

    def describe(self) -> EngineDescription:
        return EngineDescription("pytorch", "CPU", {"torch": torch.__version__})

    def close(self) -> None:
        """Nothing is held beside the module."""


def _attribute(model: TrainedModel, feeds: Mapping[str, Array]) -> dict[str, Array]:
    outputs: dict[str, Array] = {**attributor_outputs(model, feeds["z_t"])}
    return outputs | {"log_density": np.zeros(len(feeds["z_t"]), dtype=np.float32)}  # the network alone has none


def _check_same(directory: Path, config: ModelConfig, encoder: LatentEncoder, manifest: Manifest) -> None:
    if not isinstance(encoder, TorchLatentEncoder):
        raise CheckpointError(
            f"--model {directory}: its latent encoder is of kind {encoder.kind}, which PyTorch does not run: there is "
            "no baseline for it"
        )
    recorded = manifest.provenance.get("latent_encoder")
    fingerprint = recorded.get("fingerprint") if isinstance(recorded, dict) else None
    pairs = {
        "generators": (config.generators, list(manifest.generators)),
        "timesteps": (config.timesteps, list(manifest.timesteps)),
        "noise seed": (config.noise_seed, manifest.noise_seed),
        "framing": (config.framing, manifest.preprocessing.framing),
        "amplitudes": (config.amplitudes, manifest.amplitudes),
        "latent shape": (tuple(config.latent_shape), tuple(manifest.latent_shape)),
        "latent encoder": (encoder.fingerprint, fingerprint or encoder.fingerprint),
    }
    for what, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise CheckpointError(
                f"--model {directory} is not the model of this bundle: {what} {ours} there, {theirs} in the bundle"
            )
