"""From a model and a data set to a bundle, in one go: fit, export, prove parity, calibrate, measure, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import torch

from protoleak.arrays import UInt8Array
from protoleak.bundle.bundle import array_bytes, check_place, write_bundle
from protoleak.bundle.class_statistics import CLASS_STATISTICS, ClassStatistics
from protoleak.bundle.enrolment import ENROLMENT, ScoreConstants
from protoleak.bundle.manifest import CalibratedCompute, Manifest
from protoleak.bundle.reader import FACE_DETECTOR, NOISE_BANK, PROTOTYPES
from protoleak.bundle.report import BundleReport, OutputParity, Stage
from protoleak.calibration.class_statistics import fit_class_statistics
from protoleak.calibration.conformal_fit import LeftOutMargins
from protoleak.calibration.density import DensityModel, fit_density
from protoleak.calibration.heads import Head, PrototypeHead, fit_head
from protoleak.calibration.posterior import PosteriorDensity
from protoleak.dataset import Dataset
from protoleak.errors import DatasetError, EngineError, MediaError, ParityError, ProtoleakError
from protoleak.export.calibrate import EvaluationImages, evaluate
from protoleak.export.computes import ComputeTrial, TriedComputes, compute_files
from protoleak.export.density_module import density_module
from protoleak.export.features import Features, network_features
from protoleak.export.graphs import (
    DeployedAttributor,
    above_noise,
    export_attributor,
    export_latent_encoder,
    with_standardised_output,
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
from protoleak.export.manifest import describe, with_computes, with_images, with_variants
from protoleak.export.onnx_graph import graph_metadata, with_metadata
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
from protoleak.export.weight_storage import round_large_weights, stored_small
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.faces.yunet import YuNetDetector, read_yunet
from protoleak.model.checkpoint import TrainedModel
from protoleak.progress import Progress, no_progress
from protoleak.runtime import conformal
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS
from protoleak.runtime.noising import Noising

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
        computes: what was tried beside exact computing.
    """

    sha256: str
    report: BundleReport
    parity: tuple[ParityRow, ...]
    skipped: tuple[str, ...]
    reports: dict[str, BundleReport]
    refused: dict[str, str]
    computes: TriedComputes


@dataclass(frozen=True)
class _Inputs:
    """Everything that an export reads, listed and checked before any work.

    Attributes:
        train: what head and density are fitted to.
        auxiliary: what the density is contrasted with, or None.
        evaluation: what every variant is run on.
        face_detector: an ONNX model that goes into the bundle, or None.
        framer: of the model's framing, with that detector.
    """

    train: ImageSet
    auxiliary: ImageSet | None
    evaluation: EvaluationImages
    face_detector: bytes | None
    framer: Framer


@dataclass(frozen=True)
class _Fitted:
    """What is fitted to the training images, and how many there were.

    Attributes:
        statistics: what a newcomer will be told by; None where head and density allow no enrolment.
        used: readable images per set.
        skipped: a line per file that is no readable image.
    """

    head: Head
    density: DensityModel | PosteriorDensity
    statistics: ClassStatistics | None
    used: dict[str, int]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class _Variants:
    """The variants that are written, fp32 first, and why others are not."""

    written: dict[str, BuiltVariant]
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
    check_place(out)
    inputs = _read_inputs(model, dataset, settings)
    narrow = settings.attributor_weights == "float16"
    if narrow:
        round_large_weights(model.attributor)
    fitted = _fit(model, inputs, settings, cache, progress)
    manifest = describe(model, fitted.density, settings, settings.name or out.stem)
    deployed = DeployedAttributor(model.attributor, HeadModule(fitted.head), density_module(fitted.density)).eval()
    graphs = _export_graphs(model, deployed, manifest, settings, progress)
    runner = VariantRunner(
        manifest, model.config.noise_bank(), graphs["latent_encoder"], graphs["attributor"], inputs.framer.find
    )
    parity = prove_parity(model, deployed, runner, inputs.framer, inputs.evaluation.calibration.paths)
    fp32 = _fp32(runner, manifest, graphs, parity, inputs.evaluation, settings, progress, fitted.statistics)
    variants = _with_lower_precisions(
        model, inputs.framer, manifest, fp32, inputs.evaluation, settings, progress, fitted.statistics
    )

    evaluation = fp32.evaluation
    skipped = (*fitted.skipped, *evaluation.skipped)
    manifest = with_images(manifest, fitted.used | evaluation.used, skipped)
    tried = _computes(model, inputs, manifest, variants, settings, progress)
    speeds, computes = _speeds(model, inputs.framer, manifest, variants, tried, inputs.evaluation.calibration)
    manifest = with_variants(manifest, list(variants.written), variants.refused, speeds)
    manifest = with_computes(manifest, computes, tried.refused)
    files = _files(model, inputs, variants, fitted, narrow=narrow) | compute_files(tried.passed)
    sha256 = write_bundle(out, manifest, files)
    reports = {name: variant.evaluation.report for name, variant in variants.written.items()}
    return ExportResult(sha256, reports["fp32"], parity, skipped, reports, variants.refused, tried)


