"""`protoleak export`: from a model and its data set to a bundle: fit, export, prove parity, calibrate, measure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from protoleak.choices import PRECISIONS, DensitySpace, HeadKind
from protoleak.cli.endings import interruptible, needs_extra
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.options import INPUT, OUTPUT, PhotographsOption, SettingsOption, UnknownOption, print_settings_option
from protoleak.cli.settings_file import read_settings
from protoleak.cli.typed_values import existing, joined, names, typed
from protoleak.errors import ProtoleakError
from protoleak.export.settings import ExportSettings

if TYPE_CHECKING:
    from protoleak.bundle.manifest import CalibratedCompute
    from protoleak.bundle.report import BundleReport

SHOWN_SKIPPED = 20
FITTED = "Head, density and verdicts"
FP32 = "fp32"  # always written
DEFAULT = ExportSettings()
PrintSettingsOption = Annotated[bool, print_settings_option(ExportSettings, "export")]


@interruptible("nothing was written")
@needs_extra("export")
def export(
    context: typer.Context,
    model: Annotated[
        Path, typer.Argument(help="Model directory, from `protoleak train` or `protoleak import-checkpoint`.")
    ],
    data: Annotated[
        Path,
        typer.Option("--data", rich_help_panel=INPUT, help="The data set: one folder per generator, as for train."),
    ],
    out: Annotated[
        Path, typer.Option("--out", rich_help_panel=OUTPUT, help="Bundle to write: a directory, or a .zip.")
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", rich_help_panel=OUTPUT, help="Name of the bundle; left out, that of --out."),
    ] = DEFAULT.name,
    variants: Annotated[
        str,
        typer.Option(
            "--variants",
            rich_help_panel=OUTPUT,
            help=f"Precisions, with commas between: {FP32} (always written), {', '.join(PRECISIONS)}.",
        ),
    ] = joined((FP32, *DEFAULT.variants)),
    face_detector: Annotated[
        Path | None,
        typer.Option(
            "--face-detector",
            rich_help_panel=OUTPUT,
            help="A YuNet ONNX file to put into the bundle, for faces in images and videos.",
        ),
    ] = DEFAULT.face_detector,
    alpha: Annotated[
        float,
        typer.Option(
            "--alpha",
            rich_help_panel=FITTED,
            help="Significance level that the report is measured at and that the bundle is screened at.",
        ),
    ] = DEFAULT.alpha,
    head: Annotated[
        HeadKind, typer.Option("--head", rich_help_panel=FITTED, help="What scores classes.")
    ] = DEFAULT.head,
    density_space: Annotated[
        DensitySpace,
        typer.Option(
            "--density-space",
            rich_help_panel=FITTED,
            help="Where the density is taken: whitened or gated of a kernel, posterior of the prototypes.",
        ),
    ] = DEFAULT.density_space,
    auxiliary: Annotated[
        Path | None,
        typer.Option(
            "--auxiliary",
            rich_help_panel=FITTED,
            help="The generators that train learnt and doesn't name, to contrast the density.",
        ),
    ] = DEFAULT.auxiliary,
    unknown: UnknownOption = DEFAULT.unknown,
    photographs: PhotographsOption = DEFAULT.photographs,
    settings_file: SettingsOption = None,
    print_settings: PrintSettingsOption = False,  # noqa: ARG001  # it has printed and left
) -> None:
    """Write a bundle: fit head, density and conformal calibration, export both graphs and prove them, and measure.

    fp16 and int8 are written only where they keep fp32's verdicts on held-out images; where one doesn't, the rest is
    written, the reason printed, and the exit status 1.
    """
    settings = ExportSettings() if settings_file is None else read_settings(settings_file, ExportSettings)
    options = typed(
        context,
        name=name,
        variants=_precisions(variants),
        face_detector=face_detector,
        alpha=alpha,
        head=head,
        density_space=density_space,
        auxiliary=auxiliary,
        unknown=unknown,
        photographs=photographs,
    )
    settings = msgspec.structs.replace(settings, **options)
    existing(data, "--data")
    existing(settings.auxiliary, "--auxiliary")
    existing(settings.unknown, "--unknown")
    existing(settings.photographs, "--photographs")
    from protoleak.dataset import read_dataset
    from protoleak.export.export import export_bundle
    from protoleak.export.parity import table
    from protoleak.file_locks import locked
    from protoleak.files import cache_folder
    from protoleak.model.checkpoint import load_model
    from protoleak.progress import shown_progress

    trained = load_model(model)
    dataset = read_dataset(data, trained.config.real_class)
    with locked(out), shown_progress() as progress:
        result = export_bundle(trained, dataset, out, settings, progress, cache_folder("latents"))
    print(f"the exported graphs against PyTorch on real images:\n{table(result.parity)}\n")
    print(_summary(result.report))
    learnt = trained.config.provenance.get("auxiliary_images")
    if learnt and settings.auxiliary is None:
        print(f"the model learnt {learnt} images of auxiliary generators: --auxiliary contrasts the density with them")
    for line in result.skipped[:SHOWN_SKIPPED]:
        print(f"skipped: {line}")
    if len(result.skipped) > SHOWN_SKIPPED:
        print(f"skipped {len(result.skipped) - SHOWN_SKIPPED} more; protoleak inspect names all")
    for variant in settings.variants:
        print(_variant_summary(variant, result.reports))
    for compute, evaluation in result.computes.passed.items():
        print(_compute_summary(compute, evaluation.report))
    for name, why in result.computes.refused.items():
        print(f"{name} is not calibrated, so nobody gets it by itself: {why}")
    print(f"wrote {out}, SHA-256 {result.sha256}\nsee it all with: protoleak inspect {out}")
    for precision, why in result.refused.items():
        print(f"protoleak: {precision} was not written: {why}", file=sys.stderr)
    if result.refused:
        raise typer.Exit(ExitStatus.SOME_FAILED)


def _precisions(variants: str) -> tuple[str, ...]:
    """The precisions besides fp32, in the order of PRECISIONS whatever the order of typing."""
    asked = names(variants, "--variants")
    for name in asked:
        if name not in (FP32, *PRECISIONS):
            raise ProtoleakError(
                f"--variants {variants}: there is no {name!r}; choose among {FP32}, {', '.join(PRECISIONS)}"
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


def _compute_summary(compute: CalibratedCompute, report: BundleReport) -> str:
    gate = report.gate
    assert gate is not None, "what passed has a gate"
    accused = gate.real_faces_accused
    faces = "" if accused is None else f", {accused[1]} instead of {accused[0]} real faces accused"
    return (
        f"{compute.variant} in {compute.engine}, {compute.compute}: calibrated; same generator as exact on "
        f"{gate.generator_agreement:.2%} of {gate.images} test images, same side of the threshold on "
        f"{gate.verdict_agreement:.2%} of {gate.all_images}{faces}"
    )


def _summary(report: BundleReport) -> str:
    rejection, closed = report.false_rejection, report.closed_set
    shares = (
        ("real faces accused", None if report.real_faces is None else report.real_faces.accused),
        ("camera originals of the test accused", report.real_class),
        ("known test images called unknown", None if rejection is None else rejection.rejected),
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
