"""How well can the zoo's classes be told apart at all? An upper bound for what an open-set decision can do.

A network is trained on *every* class, unknown ones included. Then each unknown class is held against each known one on
the test split: AUROC of the difference of their scores. A pair near 0.5 is one pipeline under two names.

    python zoo/separability.py --zoo ZOO --latent-encoder taef2_encoder.onnx --json separability.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

from protoleak.arrays import Float32Array
from protoleak.dataset import Dataset, read_dataset
from protoleak.environment.machine import describe_machine
from protoleak.faces.framer import Framer
from protoleak.files import cache_folder
from protoleak.metrics.scores import auroc_known_unknown
from protoleak.model.attributor import Attributor
from protoleak.model.latent_encoder import LatentEncoder, load_latent_encoder
from protoleak.progress import shown_progress
from protoleak.training.fit import fit
from protoleak.training.inputs import EVALUATION_BATCH, Latents
from protoleak.training.latents import encode_images
from protoleak.training.memory import keep_freed_memory
from protoleak.training.noising import Noising
from protoleak.training.settings import TrainingSettings
from zoo.steps import write_json

SPLITS = ("train", "validation", "test")


def read_zoo(zoo: Path) -> tuple[Dataset, Dataset]:
    """The known and the unknown generators; a network's classes are those of the first, then those of the second."""
    return read_dataset(zoo / "known"), read_dataset(zoo / "unknown")


def read_latents(parts: Sequence[Dataset], encoder: LatentEncoder, split: str, settings: TrainingSettings) -> Latents:
    """Latents of one split of every class, as deployed."""
    paths, labels, before = [], [], 0
    for part in parts:
        samples = getattr(part, split)
        paths += [sample.path for sample in samples]
        labels += [before + sample.label for sample in samples]
        before += len(part.generators)
    with shown_progress() as progress:
        encoded = encode_images(
            encoder,
            paths,
            0,
            settings.seed,
            Framer(settings.framing),
            cache_folder("latents"),
            lambda done, total: progress(f"encode {split}", done, total),
        )
    return Latents(encoded.z0, torch.tensor(labels)[encoded.image])


def train_on_all(
    encoder: LatentEncoder, splits: dict[str, Latents], classes: int, settings: TrainingSettings
) -> tuple[Attributor, Noising]:
    """The network that has seen every class."""
    shape = encoder.latent_shape(settings.image_size)
    noising = Noising.of(settings, shape)
    sets = splits["train"], splits["validation"], None
    with shown_progress() as progress:
        result = fit(settings.network(shape, classes), settings, noising, *sets, "separability", progress=progress)
    return result.attributor, noising


def class_scores(network: Attributor, noising: Noising, z0: torch.Tensor) -> Float32Array:
    """float32 [n, K]."""
    with torch.inference_mode():
        parts = [network(noising.with_bank(part)).class_score for part in torch.split(z0, EVALUATION_BATCH)]
    return np.asarray(torch.cat(parts).numpy())


def pairs(
    scores: Float32Array, labels: npt.NDArray[np.int64], known: Sequence[str], unknown: Sequence[str]
) -> dict[str, dict[str, float]]:
    """AUROC of the difference of two classes' scores on the images of the two, of each unknown against each known.

    Args:
        scores: float32 [n, K], of the known classes, then the unknown.
        labels: int64 [n].

    Returns:
        unknown class → known class → AUROC.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in unknown}
    for other, new in enumerate(unknown, start=len(known)):
        for one, name in enumerate(known):
            difference = scores[:, one] - scores[:, other]
            area = auroc_known_unknown(difference[labels == one], difference[labels == other])
            found[new][name] = round(area, 4)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--latent-encoder", required=True, help="an .onnx file, a directory, or a hub id")
    parser.add_argument("--input-range", type=float, nargs=2, default=(0.0, 1.0), help="of an .onnx file")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--timesteps", type=int, nargs="+", default=[0, 300])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    keep_freed_memory()
    encoder = load_latent_encoder(options.latent_encoder, input_range=tuple(options.input_range))
    settings = TrainingSettings(
        epochs=options.epochs,
        patience=options.epochs,
        timesteps=tuple(options.timesteps),
        views=0,
        seed=options.seed,
        mixed_negatives=False,
    )
    known, unknown = read_zoo(options.zoo)
    splits = {split: read_latents((known, unknown), encoder, split, settings) for split in SPLITS}
    classes = len(known.generators) + len(unknown.generators)
    network, noising = train_on_all(encoder, splits, classes, settings)
    test = splits["test"]
    scores = class_scores(network, noising, test.z0)
    found = pairs(scores, test.labels.numpy(), known.generators, unknown.generators)
    for name, against in found.items():
        nearest = min(against, key=lambda other: against[other])
        print(f"{name}: least against {nearest}, {against[nearest]:.3f}")
    if options.json:
        record = {
            "what": "AUROC of each unknown class against each known one, of a network that was trained on both",
            "latent_encoder": encoder.fingerprint,
            "settings": {"epochs": options.epochs, "timesteps": options.timesteps, "seed": options.seed},
            "auroc": found,
            "machine": describe_machine(),
        }
        write_json(options.json, record)


if __name__ == "__main__":
    main()
