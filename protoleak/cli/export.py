"""`protoleak export`: from a model and its data set to a bundle: fit, export, prove parity, calibrate, measure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from protoleak.cli.options import existing, interruptible, names, needs_extra
from protoleak.errors import ProtoleakError

if TYPE_CHECKING:
    from protoleak.bundle.report import BundleReport

HEADS = ("prototype", "mahalanobis", "gaussian_mixture", "kernel_density", "tied_gaussian")
# Those of export.settings and export.quantise, which import too much to be read for a help text.
PRECISIONS = ("fp16", "int8")
RANGE_METHODS = ("minmax", "entropy", "percentile")
SHOWN_SKIPPED = 20


@interruptible("nothing was written")
@needs_extra("export")
def export(
    model: Annotated[Path, typer.Argument(help="Model directory, from `protoleak train` or `protoleak import`.")],
    data: Annotated[Path, typer.Option("--data", help="The data set: one folder per generator, as for train.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle to write: a directory, or a .zip.")],
    head: Annotated[str, typer.Option("--head", help=f"What scores classes: {', '.join(HEADS)}.")] = "prototype",
    density_space: Annotated[
        str, typer.Option("--density-space", help="whitened, or gated for the published raw one.")
    ] = "whitened",
    density_bandwidth: Annotated[
        Optional[float],  # noqa: UP045 Typer evaluates this on Python 3.10 too
        typer.Option(
            "--density-bandwidth",
            help="In distances to the nearest neighbour. Left out, 1.5 with --auxiliary, else the likeliest.",
        ),
    ] = None,
    auxiliary: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--auxiliary", help="The generators that train learnt and doesn't name, to contrast the density."),
    ] = None,
    contrast: Annotated[
        float, typer.Option("--contrast", help="How much the density of --auxiliary counts, from 0 to 1.")
    ] = 0.2,
    unknown: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--unknown", help="Images of generators that the model doesn't know, to measure on."),
    ] = None,
    real_faces: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--real-faces", help="Photographs of people that training never saw, to measure on."),
    ] = None,
    face_detector: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--face-detector", help="A YuNet ONNX file to put into the bundle, for screening videos."),
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Significance level that the report is measured at.")] = 0.05,
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--name", help="Name of the bundle; left out, that of --out."),
    ] = None,
    opset: Annotated[int, typer.Option("--opset", min=18, help="ONNX opset of the graphs.")] = 20,
    variants: Annotated[
        str, typer.Option("--variants", help="Precisions, with commas between: fp32 (always written), fp16, int8.")
    ] = "fp32",
    calibration_images: Annotated[
        int,
        typer.Option("--calibration-images", help="Images of the calibration split that int8 ranges are measured on."),
    ] = 64,
    calibration_method: Annotated[
        str, typer.Option("--calibration-method", help=f"How int8 ranges are chosen: {', '.join(RANGE_METHODS)}.")
    ] = "minmax",
    generator_agreement: Annotated[
        float,
        typer.Option("--generator-agreement", help="Least share of test images whose generator is that of fp32."),
    ] = 0.99,
    verdict_agreement: Annotated[
        float,
        typer.Option(
            "--verdict-agreement", help="Least share of held-out images that are known or unknown as in fp32."
        ),
    ] = 0.97,
    auc_drop: Annotated[
        float, typer.Option("--auc-drop", help="Largest fall of any AUC that fp16 or int8 may cost.")
    ] = 0.005,
) -> None:
    """Write a bundle: fit head, density and conformal calibration, export both graphs and prove them, and measure.

    fp16 and int8 are written only where they keep fp32's verdicts on held-out images; where one doesn't, the rest is
    written, the reason printed, and the exit status 1.
    """
    if head not in HEADS:
        raise ProtoleakError(f"--head {head}: choose one of {', '.join(HEADS)}")
    if density_space not in ("whitened", "gated"):
        raise ProtoleakError(f"--density-space {density_space}: choose whitened or gated")
    if density_bandwidth is not None and not density_bandwidth > 0:
        raise ProtoleakError(
            f"--density-bandwidth {density_bandwidth:g}: give a number above 0, in distances to the nearest neighbour"
        )
    if not 0 <= contrast <= 1:
        raise ProtoleakError(f"--contrast {contrast:g}: give a number from 0 (none) to 1")
    for option, path in (
        ("--data", data),
        ("--auxiliary", auxiliary),
        ("--unknown", unknown),
        ("--real-faces", real_faces),
    ):
        if path is not None:
            existing(path, option)
    precisions = _precisions(variants)
    if calibration_method not in RANGE_METHODS:
        raise ProtoleakError(f"--calibration-method {calibration_method}: choose one of {', '.join(RANGE_METHODS)}")
    for option, share in (("--generator-agreement", generator_agreement), ("--verdict-agreement", verdict_agreement)):
        if not 0 <= share <= 1:
            raise ProtoleakError(f"{option} {share:g}: give a share between 0 and 1, such as 0.99")
    from protoleak.bundle.report import GateLimits
    from protoleak.dataset import read_dataset
    from protoleak.export.export import export_bundle
    from protoleak.export.settings import ExportSettings, VariantSettings
    from protoleak.model.checkpoint import load_model
    from protoleak.model.latent_cache import default_cache
    from protoleak.progress import Progress, progress_bar

    trained = load_model(model)
    dataset = read_dataset(data, trained.config.real_class)
    settings = ExportSettings(
        name=name or out.stem,
        head=head,  # type: ignore[arg-type]  # checked above
        density_space=density_space,  # type: ignore[arg-type]
        bandwidth=density_bandwidth,
        auxiliary=auxiliary,
        contrast=contrast,
        alpha=alpha,
        opset=opset,
        unknown=unknown,
        real_faces=real_faces,
        face_detector=face_detector,
        cache=default_cache(),
        variants=precisions,  # type: ignore[arg-type]  # checked above
        variant_settings=VariantSettings(
            calibration_images=calibration_images,
            method=calibration_method,  # type: ignore[arg-type]  # checked above
            limits=GateLimits(generator_agreement, verdict_agreement, auc_drop),
        ),
    )
    with progress_bar() as progress:
        result = export_bundle(
            trained, dataset, out, settings, lambda stage, done, total: progress(Progress(stage, done, total))
        )
    from protoleak.export.parity import table

    print(f"the exported graphs against PyTorch on real images:\n{table(result.parity)}\n")
    print(_summary(result.report))
    learnt = trained.config.provenance.get("auxiliary_images")
    if learnt and auxiliary is None:
        print(f"the model learnt {learnt} images of auxiliary generators: --auxiliary contrasts the density with them")
    for line in result.skipped[:SHOWN_SKIPPED]:
        print(f"skipped: {line}")
    if len(result.skipped) > SHOWN_SKIPPED:
        print(f"skipped {len(result.skipped) - SHOWN_SKIPPED} more; protoleak inspect names all")
    for precision in precisions:
        print(_variant_summary(precision, result.reports))
    print(f"wrote {out}, SHA-256 {result.sha256}\nsee it all with: protoleak inspect {out}")
    for precision, why in result.refused.items():
        print(f"protoleak: {precision} was not written: {why}", file=sys.stderr)
    if result.refused:
        raise typer.Exit(1)


def _precisions(variants: str) -> tuple[str, ...]:
    """The precisions besides fp32, in the order of PRECISIONS whatever the order of typing."""
    asked = names(variants, "--variants")
    for name in asked:
        if name not in ("fp32", *PRECISIONS):
            raise ProtoleakError(
                f"--variants {variants}: there is no {name!r}; choose among fp32, {', '.join(PRECISIONS)}"
            )
    return tuple(precision for precision in PRECISIONS if precision in asked)


def _variant_summary(name: str, reports: dict[str, BundleReport]) -> str:
    report = reports.get(name)
    gate = None if report is None else report.gate
    if report is None or gate is None:
        return f"{name}: not written"
    size, fp32_size = (sum(reports[variant].size.values()) / 1e6 for variant in (name, "fp32"))
    lines = [
        f"{name}: {size:.1f} MB instead of {fp32_size:.1f} MB; same generator as fp32 on "
        f"{gate.generator_agreement:.2%} of {gate.images} test images, same side of the threshold on "
        f"{gate.verdict_agreement:.2%} of {gate.all_images}"
    ]
    returned = [] if report.precisions is None else [item.layer for item in report.precisions.returned_to_fp32]
    if returned:
        lines.append(f"{name}: {len(returned)} sensitive layers stay in fp32: {', '.join(returned)}")
    return "\n".join(lines)


def _summary(report: BundleReport) -> str:
    rejection, closed = report.false_rejection, report.closed_set
    shares = (
        ("real faces accused", None if report.real_faces is None else report.real_faces.accused),
        ("test images of the real class accused", report.real_class),
        ("known test images rejected as unknown", None if rejection is None else rejection.rejected),
        ("known test images withheld as too like a camera's", None if rejection is None else rejection.withheld),
    )
    lines = [f"{text}: {share.count} of {share.of}" for text, share in shares if share is not None]
    if closed is not None and closed.macro_auc_softmax.value is not None:
        lines.append(f"macro AUC (softmax over generators): {closed.macro_auc_softmax.value:.4f}")
    for name, found in report.unknown.items():
        lines.append(f"{name}: {found.rejected.count} of {found.rejected.of} called unknown")
        if found.open_set is not None and found.open_set.auroc.value is not None:
            lines.append(f"known against {name}: AUROC {found.open_set.auroc.value:.4f}")
    for against in report.real_open_set:
        if against.auroc.value is not None:
            lines.append(f"known generators against real faces by {against.score}: AUROC {against.auroc.value:.4f}")
    return "\n".join(lines)
