"""From a model and a data set to a bundle, in one go: fit, export, prove parity, calibrate, measure, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from protoleak.bundle import array_bytes, check_place, write_bundle
from protoleak.bundle_files import NOISE_BANK, PROTOTYPES
from protoleak.calibration.conformal import calibrate
from protoleak.calibration.dataset import Dataset
from protoleak.calibration.density import fit_density
from protoleak.calibration.heads import fit_head
from protoleak.calibration.temperature import fit_temperature
from protoleak.errors import DatasetError, EngineError, MediaError, ParityError
from protoleak.export.density_module import DensityModule
from protoleak.export.describe import describe, with_images
from protoleak.export.features import Features, deployed_pixels, network_features
from protoleak.export.graphs import (
    ATTRIBUTOR_OUTPUTS,
    DeployedAttributor,
    export_attributor,
    export_latent_encoder,
)
from protoleak.export.head_modules import HeadModule
from protoleak.export.images import ImageSet, folder_of_images, in_order_of, split, unknown_generators
from protoleak.export.measure import measure_variant
from protoleak.export.parity import ParityRow, compare_outputs
from protoleak.export.settings import ExportSettings
from protoleak.export.variant import ImagesRun, VariantRunner
from protoleak.model.checkpoint import TrainedModel
from protoleak.runtime import conformal
from protoleak.runtime.media import UInt8Array

__all__ = ["ExportResult", "ExportSettings", "export_bundle", "prove_parity"]

PARITY_IMAGES = 8


@dataclass(frozen=True)
class ExportResult:
    """The bundle's SHA-256, what its fp32 variant was measured to do, the parity table, and a line per file that was
    skipped because it is no readable image."""

    sha256: str
    report: dict[str, Any]
    parity: tuple[ParityRow, ...]
    skipped: tuple[str, ...]


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
    Files that are no readable images are skipped, counted and named in the manifest's provenance.

    Args:
        progress: called with a stage's name, steps done and steps in all.

    Raises:
        DatasetError: the data set is another one than the model's, or lacks images.
        CalibrationError: the data do not allow the head, the density or α.
        ParityError: the exported graphs do not compute what PyTorch computes. Nothing is written.
        BundleError: `out` cannot be written, or holds something that is not a bundle.
    """
    config = model.config
    check_place(out)
    dataset = in_order_of(config.generators, dataset)
    conformal.check_alpha(settings.alpha)
    conformal.check_enough(len(dataset.calibration), settings.alpha)
    unknown = [] if settings.unknown is None else unknown_generators(settings.unknown)
    real_faces = None if settings.real_faces is None else folder_of_images("real faces", settings.real_faces)
    splits = {name: split(dataset, name) for name in ("train", "validation", "calibration", "test")}

    train = _features(model, splits["train"], settings, progress)
    validation = _features(model, splits["validation"], settings, progress)
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
    manifest = describe(model, density, settings)
    noise_bank = config.noise_bank()

    progress("export", 0, 2)
    deployed = DeployedAttributor(model.attributor, HeadModule(head), DensityModule(density)).eval()
    latent_encoder = export_latent_encoder(model.latent_encoder, config.image_size, settings.opset)
    progress("export", 1, 2)
    example = torch.zeros(2, len(config.timesteps), model.attributor.config.in_channels, *config.latent_shape[1:])
    attributor = export_attributor(deployed, example, settings.opset)
    progress("export", 2, 2)
    runner = VariantRunner(manifest, noise_bank, latent_encoder, attributor)
    parity = prove_parity(model, deployed, runner, splits["calibration"].paths)

    runs = {name: _run(runner, splits[name], progress) for name in ("validation", "calibration", "test")}
    labels = {name: splits[name].labels[list(run.kept)] for name, run in runs.items()}
    unknown_runs = {images.name: _run_others(runner, images, progress) for images in unknown}
    real_faces_run = None if real_faces is None else _run_others(runner, real_faces, progress)
    calibration = calibrate(
        runs["calibration"].outputs.log_density,
        runs["calibration"].outputs.class_score,
        config.generators,
        fit_temperature(runs["validation"].outputs.class_score, labels["validation"]),
    )
    report = measure_variant(
        calibration,
        config.generators,
        config.real_class,
        settings.alpha,
        runs["test"].outputs,
        labels["test"],
        {name: run.outputs for name, run in unknown_runs.items()},
        None if real_faces_run is None else real_faces_run.outputs,
    )
    report["parity"] = [{**msgspec.to_builtins(row), "passes": row.passes} for row in parity]

    skipped = splits["train"].lines(train.skipped)
    for name, run in runs.items():
        skipped += splits[name].lines(run.skipped)
    for images in unknown:
        skipped += images.lines(unknown_runs[images.name].skipped)
    if real_faces is not None and real_faces_run is not None:
        skipped += real_faces.lines(real_faces_run.skipped)
    used = {"train": len(train.labels)} | {name: len(run.kept) for name, run in runs.items()}
    files = {
        NOISE_BANK: array_bytes(noise_bank),
        PROTOTYPES: array_bytes(model.attributor.prototypes.detach().numpy()),
        "variants/fp32/latent_encoder.onnx": latent_encoder,
        "variants/fp32/attributor.onnx": attributor,
        "variants/fp32/calibration.npz": calibration.to_bytes(),
        "variants/fp32/report.json": msgspec.json.format(msgspec.json.encode(report), indent=2),
    }
    sha256 = write_bundle(out, with_images(manifest, used, skipped), files)
    return ExportResult(sha256, report, parity, tuple(skipped))


