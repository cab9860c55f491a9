"""Makes the images of each generator from the same crops and latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from protoleak.arrays import Float32Array, UInt8Array
from zoo import dcgan
from zoo.autoencoder import Autoencoder, to_pixels
from zoo.crops import SIZE, crops_of, random_of
from zoo.decoders import load_decoder
from zoo.denoiser import LatentDenoiser
from zoo.files import write_image
from zoo.generators import DecoderOf, Denoised, Gan, Generator, Original
from zoo.inputs import SYNTHETIC
from zoo.networks import decoder_path, denoiser_path
from zoo.samplers import ddim_levels, karras_levels, sample
from zoo.settings import ZooSettings
from zoo.sources import Source
from zoo.steps import Measured

SMALLEST_CROP = 0.5  # of a source's short side: most of a face stays in the image
SMALLEST_NEGATIVE = 0.3
CROPS, LATENTS = "source_crops.npy", "source_latents.npy"
AT_ONCE = 8


@dataclass(frozen=True)
class Content:
    """What all generators re-make.

    Attributes:
        sources: in order.
        crops: uint8 [n, 256, 256, 3], one per source.
        latents: of the crops, float32 [n, C, 32, 32].
    """

    sources: Sequence[Source]
    crops: UInt8Array
    latents: Float32Array


def make_content(autoencoder: Autoencoder, sources: Sequence[Source], settings: ZooSettings, work: Path) -> Measured:
    """One crop of every source, and its latent."""
    crops = crops_of([source.path for source in sources], 1, SMALLEST_CROP, settings.seed, "content")
    np.save(work / CROPS, crops)
    np.save(work / LATENTS, autoencoder.encode(crops, "latents of the content"))
    return {"images": len(crops)}


def load_content(sources: Sequence[Source], work: Path) -> Content:
    """What `make_content` wrote for these sources."""
    return Content(sources, np.load(work / CROPS), np.load(work / LATENTS))


def make_images(
    generator: Generator,
    content: Content,
    autoencoder: Autoencoder,
    dcgan_weights: Path | None,
    settings: ZooSettings,
    work: Path,
    folder: Path,
) -> Measured:
    """Writes one generator's images, named after their sources; a GAN's are numbered, and as many."""
    pipeline = generator.pipeline
    if isinstance(pipeline, Original):
        names = [s.name for s in content.sources if (s.collection == SYNTHETIC) == pipeline.synthetic]
        chosen = [i for i, s in enumerate(content.sources) if (s.collection == SYNTHETIC) == pipeline.synthetic]
        return _write(folder, names, lambda index: content.crops[chosen[index]][None])
    if isinstance(pipeline, Gan):
        if dcgan_weights is None:
            raise ValueError(f"{generator.name} needs weights: leave it out of the generators without them")
        faces = dcgan.faces(dcgan_weights, len(content.sources), settings.seed)
        return _write(folder, [f"face_{index:04d}" for index in range(len(faces))], lambda i: _enlarged(faces[i])[None])
    decode: Callable[[Float32Array], UInt8Array] = autoencoder.decode
    latents = content.latents
    if isinstance(pipeline, DecoderOf):
        decode = _trained_decoder(pipeline, latents.shape[1], work)
    elif isinstance(pipeline, Denoised):
        latents = _denoised(pipeline, content, settings, work, generator.name)
    return _write(folder, [s.name for s in content.sources], lambda index: decode(latents[index : index + 1]))


def for_training(content: Content, every: int) -> Content:
    """One in `every` of the training split."""
    chosen = [index for index, source in enumerate(content.sources) if source.split == "train"][::every]
    return Content([content.sources[index] for index in chosen], content.crops[chosen], content.latents[chosen])


def make_negatives(photographs: Sequence[Path], settings: ZooSettings, folder: Path) -> Measured:
    """Crops of photographs as images of no class, stored like the others."""
    crops = crops_of(photographs, settings.negatives_per_photograph, SMALLEST_NEGATIVE, settings.seed, "negatives")
    return _write(folder, [f"{index:04d}" for index in range(len(crops))], lambda index: crops[index : index + 1])


def _write(folder: Path, names: Sequence[str], image: Callable[[int], UInt8Array]) -> Measured:
    for index, name in enumerate(track(names, description=folder.name)):
        write_image(image(index)[0], folder / f"{name}.jpg")
    return {"images": len(names)}


def _enlarged(face: UInt8Array) -> UInt8Array:
    return np.asarray(Image.fromarray(face).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def _trained_decoder(pipeline: DecoderOf, channels: int, work: Path) -> Callable[[Float32Array], UInt8Array]:
    decoder = load_decoder(pipeline.upsampling, channels, decoder_path(pipeline.upsampling, pipeline.sibling, work))

    def run(latents: Float32Array) -> UInt8Array:
        with torch.inference_mode():
            return to_pixels(decoder(torch.from_numpy(latents)).numpy())

    return run


def _denoised(pipeline: Denoised, content: Content, settings: ZooSettings, work: Path, name: str) -> Float32Array:
    """Samples that start from the content's latents, each from noise of its own."""
    denoiser = LatentDenoiser(denoiser_path(work))
    levels_of = ddim_levels if pipeline.spacing == "ddim" else karras_levels
    levels = levels_of(pipeline.schedule, pipeline.strength, pipeline.steps)
    latents = denoiser.standardised(content.latents)
    shape = latents.shape[1:]
    noise = np.stack(
        [random_of(settings.seed, f"{name}/{s.name}").standard_normal(shape, dtype=np.float32) for s in content.sources]
    )
    parts = [
        sample(denoiser.velocity, latents[start : start + AT_ONCE], noise[start : start + AT_ONCE], levels)
        for start in track(range(0, len(latents), AT_ONCE), description=f"samples, {name}")
    ]
    return denoiser.restored(np.concatenate(parts))
