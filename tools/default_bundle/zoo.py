"""Builds the folders that the default bundle is trained and judged on: one folder per generator, and Split.json.

Everything that a network makes is saved as JPEG of varying quality, as the camera pictures and the Stable Diffusion
portraits are, so that the format does not give the class away.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from dcgan import faces
from decoders import load_decoder, train_decoder
from PIL import Image
from rich.progress import track
from sources import SPLIT_SHARES, Source, split_of

KNOWN_DECODERS = {"nearest_decoder": "nearest", "transposed_decoder": "transposed"}
UNKNOWN_DECODERS = {"subpixel_decoder": "subpixel"}
AUTOENCODER = "flux2_tae"  # reconstructions by the teacher's own decoder: the hardest to tell from a photograph
NOISED = "noised_latents"  # the same decoder behind a pipeline that stops before its latent is clean
UNKNOWN = {*UNKNOWN_DECODERS, AUTOENCODER, NOISED}
NOISE_SHARE = 0.7  # of the latent's own spread
SIZE = 256
FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)

Pictures = npt.NDArray[np.uint8]
Latents = npt.NDArray[np.float32]


class Autoencoder:
    """The teacher's encoder and decoder: pictures uint8 [n, 256, 256, 3] ↔ latents float32 [n, C, 32, 32]."""

    def __init__(self, encoder: Path, decoder: Path) -> None:
        providers = ["CPUExecutionProvider"]
        self._encoder = onnxruntime.InferenceSession(str(encoder), providers=providers)
        self._decoder = onnxruntime.InferenceSession(str(decoder), providers=providers)

    def encode(self, pictures: Pictures) -> Latents:
        scaled = pictures.transpose(0, 3, 1, 2).astype(np.float32) / 255
        latents: Latents = self._encoder.run(None, {self._encoder.get_inputs()[0].name: scaled})[0]
        return latents

    def decode(self, latents: Latents) -> Pictures:
        return to_pixels(self._decoder.run(None, {self._decoder.get_inputs()[0].name: latents})[0])


def to_pixels(planes: Latents) -> Pictures:
    """float [n, 3, h, w] in [0, 1] → uint8 [n, h, w, 3]."""
    return (planes.clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)


def square_crop(picture: Image.Image, random: np.random.Generator, smallest: float) -> Image.Image:
    """A random square, its side between `smallest` and 1 of the short side, resized to 256×256 by a random filter."""
    side = int(min(picture.size) * random.uniform(smallest, 1.0))
    left = int(random.integers(0, picture.width - side + 1))
    top = int(random.integers(0, picture.height - side + 1))
    box = (left, top, left + side, top + side)
    return picture.crop(box).resize((SIZE, SIZE), FILTERS[random.integers(len(FILTERS))])


def crops_of(paths: Iterable[Path], per_picture: int, seed: int) -> Pictures:
    """`per_picture` random crops of every picture: uint8 [n, 256, 256, 3]."""
    random = np.random.default_rng(seed)
    crops = []
    for path in track(list(paths), description="crops"):
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        crops += [np.asarray(square_crop(picture, random, 0.3)) for _ in range(per_picture)]
    return np.stack(crops)


def train_decoders(autoencoder: Autoencoder, paths: list[Path], steps: int, work: Path) -> None:
    """Trains every decoder that isn't there yet, on crops of the training pictures."""
    decoders = KNOWN_DECODERS | UNKNOWN_DECODERS
    wanted = {name: kind for name, kind in decoders.items() if not weights(work, name).exists()}
    if not wanted:
        return
    pictures = crops_of(paths, 6, seed=1)
    batches = range(0, len(pictures), 16)
    latents = [autoencoder.encode(pictures[i : i + 16]) for i in track(batches, description="teacher latents")]
    for index, (name, kind) in enumerate(wanted.items()):
        train_decoder(kind, np.concatenate(latents).astype(np.float16), pictures, steps, index, weights(work, name))


def weights(work: Path, decoder: str) -> Path:
    return work / "decoders" / f"{decoder}.safetensors"


def build_zoo(
    generated_from: list[Source],
    copied: dict[str, list[Source]],
    autoencoder: Autoencoder,
    dcgan_weights: Path,
    work: Path,
) -> None:
    """Writes work/zoo (known classes and Split.json) and work/unknown.

    Args:
        generated_from: the pictures that are reconstructed by each decoder.
        copied: the classes whose pictures are taken as they are: Stable Diffusion 3 and the camera originals.
    """
    zoo, unknown = work / "zoo", work / "unknown"
    split: dict[str, dict[str, list[str]]] = {name: defaultdict(list) for name, _ in SPLIT_SHARES}
    for generator, sources in copied.items():
        (zoo / generator).mkdir(parents=True, exist_ok=True)
        for source in sources:
            name = f"{source.name}{source.path.suffix}"
            shutil.copyfile(source.path, zoo / generator / name)
            split[source.split][generator].append(name)

    decode: dict[str, Callable[[Latents], Pictures]] = {AUTOENCODER: autoencoder.decode}
    for name, kind in (KNOWN_DECODERS | UNKNOWN_DECODERS).items():
        decode[name] = _torch_decoder(kind, weights(work, name))
    decode[NOISED] = _noised(autoencoder)
    random, noised_quality = np.random.default_rng(7), np.random.default_rng(13)
    for source in track(generated_from, description="reconstructions"):
        with Image.open(source.path) as opened:
            crop = square_crop(opened.convert("RGB"), random, 0.5)
        latent = autoencoder.encode(np.asarray(crop)[None])
        for generator, decoder in decode.items():
            known = generator not in UNKNOWN
            name = f"{source.name}.jpg"
            quality = noised_quality if generator == NOISED else random
            _save(decoder(latent)[0], (zoo if known else unknown) / generator / name, quality)
            if known:
                split[source.split][generator].append(name)
    for index, face in enumerate(faces(dcgan_weights, 300, seed=3)):
        name = f"face_{index:03d}.jpg"
        _save(face, zoo / "dcgan_digiface" / name, random)
        split[split_of(name)]["dcgan_digiface"].append(name)
    (zoo / "Split.json").write_text(json.dumps(split, indent=1, sort_keys=True) + "\n")


def _noised(autoencoder: Autoencoder) -> Callable[[Latents], Pictures]:
    random = np.random.default_rng(11)

    def run(latents: Latents) -> Pictures:
        noise = random.standard_normal(latents.shape).astype(np.float32) * latents.std()
        return autoencoder.decode(np.sqrt(1 - NOISE_SHARE**2, dtype=np.float32) * latents + NOISE_SHARE * noise)

    return run


def _torch_decoder(kind: str, path: Path) -> Callable[[Latents], Pictures]:
    decoder = load_decoder(kind, 32, path)

    def run(latents: Latents) -> Pictures:
        with torch.no_grad():
            return to_pixels(decoder(torch.from_numpy(latents)).numpy())

    return run


def _save(picture: Pictures, path: Path, random: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, quality=int(random.integers(86, 97)))
