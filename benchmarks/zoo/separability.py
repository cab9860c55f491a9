"""How well can the zoo's classes be told apart at all? An upper bound for what an open-set decision can do.

A network is trained on *every* class, unknown ones included. Then each unknown class is held against each known one on
the test split: AUROC of the difference of their scores. A pair near 0.5 is one pipeline under two names.

    python benchmarks/zoo/separability.py --zoo ZOO --latent-encoder taef2_encoder.onnx --json separability.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, its own folder is there instead

from benchmarks.zoo.steps import write_json
from protoleak.benchmark.machine import describe_machine
from protoleak.calibration.metrics import auroc_known_unknown
from protoleak.diffusion import Float32Array
from protoleak.model.attributor import Attributor, AttributorConfig
from protoleak.model.latent_cache import default_cache
from protoleak.model.latent_encoder import LatentEncoder, load_latent_encoder
from protoleak.training.fit import EVALUATION_BATCH, Latents, fit
from protoleak.training.latents import encode_images
from protoleak.training.memory import keep_freed_memory
from protoleak.training.noising import Noising
from protoleak.training.progress import Progress, progress_bar
from protoleak.training.settings import TrainingSettings

SPLITS = ("train", "val", "test")


def classes_of(zoo: Path) -> dict[str, bool]:
    """Name of each class, and whether it is known; known ones first."""
    return {
        path.name: part == "known"
        for part in ("known", "unknown")
        for path in sorted((zoo / part).iterdir())
        if path.is_dir()
    }


def read_latents(zoo: Path, encoder: LatentEncoder, split: str, settings: TrainingSettings) -> Latents:
    """Latents of one split of every class, as deployed."""
    paths, labels = [], []
    for label, (name, known) in enumerate(classes_of(zoo).items()):
        folder = zoo / ("known" if known else "unknown")
        listed = json.loads((folder / "Split.json").read_text())[split][name]
        paths += [folder / name / file for file in listed]
        labels += [label] * len(listed)
    with progress_bar() as progress:
        encoded = encode_images(
            encoder,
            paths,
            0,
            settings.seed,
            settings.image_size,
            default_cache(),
            lambda done, total: progress(Progress(f"encode {split}", done, total)),
        )
    return Latents(encoded.z0, torch.tensor(labels)[encoded.image])


def train_on_all(
    encoder: LatentEncoder, splits: dict[str, Latents], settings: TrainingSettings
) -> tuple[Attributor, Noising]:
    """The network that has seen every class."""
    shape = encoder.latent_shape(settings.image_size)
    noising = Noising.build(settings.timesteps, shape, settings.noise_seed, settings.low_frequency_components)
    config = AttributorConfig(
        backbone=settings.backbone,
        in_channels=2 * shape[0],
        embedding_size=settings.embedding_size,
        generators=int(splits["train"].labels.max()) + 1,
        prototypes_per_generator=settings.prototypes_per_generator,
        timesteps=len(settings.timesteps),
    )
    with progress_bar() as progress:
        result = fit(config, settings, noising, splits["train"], splits["val"], None, "separability", progress=progress)
    return result.attributor, noising


def class_scores(network: Attributor, noising: Noising, z0: torch.Tensor) -> Float32Array:
    """float32 [n, K]."""
    with torch.inference_mode():
        parts = [network(noising.with_bank(part)).class_score for part in torch.split(z0, EVALUATION_BATCH)]
    return np.asarray(torch.cat(parts).numpy())


def pairs(scores: Float32Array, labels: np.ndarray, classes: dict[str, bool]) -> dict[str, dict[str, float]]:
    """unknown class → known class → AUROC of the difference of the two scores, on pictures of the two."""
    names = list(classes)
    found: dict[str, dict[str, float]] = {}
    for unknown in (name for name, known in classes.items() if not known):
        for known in (name for name, is_known in classes.items() if is_known):
            one, other = names.index(known), names.index(unknown)
            difference = scores[:, one] - scores[:, other]
            area = auroc_known_unknown(difference[labels == one], difference[labels == other])
            found.setdefault(unknown, {})[known] = round(area, 4)
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
        seed=options.seed,
        mixed_negatives=False,
    )
    splits = {split: read_latents(options.zoo, encoder, split, settings) for split in SPLITS}
    network, noising = train_on_all(encoder, splits, settings)
    classes, test = classes_of(options.zoo), splits["test"]
    found = pairs(class_scores(network, noising, test.z0), test.labels.numpy(), classes)
    for unknown, against in found.items():
        nearest = min(against, key=lambda name: against[name])
        print(f"{unknown}: least against {nearest}, {against[nearest]:.3f}")
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
