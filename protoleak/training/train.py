"""Trains the attribution network on a data set and writes the model directory."""

from __future__ import annotations

import platform
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from protoleak.bundle.bundle import DEFAULT_BUNDLE
from protoleak.bundle.reader import FACE_DETECTOR
from protoleak.dataset import Dataset, Sample, auxiliary_images, list_images
from protoleak.dataset_copies import refuse_copies
from protoleak.environment.versions import library_versions, source_commit
from protoleak.errors import CheckpointError, ProtoleakError
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
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
from protoleak.training.fit import FitResult, fit
from protoleak.training.inputs import Latents, Standardisation
from protoleak.training.latents import EncodedImages, Skipped, encode_images, require_every_class
from protoleak.training.noising import Noising
from protoleak.training.provenance import content_hash, run_hash
from protoleak.training.report import PAGE_FILE, html_page
from protoleak.training.settings import TrainingSettings
from protoleak.training.state import STATE_FILE

REPORT_FILE = "training.json"
DEFAULT_FACE_MODEL = DEFAULT_BUNDLE / FACE_DETECTOR
LIBRARIES = ("protoleak", "torch", "torchvision", "numpy", "pillow", "onnxruntime", "diffusers", "scikit-learn")


def train(
    dataset: Dataset,
    latent_encoder: LatentEncoder,
    settings: TrainingSettings,
    out: Path,
    *,
    negatives: Path | None = None,
    auxiliary: Path | None = None,
    face_model: Path = DEFAULT_FACE_MODEL,
    cache: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 0,
    progress: Progress = no_progress,
) -> TrainedModel:
    """Encodes the images once, trains, and writes the model and its report (JSON and HTML) to `out`.

    Unreadable images are skipped and listed in training.json. The test and calibration images are not read.

    Args:
        dataset: from `read_dataset`.
        latent_encoder: frozen.
        out: of the model directory.
        negatives: folder of images of no class, pushed away from every class.
        auxiliary: folder with a folder per generator that is learnt, so that the classes differ from it, and never
            named: siblings of the classes are worth most (docs/decisions/0010-auxiliary-generators.md).
        face_model: a YuNet ONNX file, used where a look depends on the face.
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
            generator without a readable image or of a class's name; or an image whose very bytes are in two splits or
            two classes.
        CheckpointError: `out` is no place for a model, or holds one that is neither to be resumed nor overwritten, or
            what is there to resume belongs to another run.
        EngineError: a latent or the loss is not finite, or a worker ended before its time.
    """
    started = time.monotonic()
    _check_place(out, resume, overwrite)
    sources = _list_sources(dataset, negatives, auxiliary)
    refuse_copies(dataset, {"negatives": sources.negative_images or (), **sources.auxiliary_images})
    latent_shape = latent_encoder.latent_shape(settings.image_size)
    settings.check_latent(latent_shape)
    framer = Framer(settings.framing, LargestFace(face_model) if settings.framing.needs_face else None)
    encoded = _encode_all(sources, latent_encoder, settings, framer, cache, workers, progress)
    data_hash = _data_hash(sources, encoded)
    found_by = [framer.face_model] if framer.find is not None else []
    run = run_hash(settings, dataset.generators, dataset.real_class, data_hash, latent_encoder.fingerprint, *found_by)
    if resume and not (out / STATE_FILE).exists() and (out / MODEL_FILE).exists():
        return _finished(out, run)
    if not resume:
        (out / STATE_FILE).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    network = settings.network(latent_shape, len(dataset.generators))
    standardisation = Standardisation.of(encoded.train.latents.z0) if settings.standardise else None
    result = fit(
        network,
        settings,
        Noising.of(settings, latent_shape),
        encoded.train.latents,
        encoded.validation.latents,
        None if encoded.negatives is None else encoded.negatives.z0,
        run,
        out / STATE_FILE,
        progress,
        _of_labels(list(encoded.auxiliary.values())) if encoded.auxiliary else None,
        standardisation=standardisation,
        real=None if dataset.real_class is None else dataset.generators.index(dataset.real_class),
    )
    provenance = _provenance(sources, encoded, settings, result, run, data_hash)
    model = _model(dataset, latent_encoder, settings, standardisation, result, provenance)
    report = _report(provenance, result, encoded.skipped, time.monotonic() - started)
    _write(out, model, result, report, encoded.skipped)
    return model


