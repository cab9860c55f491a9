"""From a model and a data set to a bundle, in one go: fit, export, prove parity, calibrate, measure, write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import torch

from protoleak.bundle.manifest import CalibratedCompute, Manifest
from protoleak.bundle.report import BundleReport, OutputParity, Stage
from protoleak.bundle.writer import check_place, write_bundle
from protoleak.dataset import Dataset
from protoleak.export.calibrate import EvaluationSetup, evaluate
from protoleak.export.computes import ComputeTrial, TriedComputes, compute_files
from protoleak.export.density_module import density_module
from protoleak.export.files import bundle_files
from protoleak.export.fit import fit_on_embeddings
from protoleak.export.graphs import (
    DeployedAttributor,
    above_noise,
    export_attributor,
    export_latent_encoder,
    with_standardised_output,
)
from protoleak.export.head_modules import HeadModule
from protoleak.export.images import ImageSet
from protoleak.export.inputs import read_inputs
from protoleak.export.manifest import describe, with_computes, with_images, with_variants
from protoleak.export.onnx_graph import graph_metadata, with_metadata
from protoleak.export.parity import prove_parity
from protoleak.export.precisions.build import BuiltVariant, VariantBuilder, calibration_pixels, sizes
from protoleak.export.runner import VariantRunner
from protoleak.export.settings import ExportSettings
from protoleak.export.speed import measure_speeds
from protoleak.export.weight_storage import round_large_weights
from protoleak.faces.framer import Framer
from protoleak.model.checkpoint import TrainedModel
from protoleak.progress import Progress, no_progress
from protoleak.runtime.noising import Noising

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
    parity: tuple[OutputParity, ...]
    skipped: tuple[str, ...]
    reports: dict[str, BundleReport]
    refused: dict[str, str]
    computes: TriedComputes


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
        CalibrationError: the data do not allow the head, the density or α, or the margins of what was left out cannot
            be read.
        ProtoleakError: the face detector is none.
        ParityError: the exported graphs do not compute what PyTorch computes. Nothing is written.
        BundleError: `out` cannot be written, or holds something that is not a bundle.
    """
    check_place(out)
    inputs = read_inputs(model, dataset, settings)
    narrow = settings.attributor_weights == "float16"
    if narrow:
        round_large_weights(model.attributor)
    fitted = fit_on_embeddings(model, inputs, settings, cache, progress)
    manifest = describe(model, fitted.density, settings, settings.name or out.stem)
    deployed = DeployedAttributor(model.attributor, HeadModule(fitted.head), density_module(fitted.density)).eval()
    graphs = _export_graphs(model, deployed, manifest, settings, progress)
    runner = VariantRunner(
        manifest, model.config.noise_bank(), graphs["latent_encoder"], graphs["attributor"], inputs.framer.find
    )
    parity = prove_parity(model, deployed, runner, inputs.framer, inputs.evaluation.calibration.paths)
    setup = EvaluationSetup(
        manifest, inputs.evaluation, settings.alpha, inputs.left_out, settings.accusation_share, fitted.statistics
    )
    evaluation = evaluate("fp32", runner, setup, progress)
    report = msgspec.structs.replace(evaluation.report, parity=list(parity), size=sizes(graphs))
    fp32 = BuiltVariant(graphs, replace(evaluation, report=report))
    variants = _with_lower_precisions(model, inputs.framer, setup, fp32, settings, progress)
    skipped = (*fitted.skipped, *evaluation.skipped)
    manifest = with_images(manifest, fitted.used | evaluation.used, skipped)
    tried = _computes(model, inputs.framer, replace(setup, manifest=manifest), variants, settings, progress)
    speeds, computes = _speeds(model, inputs.framer, manifest, variants, tried, inputs.evaluation.calibration)
    manifest = with_variants(manifest, list(variants.written), variants.refused, speeds)
    manifest = with_computes(manifest, computes, tried.refused)
    files = bundle_files(model, inputs, variants.written, fitted, narrow=narrow) | compute_files(tried.passed)
    sha256 = write_bundle(out, manifest, files)
    reports = {name: variant.evaluation.report for name, variant in variants.written.items()}
    return ExportResult(sha256, reports["fp32"], parity, skipped, reports, variants.refused, tried)


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


def _with_lower_precisions(
    model: TrainedModel,
    framer: Framer,
    setup: EvaluationSetup,
    fp32: BuiltVariant,
    settings: ExportSettings,
    progress: Progress,
) -> _Variants:
    """fp32, and every other precision asked for that passes the gate."""
    found = _Variants({"fp32": fp32}, {})
    if not settings.variants:
        return found
    builder = VariantBuilder(setup, framer, model.config.noise_bank(), fp32, settings.variant_settings, progress)
    for precision in settings.variants:
        built = builder.build(precision)
        if isinstance(built, BuiltVariant):
            found.written[precision] = built
        else:
            found.refused[precision] = built.reason
    return found


def _computes(
    model: TrainedModel,
    framer: Framer,
    setup: EvaluationSetup,
    variants: _Variants,
    settings: ExportSettings,
    progress: Progress,
) -> TriedComputes:
    """Every variant in the other computes of every engine that is here."""
    fp32 = variants.written["fp32"].evaluation
    if not len(fp32.measured.labels):
        return TriedComputes({}, {})
    trial = ComputeTrial(setup, framer, model.config.noise_bank(), fp32, settings.variant_settings.limits, progress)
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
