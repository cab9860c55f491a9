"""Eager PyTorch of the same model: what the engines are compared with. The one file here that imports torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from protoleak.bench.timing import Line, Sample
from protoleak.bundle.manifest import Manifest
from protoleak.errors import CheckpointError
from protoleak.images.decode import open_image
from protoleak.images.preprocess import preprocess
from protoleak.model.checkpoint import ModelConfig, load_model
from protoleak.model.latent_encoder import LatentEncoder
from protoleak.model.torch_latent_encoder import TorchLatentEncoder


def eager_line(model_directory: Path, manifest: Manifest, threads: int | None = None) -> Line:
    """Encoded images to the attribution network's outputs in eager PyTorch, float32, on the CPU.

    It does the work of the research code: decode, preprocess, encode, add noise, attribute. The density and the
    decision, which a bundle has on top, are left out, in the baseline's favour.

    Args:
        manifest: of the bundle that it is compared with.
        threads: PyTorch's, for the whole process; None leaves them.

    Raises:
        CheckpointError: no such model, another model than the bundle's, or a latent encoder that isn't PyTorch.
        MissingExtra: diffusers is needed and not installed.
    """
    model = load_model(model_directory)
    config, encoder, attributor = model.config, model.latent_encoder, model.attributor.eval()
    _check_same(model_directory, config, encoder, manifest)
    if threads is not None:
        torch.set_num_threads(threads)
    noise = config.noise_bank()

    def run(images: Sequence[bytes]) -> Sample:
        clock = [time.perf_counter()]
        opened = [open_image(image).image for image in images]
        clock.append(time.perf_counter())
        pixels = np.stack([preprocess(image, config.image_size) for image in opened])
        clock.append(time.perf_counter())
        z0 = encoder.encode(pixels)
        clock.append(time.perf_counter())
        z_t = config.noised(z0, noise)
        clock.append(time.perf_counter())
        with torch.inference_mode():
            attributor(torch.from_numpy(z_t)).class_score.numpy()
        clock.append(time.perf_counter())
        names = ("decode", "preprocess", "latent_encoder", "noising", "attributor")
        spent = [1000 * (after - before) for before, after in pairwise(clock)]
        return Sample(len(images), 1000 * (clock[-1] - clock[0]), dict(zip(names, spent, strict=True)))

    return run


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
        "image size": (config.image_size, manifest.preprocessing.image_size),
        "latent shape": (tuple(config.latent_shape), tuple(manifest.latent_shape)),
        "latent encoder": (encoder.fingerprint, fingerprint or encoder.fingerprint),
    }
    for what, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise CheckpointError(
                f"--model {directory} is not the model of this bundle: {what} {ours} there, {theirs} in the bundle"
            )