@dataclass(frozen=True)
class _Sources:
    """Everything that training reads, listed.

    Attributes:
        negatives, auxiliary: the folders, or None.
        negative_images: of no class; None without a folder.
        auxiliary_images: per auxiliary generator.
    """

    dataset: Dataset
    negatives: Path | None
    auxiliary: Path | None
    negative_images: Sequence[Path] | None
    auxiliary_images: Mapping[str, Sequence[Path]]

    def name(self, file: Path) -> str:
        """A file's name below its data folder: hashes don't depend on where a data set lies."""
        folders = [folder for folder in (self.negatives, self.auxiliary) if folder is not None]
        root = next((folder for folder in folders if file.is_relative_to(folder)), self.dataset.folder)
        return file.relative_to(root).as_posix()


@dataclass(frozen=True)
class _Split:
    """The readable images of one split, encoded, with the label of every latent."""

    images: EncodedImages
    latents: Latents


@dataclass(frozen=True)
class _Encoded:
    """All images of a training, encoded.

    Attributes:
        negatives: of no class; None without any.
        auxiliary: per auxiliary generator.
    """

    train: _Split
    validation: _Split
    negatives: EncodedImages | None
    auxiliary: Mapping[str, EncodedImages]

    @property
    def parts(self) -> dict[str, EncodedImages]:
        """All of them, by the name of the split."""
        negatives = {} if self.negatives is None else {"negatives": self.negatives}
        auxiliary = {f"auxiliary {name}": images for name, images in self.auxiliary.items()}
        return {"train": self.train.images, "validation": self.validation.images, **negatives, **auxiliary}

    @property
    def skipped(self) -> list[Skipped]:
        return [item for part in self.parts.values() for item in part.skipped]


def _list_sources(dataset: Dataset, negatives: Path | None, auxiliary: Path | None) -> _Sources:
    """Before minutes are spent on the data set, so that a mistyped folder is refused at once."""
    return _Sources(
        dataset=dataset,
        negatives=negatives,
        auxiliary=auxiliary,
        negative_images=None if negatives is None else list_images(negatives),
        auxiliary_images={} if auxiliary is None else auxiliary_images(auxiliary, dataset),
    )


def _encode_all(
    sources: _Sources,
    latent_encoder: LatentEncoder,
    settings: TrainingSettings,
    framer: Framer,
    cache: Path | None,
    workers: int,
    progress: Progress,
) -> _Encoded:
    """Encodes everything, and refuses a class, an auxiliary generator or negatives without a readable image."""
    dataset = sources.dataset
    per_class = Counter(sample.label for sample in dataset.train)
    largest = max(per_class.values())

    def encode(split: str, paths: Sequence[Path], views: int | Sequence[int]) -> EncodedImages:
        def report(done: int, total: int) -> None:
            progress(f"encode {split}", done, total)

        return encode_images(
            latent_encoder,
            paths,
            views,
            settings.seed,
            framer,
            cache,
            report,
            operator_share=settings.operator_share,
            workers=workers,
        )

    def encode_split(split: str, samples: Sequence[Sample], views: int | Sequence[int]) -> _Split:
        images = encode(split, [sample.path for sample in samples], views)
        labels = torch.tensor([samples[image].label for image in images.image])
        of_image = _sources_of(dataset, samples)
        return _Split(images, Latents(images.z0, labels, of_image[images.image]))

    def encode_beside(split: str, folder: str, paths: Sequence[Path]) -> EncodedImages:
        """Images that no class of the model has, of which at least one must be readable."""
        found = encode(split, paths, settings.views_of(len(paths), largest))
        require_every_class(torch.zeros(len(found.image), dtype=torch.int64), (folder,), split, found.skipped)
        return found

    views = settings.views if settings.validation_views is None else settings.validation_views
    of_class = {label: settings.views_of(count, largest) for label, count in per_class.items()}
    train = encode_split("train", dataset.train, [of_class[sample.label] for sample in dataset.train])
    validation = encode_split("validation", dataset.validation, views)
    for split, part in (("train", train), ("validation", validation)):
        require_every_class(part.latents.labels, dataset.generators, split, part.images.skipped)
    negatives = sources.negative_images
    return _Encoded(
        train=train,
        validation=validation,
        negatives=None if negatives is None else encode_beside("negatives", str(sources.negatives), negatives),
        auxiliary={
            name: encode_beside(f"auxiliary {name}", name, paths) for name, paths in sources.auxiliary_images.items()
        },
    )