def _read_inputs(model: TrainedModel, dataset: Dataset, settings: ExportSettings) -> _Inputs:
    """Lists and checks everything, so that a mistyped folder or an impossible α costs no time."""
    dataset = in_order_of(model.config.generators, dataset)
    conformal.check_alpha(settings.alpha)
    conformal.check_enough(len(dataset.calibration), settings.alpha)
    unknown = () if settings.unknown is None else tuple(unknown_generators(settings.unknown))
    auxiliary = None if settings.auxiliary is None else auxiliary_generators(settings.auxiliary, dataset)
    real_faces = None if settings.photographs is None else folder_of_images("real faces", settings.photographs)
    face_detector = None if settings.face_detector is None else _face_detector(settings.face_detector)
    framing = model.config.framing
    if framing.needs_face and face_detector is None:
        raise ProtoleakError(
            f"the model looks at faces ({', '.join(framing.looks)}): give --face-detector FILE, a YuNet model; it goes "
            "into the bundle, so that faces are found where that is used as they are here"
        )
    train, validation, calibration, test = (
        split(dataset, name) for name in ("train", "validation", "calibration", "test")
    )
    check_variants(settings.variants, calibration, test)
    return _Inputs(
        train,
        auxiliary,
        EvaluationImages(validation, calibration, test, unknown, real_faces),
        face_detector,
        Framer(framing, LargestFace(settings.face_detector) if settings.face_detector and framing.needs_face else None),
    )


def _fit(
    model: TrainedModel, inputs: _Inputs, settings: ExportSettings, cache: Path | None, progress: Progress
) -> _Fitted:
    """Fits head and density on the network's embeddings."""
    train = _features(model, inputs.train, inputs.framer, cache, progress)
    validation = _features(model, inputs.evaluation.validation, inputs.framer, cache, progress)
    head = fit_head(
        settings.head,
        *(train.embedding, train.gate, train.labels),
        *(validation.embedding, validation.gate, validation.labels),
        model.config.generators,
    )
    auxiliary = None if inputs.auxiliary is None else _features(model, inputs.auxiliary, inputs.framer, cache, progress)
    density: DensityModel | PosteriorDensity
    if settings.density_space == "posterior":
        network = model.attributor
        density = PosteriorDensity.fit(
            network.prototypes.detach().numpy(),
            network.auxiliary_prototypes.numpy(),
            network.temperature,
            *(train.embedding, train.gate),
            floor_quantile=settings.density_floor,
        )
    else:
        density = fit_density(
            *(train.embedding, train.gate, train.labels),
            *(validation.embedding, validation.gate),
            space=settings.density_space,
            bandwidth=settings.density_bandwidth,
            auxiliary=None if auxiliary is None else (auxiliary.embedding, auxiliary.gate),
            contrast=0.0 if auxiliary is None else settings.contrast,
        )
    used = {"train": len(train.labels)}
    skipped = inputs.train.lines(train.skipped)
    if inputs.auxiliary is not None and auxiliary is not None:
        used["auxiliary"] = len(auxiliary.labels)
        skipped += inputs.auxiliary.lines(auxiliary.skipped)
    statistics = None
    if isinstance(head, PrototypeHead) and isinstance(density, PosteriorDensity):
        of_train = train.statistics, train.embedding, train.labels
        statistics = fit_class_statistics(*of_train, len(model.config.generators))
    return _Fitted(head, density, statistics, used, tuple(skipped))


