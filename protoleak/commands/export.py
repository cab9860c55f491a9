"""`protoleak export`: from a model and its data set to a bundle: fit, export, prove parity, calibrate, measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from protoleak.commands.options import existing, needs_extra
from protoleak.errors import ProtoleakError

HEADS = ("prototype", "mahalanobis", "gaussian_mixture", "kernel_density", "tied_gaussian")
SHOWN_SKIPPED = 20


@needs_extra("export")
def export(
    model: Annotated[Path, typer.Argument(help="Model directory, from `protoleak train` or `protoleak import`.")],
    data: Annotated[Path, typer.Option("--data", help="The data set: one folder per generator, as for train.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle to write: a directory, or a .zip.")],
    head: Annotated[str, typer.Option("--head", help=f"What scores classes: {', '.join(HEADS)}.")] = "prototype",
    density_space: Annotated[
        str, typer.Option("--density-space", help="whitened, or gated for the published raw one.")
    ] = "whitened",
    unknown: Annotated[
        Optional[Path],  # noqa: UP045 Typer evaluates this on Python 3.10 too
        typer.Option("--unknown", help="Images of generators that the model doesn't know, to measure on."),
    ] = None,
    real_faces: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--real-faces", help="Photographs of people that training never saw, to measure on."),
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Significance level that the report is measured at.")] = 0.05,
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--name", help="Name of the bundle; left out, that of --out."),
    ] = None,
    opset: Annotated[int, typer.Option("--opset", min=18, help="ONNX opset of the graphs.")] = 20,
) -> None:
    """Write a bundle: fit head, density and conformal calibration, export both graphs and prove them, and measure."""
    if head not in HEADS:
        raise ProtoleakError(f"--head {head}: choose one of {', '.join(HEADS)}")
    if density_space not in ("whitened", "gated"):
        raise ProtoleakError(f"--density-space {density_space}: choose whitened or gated")
    for option, path in (("--data", data), ("--unknown", unknown), ("--real-faces", real_faces)):
        if path is not None:
            existing(path, option)
    from protoleak.calibration.dataset import read_dataset
    from protoleak.export.bundle_export import ExportSettings, export_bundle
    from protoleak.model.checkpoint import load_model
    from protoleak.model.latent_cache import default_cache
    from protoleak.training.progress import Progress, progress_bar

    trained = load_model(model)
    dataset = read_dataset(data, trained.config.real_class)
    settings = ExportSettings(
        name=name or out.stem,
        head=head,  # type: ignore[arg-type]  # checked above
        density_space=density_space,  # type: ignore[arg-type]
        alpha=alpha,
        opset=opset,
        unknown=unknown,
        real_faces=real_faces,
        cache=default_cache(),
    )
    with progress_bar() as progress:
        result = export_bundle(
            trained, dataset, out, settings, lambda stage, done, total: progress(Progress(stage, done, total))
        )
    from protoleak.export.parity import table

    print(f"the exported graphs against PyTorch on real images:\n{table(result.parity)}\n")
    print(_summary(result.report))
    for line in result.skipped[:SHOWN_SKIPPED]:
        print(f"skipped: {line}")
    if len(result.skipped) > SHOWN_SKIPPED:
        print(f"skipped {len(result.skipped) - SHOWN_SKIPPED} more; protoleak inspect names all")
    print(f"wrote {out}, SHA-256 {result.sha256}\nsee it all with: protoleak inspect {out}")


def _summary(report: dict[str, Any]) -> str:
    lines = []
    for key, text in (
        ("real_faces_accused", "real faces accused"),
        ("real_class_accused", "test images of the real class accused"),
        ("false_rejection", "known test images called unknown"),
    ):
        if key in report:
            lines.append(f"{text}: {report[key]['count']} of {report[key]['of']}")
    if "closed_set" in report:
        lines.append(f"macro AUC (softmax over generators): {report['closed_set']['macro_auc_softmax']:.4f}")
    for name, numbers in report.get("open_set", {}).items():
        if "rejected" in numbers:
            lines.append(f"{name}: {numbers['rejected']['count']} of {numbers['rejected']['of']} called unknown")
        if "auroc" in numbers:
            lines.append(f"known against {name}: AUROC {numbers['auroc']:.4f}")
    return "\n".join(lines)
