"""`protoleak distill`: a light latent encoder that gives a large one's latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from protoleak.commands.options import (
    InputRangeOption,
    ScalingOption,
    input_range,
    integers,
    interruptible,
    needs_extra,
)
from protoleak.errors import ProtoleakError


@interruptible("nothing was written; latents of the teacher are kept for the next run")
@needs_extra("export")
def distill(
    teacher: Annotated[str, typer.Option("--teacher", help="The latent encoder to learn from; see train.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of pictures; no labels are needed.")],
    out: Annotated[Path, typer.Option("--out", help="Directory to write the student to.")],
    teacher_range: InputRangeOption = "0,1",
    scaling: ScalingOption = 1.0,
    widths: Annotated[str, typer.Option("--widths", help="Channels at 1/2, 1/4 and 1/8 of the size.")] = "32,64,96",
    blocks: Annotated[str, typer.Option("--blocks", help="Residual blocks at each of these sizes.")] = "1,2,3",
    views: Annotated[int, typer.Option("--views", min=0, help="Random crops per picture, besides the whole.")] = 3,
    epochs: Annotated[int, typer.Option("--epochs", min=1)] = 16,
    batch_size: Annotated[int, typer.Option("--batch-size", min=2)] = 16,
    learning_rate: Annotated[float, typer.Option("--learning-rate", min=0)] = 2e-3,
    precision: Annotated[
        str, typer.Option("--precision", help="fp32, or bf16 on processors with bfloat16 instructions.")
    ] = "fp32",
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Distil a light latent encoder, and report how closely it follows its teacher on pictures that it never saw."""
    if precision not in ("fp32", "bf16"):
        raise ProtoleakError(f"--precision {precision}: choose fp32 or bf16")
    from protoleak.model.latent_cache import default_cache
    from protoleak.model.latent_encoder import load_latent_encoder
    from protoleak.training.distill import DistillationSettings, distil
    from protoleak.training.memory import keep_freed_memory
    from protoleak.training.progress import progress_bar

    keep_freed_memory()
    settings = DistillationSettings(
        widths=_three(widths, "--widths"),
        blocks=_three(blocks, "--blocks"),
        views=views,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        precision=precision,  # type: ignore[arg-type]  # checked above
        seed=seed,
    )
    encoder = load_latent_encoder(teacher, input_range=input_range(teacher_range), scaling=scaling)
    with progress_bar() as progress:
        report = distil(encoder, data, out, settings, default_cache(), progress)
    print(_summary(report, out))


def _three(text: str, option: str) -> tuple[int, int, int]:
    values = integers(text, option)
    if len(values) != 3 or min(values) < 1:
        raise ProtoleakError(f"{option} {text!r}: give three whole numbers of 1 or more, such as 32,64,96")
    return values[0], values[1], values[2]


def _summary(report: dict[str, Any], out: Path) -> str:
    channels = " ".join(f"{value:.3f}" for value in report["correlation_per_channel"])
    return (
        f"{out}: {report['parameters']:,} parameters, from {report['training_images']} pictures\n"
        f"correlation with the teacher on {report['held_out_images']} pictures not seen: "
        f"mean {report['correlation_mean']:.3f}, lowest {report['correlation_lowest']:.3f}\n"
        f"per channel: {channels}\n"
        + (f"skipped {len(report['skipped'])} files that are no readable images\n" if report["skipped"] else "")
        + f"use it with: protoleak train DATA --latent-encoder {out} --out MODEL"
    )