def _features(
    model: TrainedModel, images: ImageSet, framer: Framer, cache: Path | None, progress: Progress
) -> Features:
    def show(done: int) -> None:
        progress(f"encode {images.name} images", done, len(images.paths))

    return network_features(model, images.paths, images.labels, framer, cache, show)


def _export_graphs(
    model: TrainedModel,
    deployed: DeployedAttributor,
    manifest: Manifest,
    settings: ExportSettings,
    progress: Progress,
) -> dict[Stage, bytes]:
    """Both graphs in fp32."""
    config = model.config
    metadata = graph_metadata(manifest)
    progress("export", 0, 2)
    latent_encoder = export_latent_encoder(model.latent_encoder, config.image_size, settings.opset)
    if config.latent_mean is not None and config.latent_spread is not None:
        latent_encoder = with_standardised_output(latent_encoder, config.latent_mean, config.latent_spread)
    progress("export", 1, 2)
    if manifest.attributor_input == "z0":
        deployed = above_noise(deployed, Noising.of(manifest, config.noise_bank()))
    attributor = export_attributor(deployed, torch.zeros(2, *manifest.attributor_input_shape), settings.opset)
    progress("export", 2, 2)
    return {
        "latent_encoder": with_metadata(latent_encoder, metadata),
        "attributor": with_metadata(attributor, metadata),
    }


def prove_parity(
    model: TrainedModel, deployed: DeployedAttributor, runner: VariantRunner, framer: Framer, paths: Sequence[Path]
) -> tuple[ParityRow, ...]:
    """Compares both graphs with PyTorch on real images, each graph fed what the runtime feeds it; PyTorch noises z0
    and takes every operation of z_t, whatever the graph does.

    Raises:
        ParityError: they differ by more than 1e-4 of an output's largest magnitude, or a graph fails or gives an output
            that is not finite.
        DatasetError: there is no image to compare on.
    """
    images = _some_pixels(paths, framer)
    try:
        stages = runner.stages(images)
    except EngineError as error:
        raise ParityError(f"the exported graphs cannot be used: {error}; no bundle written") from error
    z_t = model.config.noised(stages["z0"])
    with torch.inference_mode():
        outputs = deployed(torch.from_numpy(stages.get("z_t", z_t)))
    expected = {"z0": model.encode(images.reshape(-1, *images.shape[2:]))}
    expected |= {"z_t": z_t} if "z_t" in stages else {}
    expected |= {name: value.numpy() for name, value in zip(ATTRIBUTOR_OUTPUTS, outputs, strict=True)}
    return compare_outputs(expected, stages)


def _fp32(
    runner: VariantRunner,
    manifest: Manifest,
    graphs: dict[Stage, bytes],
    parity: Sequence[ParityRow],
    images: EvaluationImages,
    settings: ExportSettings,
    progress: Progress,
    statistics: ClassStatistics | None,
) -> BuiltVariant:
    """The fp32 variant with its own calibration and its report, complete."""
    left_out = None if settings.left_out is None else LeftOutMargins.read(settings.left_out)
    evaluation = evaluate(
        "fp32", runner, manifest, images, settings.alpha, progress, left_out, settings.accusation_share, statistics
    )
    rows = [OutputParity(row.output, row.maximum, row.mean, row.relative, row.passes) for row in parity]
    report = msgspec.structs.replace(evaluation.report, parity=rows, size=sizes(graphs))
    return BuiltVariant(graphs, replace(evaluation, report=report))


def _with_lower_precisions(
    model: TrainedModel,
    framer: Framer,
    manifest: Manifest,
    fp32: BuiltVariant,
    images: EvaluationImages,
    settings: ExportSettings,
    progress: Progress,
    statistics: ClassStatistics | None,
) -> _Variants:
    """fp32, and every other precision asked for that passes the gate."""
    found = _Variants({"fp32": fp32}, {})
    if not settings.variants:
        return found
    builder = VariantBuilder(
        framer,
        manifest,
        model.config.noise_bank(),
        fp32.graphs,
        fp32.evaluation,
        images,
        settings.alpha,
        settings.variant_settings,
        settings.left_out,
        settings.accusation_share,
        progress,
        statistics,
    )
    for precision in settings.variants:
        built = builder.build(precision)
        if isinstance(built, BuiltVariant):
            found.written[precision] = built
        else:
            found.refused[precision] = built.reason
    return found


