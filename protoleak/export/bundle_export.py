"""From a model and a data set to a bundle, in one go: fit, export, prove parity, calibrate, measure, write."""

from __future__ import annotations

import datetime
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

import protoleak
from protoleak.bundle import Calibration, array_bytes, write_bundle
from protoleak.bundle_files import NOISE_BANK, PROTOTYPES
from protoleak.calibration.conformal import calibrate
from protoleak.calibration.dataset import Dataset, Sample, list_images
from protoleak.calibration.density import DensityModel, DensitySpace, fit_density
from protoleak.calibration.heads import HeadKind, fit_head
from protoleak.calibration.temperature import fit_temperature
from protoleak.errors import CalibrationError, DatasetError
from protoleak.export.density_module import DensityModule
from protoleak.export.features import Features, deployed_pixels, network_features
from protoleak.export.graphs import (
    ATTRIBUTOR_OUTPUTS,
    DEFAULT_OPSET,
    DeployedAttributor,
    export_attributor,
    export_latent_encoder,
)
from protoleak.export.head_modules import HeadModule
from protoleak.export.measure import VariantOutputs, measure_variant
from protoleak.export.parity import ParityRow, compare_outputs
from protoleak.export.variant import VariantRunner
from protoleak.manifest import SCHEMA_VERSION, Density, LowFrequency, Manifest, Preprocessing
from protoleak.model.checkpoint import TrainedModel

PARITY_IMAGES = 8
LIBRARIES = ("torch", "onnx", "onnxruntime", "numpy", "pillow", "scikit-learn")


@dataclass(frozen=True)
class ExportSettings:
    """What a bundle is made with.

    Attributes:
        alpha: significance level that the report is measured at; any other can be used with the bundle.
        unknown: folder of images of generators that the model does not know, one folder per generator, or None.
        real_faces: photographs of people from sources that training never saw, or None.
        cache: of latents; None for none.
    """

    name: str
    head: HeadKind = "prototype"
    density_space: DensitySpace = "whitened"
    alpha: float = 0.05
    opset: int = DEFAULT_OPSET
    unknown: Path | None = None
    real_faces: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class ExportResult:
    """The bundle's SHA-256, what its fp32 variant was measured to do, and the parity table."""

    sha256: str
    report: dict[str, Any]
    parity: tuple[ParityRow, ...]