def _sources_of(dataset: Dataset, samples: Sequence[Sample]) -> torch.Tensor:
    """int64 [n], the number of the folder below its generator's that each image lies in: GENERATOR/SOURCE/…; 0 where it
    lies in the generator's folder itself."""
    parts = [sample.path.relative_to(dataset.folder).parts for sample in samples]
    names = [part[1] if len(part) > 2 else "" for part in parts]
    number = {name: index for index, name in enumerate(sorted(set(names)))}
    return torch.tensor([number[name] for name in names], dtype=torch.int64)


def _data_hash(sources: _Sources, encoded: _Encoded) -> str:
    """Of the content of every image that serves the training, and of its name and split."""
    return content_hash(
        f"{split} {sources.name(path)} {sha256}"
        for split, images in encoded.parts.items()
        for path, sha256 in images.files.items()
    )


def _provenance(
    sources: _Sources, encoded: _Encoded, settings: TrainingSettings, result: FitResult, run: str, data_hash: str
) -> dict[str, object]:
    """How the model came to be: what is recorded in the model and later in its bundle."""
    dataset, negatives, auxiliary = sources.dataset, sources.negatives, sources.auxiliary
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


def _model(
    dataset: Dataset,
    latent_encoder: LatentEncoder,
    settings: TrainingSettings,
    standardisation: Standardisation | None,
    result: FitResult,
    provenance: dict[str, object],
) -> TrainedModel:
    config = ModelConfig(
        generators=list(dataset.generators),
        real_class=dataset.real_class,
        image_size=settings.image_size,
        timesteps=list(settings.timesteps),
        noise_seed=settings.noise_seed,
        low_frequency_components=settings.low_frequency_components,
        latent_shape=latent_encoder.latent_shape(settings.image_size),
        attributor=result.attributor.config,
        latent_encoder=LatentEncoderRecord(latent_encoder.kind, latent_encoder.fingerprint),
        looks=settings.looks,
        face_margin=settings.face_margin,
        amplitudes=settings.amplitudes,
        latent_mean=None if standardisation is None else standardisation.mean.flatten().tolist(),
        latent_spread=None if standardisation is None else standardisation.spread.flatten().tolist(),
        provenance=provenance,
    )
    return TrainedModel(config, result.attributor, latent_encoder)


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


def _of_labels(images: Sequence[EncodedImages]) -> Latents:
    """All latents, labelled by their place in the list."""
    labels = [torch.full((len(one.z0),), label) for label, one in enumerate(images)]
    return Latents(torch.cat([one.z0 for one in images]), torch.cat(labels))


def _image_counts(dataset: Dataset, samples: Sequence[Sample], encoded: EncodedImages) -> dict[str, int]:
    """Readable images per generator."""
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
    (out / STATE_FILE).unlink(missing_ok=True)  # the solver "discriminants" keeps none