def prove_parity(
    model: TrainedModel, deployed: DeployedAttributor, runner: VariantRunner, paths: Sequence[Path]
) -> tuple[ParityRow, ...]:
    """Compares both graphs with PyTorch on real images, each graph fed what the runtime feeds it.

    Raises:
        ParityError: they differ by more than 1e-4 of an output's largest magnitude, or a graph fails or gives an output
            that is not finite.
        DatasetError: there is no image to compare on.
    """
    images = _some_pixels(paths, model.config.image_size)
    try:
        stages = runner.stages(images)
    except EngineError as error:
        raise ParityError(f"the exported graphs cannot be used: {error}; no bundle written") from error
    with torch.inference_mode():
        outputs = deployed(torch.from_numpy(stages["z_t"]))
    expected = {"z0": model.latent_encoder.encode(images), "z_t": model.config.noised(stages["z0"])}
    expected |= {name: value.numpy() for name, value in zip(ATTRIBUTOR_OUTPUTS, outputs, strict=True)}
    return compare_outputs(expected, stages)


def _some_pixels(paths: Sequence[Path], image_size: int) -> UInt8Array:
    """Up to PARITY_IMAGES of the readable images, from all over the list, so from every generator: [n, S, S, 3]."""
    spread = list(paths[:: max(1, len(paths) // PARITY_IMAGES)])
    pixels: list[UInt8Array] = []
    for path in [*spread, *(path for path in paths if path not in spread)]:
        if len(pixels) == PARITY_IMAGES:
            break
        try:
            pixels.append(deployed_pixels(path, image_size))
        except MediaError:
            continue  # counted and named when the calibration images are run
    if not pixels:
        raise DatasetError(
            f"none of {len(paths)} calibration images can be read: they are needed to prove the exported graphs on, "
            "and to calibrate with"
        )
    return np.stack(pixels)


def _features(
    model: TrainedModel, images: ImageSet, settings: ExportSettings, progress: Callable[[str, int, int], None]
) -> Features:
    def show(done: int) -> None:
        progress(f"encode {images.name} images", done, len(images.paths))

    return network_features(model, images.paths, images.labels, settings.cache, show)


def _run(runner: VariantRunner, images: ImageSet, progress: Callable[[str, int, int], None]) -> ImagesRun:
    return runner.run(images.paths, lambda done: progress(f"run on {images.name} images", done, len(images.paths)))


def _run_others(runner: VariantRunner, images: ImageSet, progress: Callable[[str, int, int], None]) -> ImagesRun:
    run = _run(runner, images, progress)
    if not run.kept:
        raise DatasetError(f"{images.folder} holds no readable image: give a folder of images, or leave it out")
    return run
