"""Trains the attribution network on a data set and writes the model directory."""

from __future__ import annotations

import platform
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch

from protoleak.dataset import Dataset, auxiliary_images, list_images
from protoleak.environment.versions import library_versions, source_commit
from protoleak.errors import CheckpointError, ProtoleakError
from protoleak.model.checkpoint import (
    LATENT_ENCODER_FOLDER,
    MODEL_FILE,
    WEIGHTS_FILE,
    LatentEncoderRecord,
    ModelConfig,
    TrainedModel,
    load_model,
    save_model,
)
from protoleak.model.latent_encoder import LatentEncoder
from protoleak.progress import Progress, no_progress
from protoleak.training.fit import FitResult, Latents, fit
from protoleak.training.latents import EncodedImages, Skipped, encode_images, require_every_class
from protoleak.training.noising import Noising
from protoleak.training.provenance import content_hash, run_hash
from protoleak.training.report import PAGE_FILE, html_page
from protoleak.training.settings import TrainingSettings
from protoleak.training.state import STATE_FILE

REPORT_FILE = "training.json"
LIBRARIES = ("protoleak", "torch", "torchvision", "numpy", "pillow", "onnxruntime", "diffusers", "scikit-learn")


def train(
    dataset: Dataset,
    latent_encoder: LatentEncoder,
    settings: TrainingSettings,
    out: Path,
    *,
    negatives: Path | None = None,
    auxiliary: Path | None = None,
    cache: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 0,
    progress: Progress = no_progress,
) -> TrainedModel:
    """Encodes the images once, trains, and writes the model and its report (JSON and HTML) to `out`.

    Unreadable images are skipped and listed in training.json. The test and calibration images are not looked at.

    Args:
        dataset: from `read_dataset`.
        latent_encoder: frozen.
        out: of the model directory.
        negatives: folder of images of no class, pushed away from every class.
        auxiliary: folder with a folder per generator that is learnt, so that the classes are told apart from it, and
            never named: siblings of the classes are worth most (docs/decisions/0010-auxiliary-generators.md).
        cache: folder of cached latents, or None to keep none.
        resume: go on from the state that an interrupted run left in `out`; where that run is finished, its model is
            given back.
        overwrite: replace the model or the unfinished run that is in `out`.
        workers: processes that make views of images while others are encoded; 0 for threads. With any number the
            result is the same, and a script that asks for some needs `if __name__ == "__main__":`.
        progress: called often; every encoding and every epoch is a stage.

    Returns:
        The model of the epoch with the best validation macro AUC; the network is in evaluation mode.

    Raises:
        ProtoleakError: the settings don't fit the latents.
        DatasetError: a class without a readable training or validation image, or no readable negative, or an auxiliary
            generator without a readable image or of a class's name.
        CheckpointError: `out` is no place for a model, or holds one that is neither to be resumed nor overwritten, or
            what is there to resume belongs to another run.
        EngineError: a latent or the loss is not finite, or a worker ended before its time.
    """
    started = time.monotonic()
    _check_place(out, resume, overwrite)
    # Listed before minutes are spent on the data set, so that a mistyped folder is told at once.
    negative_images = None if negatives is None else list_images(negatives)
    other_images = {} if auxiliary is None else auxiliary_images(auxiliary, dataset)
    latent_shape = latent_encoder.latent_shape(settings.image_size)
    settings.check_latent(latent_shape)

    def encode(split: str, paths: list[Path], views: int) -> EncodedImages:
        def report(done: int, total: int) -> None:
            progress(f"encode {split}", done, total)

        return encode_images(
            latent_encoder,
            paths,
            views,
            settings.seed,
            settings.image_size,
            cache,
            report,
            operator_share=settings.operator_share,
            workers=workers,
        )

    encoded = {
        split: encode(split, [sample.path for sample in samples], views)
        for split, samples, views in (
            ("train", dataset.train, settings.views),
            (
                "validation",
                dataset.validation,
                settings.views if settings.validation_views is None else settings.validation_views,
            ),
        )
    }
    labels = {
        split: torch.tensor([samples[image].label for image in encoded[split].image])
        for split, samples in (("train", dataset.train), ("validation", dataset.validation))
    }
    for split, values in labels.items():
        require_every_class(values, dataset.generators, split, encoded[split].skipped)

    def encode_beside(split: str, folder: str, paths: Sequence[Path]) -> EncodedImages:
        """Images that no class of the model has, of which at least one must be readable."""
        found = encoded[split] = encode(split, list(paths), settings.views)
        require_every_class(torch.zeros(len(found.image), dtype=torch.int64), (folder,), split, found.skipped)
        return found

    of_no_class = None if negative_images is None else encode_beside("negatives", str(negatives), negative_images)
    others = [encode_beside(f"auxiliary {name}", name, paths) for name, paths in other_images.items()]
    roots = [root for root in (negatives, auxiliary) if root is not None]
    data_hash = content_hash(
        f"{split} {_name(dataset, roots, path)} {sha256}"
        for split, images in encoded.items()
        for path, sha256 in images.files.items()
    )
    run = run_hash(settings, dataset.generators, dataset.real_class, data_hash, latent_encoder.fingerprint)
    if resume and not (out / STATE_FILE).exists() and (out / MODEL_FILE).exists():
        return _finished(out, run)
    if not resume:
        (out / STATE_FILE).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)

    config = settings.network(latent_shape, len(dataset.generators))
    result = fit(
        config,
        settings,
        Noising.of(settings, latent_shape),
        Latents(encoded["train"].z0, labels["train"]),
        Latents(encoded["validation"].z0, labels["validation"]),
        None if of_no_class is None else of_no_class.z0,
        run,
        out / STATE_FILE,
        progress,
        _of_labels(others) if others else None,
    )
    images = {split: _image_counts(dataset, split, encoded[split]) for split in labels}
    provenance: dict[str, object] = {
        "made_by": "protoleak train",
        "run": run,
        "data": dataset.folder.resolve().name,
        "data_hash": data_hash,
        "images": images,
        "negatives": None if negatives is None else negatives.resolve().name,
        "negative_images": 0 if of_no_class is None else len(of_no_class.files),
        "auxiliary": None if auxiliary is None else auxiliary.resolve().name,
        "auxiliary_images": sum(len(one.files) for one in others),
        "skipped_images": sum(len(part.skipped) for part in encoded.values()),
        "settings": msgspec.to_builtins(settings),
        "best": result.curves[result.best_epoch - 1],
        "libraries": {"python": platform.python_version()} | library_versions(LIBRARIES),
        "commit": source_commit(),
        "compute": "bf16" if settings.bfloat16 else "exact",
        "threads": torch.get_num_threads(),
    }
    model = TrainedModel(
        ModelConfig(
            generators=list(dataset.generators),
            real_class=dataset.real_class,
            image_size=settings.image_size,
            timesteps=list(settings.timesteps),
            noise_seed=settings.noise_seed,
            low_frequency_components=settings.low_frequency_components,
            latent_shape=latent_shape,
            attributor=config,
            latent_encoder=LatentEncoderRecord(latent_encoder.kind, latent_encoder.fingerprint),
            provenance=provenance,
        ),
        result.attributor,
        latent_encoder,
    )
    skipped = [item for part in encoded.values() for item in part.skipped]
    _write(out, model, result, _report(provenance, result, skipped, time.monotonic() - started), skipped)
    return model


