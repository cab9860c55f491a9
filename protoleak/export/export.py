"""From a model and a data set to a bundle, in one go: fit, export, prove parity, calibrate, measure, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from protoleak.arrays import UInt8Array
from protoleak.bundle.bundle import array_bytes, check_place, write_bundle
from protoleak.bundle.reader import FACE_DETECTOR, NOISE_BANK, PROTOTYPES
from protoleak.calibration.density import fit_density
from protoleak.calibration.heads import fit_head
from protoleak.dataset import Dataset
from protoleak.errors import DatasetError, EngineError, MediaError, ParityError
from protoleak.export.calibrate import EvaluationImages, evaluate
from protoleak.export.density_module import DensityModule
from protoleak.export.features import Features, deployed_pixels, network_features
from protoleak.export.graphs import (
    DeployedAttributor,
    export_attributor,
    export_latent_encoder,
)
from protoleak.export.head_modules import HeadModule
from protoleak.export.images import (
    ImageSet,
    auxiliary_generators,
    folder_of_images,
    in_order_of,
    split,
    unknown_generators,
)
from protoleak.export.manifest import describe, with_images, with_variants
from protoleak.export.onnx_graph import Stage
from protoleak.export.parity import ParityRow, compare_outputs
from protoleak.export.precisions.build import (
    BuiltVariant,
    VariantBuilder,
    calibration_pixels,
    check_variants,
    sizes,
    variant_files,
)
from protoleak.export.runner import VariantRunner
from protoleak.export.settings import ExportSettings
from protoleak.export.speed import measure_speeds
from protoleak.faces.yunet import YuNetDetector, read_yunet
from protoleak.model.checkpoint import TrainedModel
from protoleak.progress import Progress, no_progress
from protoleak.runtime import conformal
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS

__all__ = ["ExportResult", "ExportSettings", "export_bundle", "prove_parity"]

PARITY_IMAGES = 8
SPEED_IMAGES = 4


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        sha256: of the bundle.
        report: what its fp32 variant was measured to do.
        parity: the parity table.
        skipped: a line per file that was skipped because it is no readable image.
        reports: of every variant that was written, fp32 among them.
        refused: why a variant that was asked for was not written.
    """

    sha256: str
    report: dict[str, Any]
    parity: tuple[ParityRow, ...]
    skipped: tuple[str, ...]
    reports: dict[str, dict[str, Any]]
    refused: dict[str, str]


def export_bundle(
    model: TrainedModel,
    dataset: Dataset,
    out: Path,
    settings: ExportSettings,
    progress: Progress = no_progress,
    cache: Path | None = None,
) -> ExportResult:
    """Writes the bundle of a model: fp32, and those other variants asked for that pass the gate.

    Head and density are fitted on the training split (the density's contrast on the auxiliary generators), their
    settings and the softmax temperature on validation, the conformal calibration on the calibration split, and the
    report measured on the test split: four disjoint sets.
    Files that are no readable images are skipped, counted and named in the manifest's provenance.

    Args:
        progress: called as every stage goes on.
        cache: folder of cached latents, or None to keep none.

    Raises:
        DatasetError: the data set is another one than the model's, or lacks images.
        CalibrationError: the data do not allow the head, the density or α.
        ProtoleakError: the face detector is none.
        ParityError: the exported graphs do not compute what PyTorch computes. Nothing is written.
        BundleError: `out` cannot be written, or holds something that is not a bundle.
    """
    config = model.config
    check_place(out)
    dataset = in_order_of(config.generators, dataset)
    conformal.check_alpha(settings.alpha)
    conformal.check_enough(len(dataset.calibration), settings.alpha)
    unknown = [] if settings.unknown is None else unknown_generators(settings.unknown)
    others = None if settings.auxiliary is None else auxiliary_generators(settings.auxiliary, dataset)
    real_faces = None if settings.photographs is None else folder_of_images("real faces", settings.photographs)
    face_detector = None if settings.face_detector is None else _face_detector(settings.face_detector)
    splits = {name: split(dataset, name) for name in ("train", "validation", "calibration", "test")}
    check_variants(settings.variants, splits["calibration"], splits["test"], settings.variant_settings)

    train = _features(model, splits["train"], cache, progress)
    validation = _features(model, splits["validation"], cache, progress)
    head = fit_head(
        settings.head,
        *(train.embedding, train.gate, train.labels),
        *(validation.embedding, validation.gate, validation.labels),
        config.generators,
    )
    auxiliary = None if others is None else _features(model, others, cache, progress)
    density = fit_density(
        *(train.embedding, train.gate, train.labels),
        *(validation.embedding, validation.gate),
        space=settings.density_space,
        bandwidth=settings.density_bandwidth,
        auxiliary=None if auxiliary is None else (auxiliary.embedding, auxiliary.gate),
        contrast=0.0 if auxiliary is None else settings.contrast,
    )
    manifest = describe(model, density, settings, settings.name or out.stem)
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

    images = EvaluationImages(splits["validation"], splits["calibration"], splits["test"], tuple(unknown), real_faces)
    fp32 = evaluate(runner, manifest, images, settings.alpha, progress)
    graphs: dict[Stage, bytes] = {"latent_encoder": latent_encoder, "attributor": attributor}
    fp32.report["parity"] = [{**msgspec.to_builtins(row), "passes": row.passes} for row in parity]
    fp32.report["size"] = sizes(graphs)
    written = {"fp32": BuiltVariant(graphs, fp32)}
    refused: dict[str, str] = {}
    if settings.variants:
        builder = VariantBuilder(
            manifest, noise_bank, graphs, fp32, images, settings.alpha, settings.variant_settings, progress
        )
    for precision in settings.variants:
        built = builder.build(precision)
        if isinstance(built, BuiltVariant):
            written[precision] = built
        else:
            refused[precision] = built.reason

    used = {"train": len(train.labels)}
    skipped = splits["train"].lines(train.skipped)
    if others is not None and auxiliary is not None:
        used["auxiliary"] = len(auxiliary.labels)
        skipped += others.lines(auxiliary.skipped)
    skipped += fp32.skipped
    files = {
        NOISE_BANK: array_bytes(noise_bank),
        PROTOTYPES: array_bytes(model.attributor.prototypes.detach().numpy()),
    }
    if face_detector is not None:
        files[FACE_DETECTOR] = face_detector
    for name, variant in written.items():
        files |= variant_files(name, variant)
    manifest = with_images(manifest, used | fp32.used, skipped)
    speeds = None
    if len(written) > 1:
        pixels = calibration_pixels(splits["calibration"], SPEED_IMAGES, config.image_size)
        speeds = measure_speeds(
            {name: variant.graphs for name, variant in written.items()}, manifest, noise_bank, pixels
        )
    manifest = with_variants(manifest, list(written), refused, speeds)
    sha256 = write_bundle(out, manifest, files)
    reports = {name: variant.evaluation.report for name, variant in written.items()}
    return ExportResult(sha256, fp32.report, parity, tuple(skipped), reports, refused)


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


def _face_detector(file: Path) -> bytes:
    """A YuNet model that was read, checked and run once: it fails here rather than at the bundle's user."""
    model = read_yunet(file, "--face-detector")
    YuNetDetector(model, f"--face-detector {file}", score=0.5, minimum_face=1)
    return model


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


def _features(model: TrainedModel, images: ImageSet, cache: Path | None, progress: Progress) -> Features:
    def show(done: int) -> None:
        progress(f"encode {images.name} images", done, len(images.paths))

    return network_features(model, images.paths, images.labels, cache, show)
