"""What is recorded of a training: in the model, later in its bundle, and in training.json."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence

import msgspec
import torch

from protoleak.dataset import Dataset, Sample
from protoleak.environment.versions import library_versions, source_commit
from protoleak.training.encode import EncodedTraining, TrainingImages
from protoleak.training.fit import FitResult
from protoleak.training.latents import EncodedImages, Skipped
from protoleak.training.provenance import content_hash
from protoleak.training.settings import TrainingSettings

LIBRARIES = ("protoleak", "torch", "torchvision", "numpy", "pillow", "onnxruntime", "diffusers", "scikit-learn")


def data_hash_of(listed: TrainingImages, encoded: EncodedTraining) -> str:
    """SHA-256 (hex) of the content of every image that serves the training, and of its name and split."""
    return content_hash(
        f"{split} {listed.name(path)} {sha256}"
        for split, images in encoded.parts.items()
        for path, sha256 in images.files.items()
    )


def provenance_of(
    listed: TrainingImages,
    encoded: EncodedTraining,
    settings: TrainingSettings,
    result: FitResult,
    run: str,
    data_hash: str,
) -> dict[str, object]:
    """How the model came to be: what is recorded in the model and later in its bundle."""
    dataset, negatives, auxiliary = listed.dataset, listed.negatives, listed.auxiliary
    return {
        "made_by": "protoleak train",
        "run": run,
        "data": dataset.folder.resolve().name,
        "data_hash": data_hash,
        "images": {
            "train": _image_counts(dataset, dataset.train, encoded.train.images),
            "validation": _image_counts(dataset, dataset.validation, encoded.validation.images),
        },
        "negatives": None if negatives is None else negatives.resolve().name,
        "negative_images": 0 if encoded.negatives is None else len(encoded.negatives.files),
        "auxiliary": None if auxiliary is None else auxiliary.resolve().name,
        "auxiliary_images": sum(len(images.files) for images in encoded.auxiliary.values()),
        "skipped_images": len(encoded.skipped),
        "settings": msgspec.to_builtins(settings),
        "best": result.curves[result.best_epoch - 1],
        "libraries": {"python": platform.python_version()} | library_versions(LIBRARIES),
        "commit": source_commit(),
        "compute": "bf16" if settings.bfloat16 else "exact",
        "threads": torch.get_num_threads(),
    }


def _image_counts(dataset: Dataset, samples: Sequence[Sample], encoded: EncodedImages) -> dict[str, int]:
    """Readable images per generator."""
    counts = Counter(dataset.generators[sample.label] for sample in samples if sample.path in encoded.files)
    return {generator: counts[generator] for generator in dataset.generators}


def training_report(
    provenance: dict[str, object], result: FitResult, skipped: list[Skipped], seconds: float
) -> dict[str, object]:
    """What training.json says: `provenance_of`, every epoch, every skipped file.

    Args:
        seconds: of the whole training, encoding included.
    """
    return {
        **provenance,
        "best_epoch": result.best_epoch,
        "epochs": result.curves,
        "skipped": msgspec.to_builtins(skipped),
        "seconds": round(seconds, 1),
        "training_seconds": round(result.seconds, 1),
    }