def _computes(
    model: TrainedModel,
    inputs: _Inputs,
    manifest: Manifest,
    variants: _Variants,
    settings: ExportSettings,
    progress: Progress,
) -> TriedComputes:
    """Every variant in the other computes of every engine that is here."""
    fp32 = variants.written["fp32"].evaluation
    if not len(fp32.measured.labels):
        return TriedComputes({}, {})
    trial = ComputeTrial(
        framer=inputs.framer,
        manifest=manifest,
        noise_bank=model.config.noise_bank(),
        images=inputs.evaluation,
        reference=fp32,
        alpha=settings.alpha,
        left_out=None if settings.left_out is None else LeftOutMargins.read(settings.left_out),
        accusation_share=settings.accusation_share,
        limits=settings.variant_settings.limits,
        progress=progress,
    )
    return trial.run({name: variant.graphs for name, variant in variants.written.items()}, settings.computes)


def _speeds(
    model: TrainedModel,
    framer: Framer,
    manifest: Manifest,
    variants: _Variants,
    tried: TriedComputes,
    calibration: ImageSet,
) -> tuple[dict[str, dict[str, float]] | None, list[CalibratedCompute]]:
    """Engine → variant → milliseconds, and the computes with theirs; None where there is nothing to choose among."""
    if len(variants.written) == 1 and not tried.passed:
        return None, []
    pixels = calibration_pixels(calibration, SPEED_IMAGES, framer)
    graphs = {name: variant.graphs for name, variant in variants.written.items()}
    return measure_speeds(graphs, list(tried.passed), manifest, model.config.noise_bank(), pixels)


def _enrolment_files(fitted: _Fitted) -> dict[str, bytes]:
    """What a generator can be enrolled with: for the prototypes' own class score and density. None for others."""
    density = fitted.density
    if fitted.statistics is None or not isinstance(density, PosteriorDensity):
        return {}
    constants = ScoreConstants(density.temperature, density.floor)
    return {ENROLMENT: constants.to_bytes(), CLASS_STATISTICS: fitted.statistics.to_bytes()}


def _files(
    model: TrainedModel, inputs: _Inputs, variants: _Variants, fitted: _Fitted, *, narrow: bool
) -> dict[str, bytes]:
    """Every file of the bundle but its manifest and those of computes, by path.

    Args:
        narrow: the attributor's large weights were rounded to float16, and are stored so.
    """
    files = {
        NOISE_BANK: array_bytes(model.config.noise_bank()),
        PROTOTYPES: array_bytes(model.attributor.prototypes.detach().numpy()),
    }
    if inputs.face_detector is not None:
        files[FACE_DETECTOR] = inputs.face_detector
    for_enrolment = _enrolment_files(fitted)
    files |= for_enrolment
    for name, variant in variants.written.items():
        files |= variant_files(name, stored_small(variant) if narrow else variant, bool(for_enrolment))
    return files


def _face_detector(file: Path) -> bytes:
    """A YuNet model that was read, checked and run once: it fails here rather than at the bundle's user."""
    model = read_yunet(file, "--face-detector")
    YuNetDetector(model, f"--face-detector {file}", score=0.5, minimum_face=1)
    return model


def _some_pixels(paths: Sequence[Path], framer: Framer) -> UInt8Array:
    """Up to PARITY_IMAGES of the readable images, from all over the list, so from every generator: [n, L, S, S, 3]."""
    spread = list(paths[:: max(1, len(paths) // PARITY_IMAGES)])
    pixels: list[UInt8Array] = []
    for path in [*spread, *(path for path in paths if path not in spread)]:
        if len(pixels) == PARITY_IMAGES:
            break
        try:
            pixels.append(framer.file(path))
        except MediaError:
            continue  # counted and named when the calibration images are run
    if not pixels:
        raise DatasetError(
            f"none of {len(paths)} calibration images can be read: they are needed to prove the exported graphs on, "
            "and to calibrate with"
        )
    return np.stack(pixels)
