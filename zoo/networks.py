"""Trains the zoo's networks on crops of the training split's images and of photographs. Results are files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.autoencoder import Autoencoder
from zoo.crops import crops_of
from zoo.decoders import Upsampling, train_decoder
from zoo.denoiser import train_denoiser
from zoo.settings import ZooSettings
from zoo.sources import Source
from zoo.steps import Measured

SMALLEST_CROP = 0.3  # of an image's short side
CROPS, LATENTS = "training_crops.npy", "training_latents.npy"


def make_training_latents(
    autoencoder: Autoencoder, sources: Sequence[Source], photographs: Sequence[Path], settings: ZooSettings, work: Path
) -> Measured:
    """Crops, uint8 [n, 256, 256, 3], and their latents, float16 [n, C, 32, 32]."""
    training = [source.path for source in sources if source.split == "train"]
    crops = np.concatenate(
        [
            crops_of(training, settings.crops_per_source, SMALLEST_CROP, settings.seed, "training"),
            crops_of(photographs, settings.crops_per_photograph, SMALLEST_CROP, settings.seed, "training"),
        ]
    )
    np.save(work / CROPS, crops)
    np.save(work / LATENTS, autoencoder.encode(crops, "latents to train on").astype(np.float16))
    return {"images": len(crops)}


def make_decoder(kind: Upsampling, sibling: int, settings: ZooSettings, work: Path) -> Measured:
    """One decoder. All start from the same seed, so that they see the same batches in the same order; siblings start
    from their decoder's weights, with a seed of their own."""
    error = train_decoder(
        kind,
        np.load(work / LATENTS),
        np.load(work / CROPS, mmap_mode="r"),
        settings.sibling_steps if sibling else settings.decoder_steps,
        settings.decoder_batch,
        settings.seed + sibling,
        settings.precision,
        decoder_path(kind, sibling, work),
        decoder_path(kind, 0, work) if sibling else None,
    )
    return {"mean_absolute_error": error}


def make_denoiser(settings: ZooSettings, work: Path) -> Measured:
    """The one denoiser that all schedules and samplers share."""
    loss = train_denoiser(
        np.load(work / LATENTS),
        settings.denoiser_steps,
        settings.denoiser_batch,
        settings.seed,
        settings.precision,
        denoiser_path(work),
    )
    return {"mean_squared_error": loss}


def decoder_path(kind: Upsampling, sibling: int, work: Path) -> Path:
    """Where `make_decoder` puts the weights."""
    return work / "decoders" / (f"{kind}_{sibling}.safetensors" if sibling else f"{kind}.safetensors")


def denoiser_path(work: Path) -> Path:
    """Where `make_denoiser` puts the weights."""
    return work / "denoiser.safetensors"