def _check_place(out: Path, resume: bool, overwrite: bool) -> None:
    """Before any work is spent: `out` is new or empty, or holds a model or an unfinished run that may be touched."""
    if resume and overwrite:
        raise ProtoleakError("--resume keeps what is there and --overwrite replaces it: give one of them")
    if not out.exists():
        return
    if not out.is_dir() or (
        any(out.iterdir()) and not any((out / name).is_file() for name in (MODEL_FILE, STATE_FILE))
    ):
        raise CheckpointError(f"{out} exists and is not a model: choose another place, or move it away")
    if resume or overwrite:
        return
    if (out / STATE_FILE).is_file():
        raise CheckpointError(f"{out} holds an unfinished run: go on with --resume, or start anew with --overwrite")
    if (out / MODEL_FILE).is_file():
        raise CheckpointError(f"{out} holds a finished model: replace it with --overwrite, or give another --out")


def _finished(out: Path, run: str) -> TrainedModel:
    model = load_model(out)
    if model.config.provenance.get("run") != run:
        raise CheckpointError(
            f"{out} holds a finished model of other settings, data or latent encoder: there is nothing to resume; "
            "replace it with --overwrite, or give another --out"
        )
    return model


def _name(dataset: Dataset, roots: Sequence[Path], path: Path) -> str:
    """A file's name below its data folder: hashes don't depend on where a data set lies."""
    root = next((root for root in roots if path.is_relative_to(root)), dataset.folder)
    return path.relative_to(root).as_posix()


def _of_labels(images: Sequence[EncodedImages]) -> Latents:
    """All latents, labelled by their place in the list."""
    labels = [torch.full((len(one.z0),), label) for label, one in enumerate(images)]
    return Latents(torch.cat([one.z0 for one in images]), torch.cat(labels))


def _image_counts(dataset: Dataset, split: str, encoded: EncodedImages) -> dict[str, int]:
    """Readable images per generator."""
    samples = dataset.train if split == "train" else dataset.validation
    counts = Counter(dataset.generators[sample.label] for sample in samples if sample.path in encoded.files)
    return {generator: counts[generator] for generator in dataset.generators}


def _report(
    provenance: dict[str, object], result: FitResult, skipped: list[Skipped], seconds: float
) -> dict[str, object]:
    return {
        **provenance,
        "best_epoch": result.best_epoch,
        "epochs": result.curves,
        "skipped": msgspec.to_builtins(skipped),
        "seconds": round(seconds, 1),
        "training_seconds": round(result.seconds, 1),
    }


def _write(
    out: Path, model: TrainedModel, result: FitResult, report: dict[str, object], skipped: list[Skipped]
) -> None:
    """Moves the finished model into `out`. The state goes last: until then an interrupted run can go on from it."""
    staged = out / "finished"
    shutil.rmtree(staged, ignore_errors=True)
    save_model(staged, model)
    (staged / REPORT_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    lines = [f"{item.path}: {item.reason}" for item in skipped]
    (staged / PAGE_FILE).write_text(html_page(report, result.curves, lines), encoding="utf-8")
    (out / MODEL_FILE).unlink(missing_ok=True)
    shutil.rmtree(out / LATENT_ENCODER_FOLDER, ignore_errors=True)
    for name in (LATENT_ENCODER_FOLDER, WEIGHTS_FILE, REPORT_FILE, PAGE_FILE, MODEL_FILE):
        (staged / name).replace(out / name)
    staged.rmdir()
    (out / STATE_FILE).unlink()