def export_bundle(
    model: TrainedModel,
    dataset: Dataset,
    out: Path,
    settings: ExportSettings,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> ExportResult:
    """Writes the fp32 bundle of a model.

    Head and density are fitted on the training split, their settings and the softmax temperature on validation, the
    conformal calibration on the calibration split, and the report measured on the test split: four disjoint sets.

    Args:
        progress: called with a stage's name, steps done and steps in all.

    Raises:
        DatasetError, CalibrationError: the data do not allow it.
        ParityError: the exported graphs do not compute what PyTorch computes. Nothing is written.
        BundleError: `out` cannot be written.
    """
    config = model.config
    _check_generators(config.generators, dataset)
    train = _features(model, dataset.train, "training", settings, progress)
    validation = _features(model, dataset.validation, "validation", settings, progress)
    head = fit_head(
        settings.head,
        *(train.embedding, train.gate, train.labels),
        *(validation.embedding, validation.gate, validation.labels),
        config.generators,
    )
    density = fit_density(
        *(train.embedding, train.gate, train.labels),
        *(validation.embedding, validation.gate),
        space=settings.density_space,
    )
    manifest = _manifest(model, dataset, density, settings, skipped=train.skipped + validation.skipped)
    noise_bank = config.noise_bank()

    progress("export", 0, 2)
    deployed = DeployedAttributor(model.attributor, HeadModule(head), DensityModule(density)).eval()
    latent_encoder = export_latent_encoder(model.latent_encoder, config.image_size, settings.opset)
    progress("export", 1, 2)
    example = torch.zeros(2, len(config.timesteps), model.attributor.config.in_channels, *config.latent_shape[1:])
    attributor = export_attributor(deployed, example, settings.opset)
    progress("export", 2, 2)
    runner = VariantRunner(manifest, noise_bank, latent_encoder, attributor)
    parity = prove_parity(model, deployed, runner, [sample.path for sample in dataset.calibration])

    calibration = _calibrate(runner, dataset, config.generators, progress)
    report = _measure(runner, calibration, dataset, settings, progress)
    report["parity"] = [{**msgspec.to_builtins(row), "passes": row.passes} for row in parity]
    files = {
        NOISE_BANK: array_bytes(noise_bank),
        PROTOTYPES: array_bytes(model.attributor.prototypes.detach().numpy()),
        "variants/fp32/latent_encoder.onnx": latent_encoder,
        "variants/fp32/attributor.onnx": attributor,
        "variants/fp32/calibration.npz": calibration.to_bytes(),
        "variants/fp32/report.json": msgspec.json.format(msgspec.json.encode(report), indent=2),
    }
    return ExportResult(write_bundle(out, manifest, files), report, parity)


def prove_parity(
    model: TrainedModel, deployed: DeployedAttributor, runner: VariantRunner, paths: list[Path]
) -> tuple[ParityRow, ...]:
    """Compares both graphs with PyTorch on real images, each graph fed what the runtime feeds it.

    Raises:
        ParityError: they differ by more than 1e-4 of an output's largest magnitude.
        DatasetError: there is no image to compare on.
    """
    pixels = [deployed_pixels(path, model.config.image_size) for path in paths[:: max(1, len(paths) // PARITY_IMAGES)]]
    if not pixels:
        raise DatasetError("there are no calibration images to prove the exported graphs on")
    images = np.stack(pixels[:PARITY_IMAGES])
    stages = runner.stages(images)
    with torch.inference_mode():
        outputs = deployed(torch.from_numpy(stages["z_t"]))
    expected = {"z0": model.latent_encoder.encode(images), "z_t": model.config.noised(stages["z0"])}
    expected |= {name: value.numpy() for name, value in zip(ATTRIBUTOR_OUTPUTS, outputs, strict=True)}
    return compare_outputs(expected, stages)


def _check_generators(generators: list[str], dataset: Dataset) -> None:
    if generators != list(dataset.generators):
        raise DatasetError(
            f"the model knows {generators}, {dataset.folder} holds {list(dataset.generators)}: give the data set that "
            "it was trained on, with the same folder names"
        )


def _features(
    model: TrainedModel,
    samples: tuple[Sample, ...],
    split: str,
    settings: ExportSettings,
    progress: Callable[[str, int, int], None],
) -> Features:
    return network_features(
        model, samples, settings.cache, lambda done: progress(f"encode {split} images", done, len(samples))
    )


def _calibrate(
    runner: VariantRunner,
    dataset: Dataset,
    generators: list[str],
    progress: Callable[[str, int, int], None],
) -> Calibration:
    """From the variant's own outputs: the softmax temperature on validation, the p-values' ranks on calibration."""
    validation, kept = _run(runner, dataset.validation, "validation", progress)
    labels = np.array([dataset.validation[index].label for index in kept], dtype=np.int64)
    temperature = fit_temperature(validation.class_score, labels)
    outputs, _ = _run(runner, dataset.calibration, "calibration", progress)
    return calibrate(outputs.log_density, outputs.class_score, generators, temperature)


def _measure(
    runner: VariantRunner,
    calibration: Calibration,
    dataset: Dataset,
    settings: ExportSettings,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    test, kept = _run(runner, dataset.test, "test", progress)
    unknown = {}
    if settings.unknown is not None:
        folders = sorted(path for path in settings.unknown.iterdir() if path.is_dir()) or [settings.unknown]
        for folder in folders:
            unknown[folder.name] = _run_folder(runner, folder, progress)
    real_faces = None if settings.real_faces is None else _run_folder(runner, settings.real_faces, progress)
    return measure_variant(
        calibration,
        dataset.generators,
        dataset.real_class,
        settings.alpha,
        test,
        np.array([dataset.test[index].label for index in kept], dtype=np.int64),
        unknown,
        real_faces,
    )


def _run(
    runner: VariantRunner, samples: tuple[Sample, ...], what: str, progress: Callable[[str, int, int], None]
) -> tuple[VariantOutputs, list[int]]:
    paths = [sample.path for sample in samples]
    return runner.run(paths, lambda done: progress(f"run on {what} images", done, len(paths)))


def _run_folder(runner: VariantRunner, folder: Path, progress: Callable[[str, int, int], None]) -> VariantOutputs:
    paths = list_images(folder)
    outputs, kept = runner.run(paths, lambda done: progress(f"run on {folder.name}", done, len(paths)))
    if not kept:
        raise CalibrationError(f"{folder} holds no readable image: give a folder of images, or leave it out")
    return outputs


def _manifest(
    model: TrainedModel,
    dataset: Dataset,
    density: DensityModel,
    settings: ExportSettings,
    skipped: tuple[str, ...],
) -> Manifest:
    config = model.config
    components = config.low_frequency_components
    provenance = {
        "model": config.provenance,
        "latent_encoder": msgspec.to_builtins(config.latent_encoder) | dict(model.latent_encoder.provenance),
        "attributor": msgspec.to_builtins(config.attributor),
        "export": {
            "images": {split: len(getattr(dataset, split)) for split in ("train", "validation", "calibration", "test")},
            "skipped": list(skipped),
            "opset": settings.opset,
            "libraries": {"protoleak": protoleak.__version__}
            | {name: importlib.metadata.version(name) for name in LIBRARIES},
        },
    }
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=settings.name,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        generators=list(config.generators),
        real_class=config.real_class,
        preprocessing=Preprocessing(config.image_size),
        schedule=config.schedule,
        timesteps=list(config.timesteps),
        noise_seed=config.noise_seed,
        low_frequency=None if components is None else LowFrequency(components),
        latent_shape=config.latent_shape,
        embedding_size=model.attributor.config.embedding_size,
        prototypes_per_generator=model.attributor.config.prototypes_per_generator,
        head=settings.head,
        density=Density(
            density.space, density.bandwidth, density.bandwidth_in_neighbour_distances, len(density.references)
        ),
        provenance=provenance,
        variants=["fp32"],
        files={},
    )
