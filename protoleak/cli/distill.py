"""`protoleak distill`: light latent encoders that give a large one's latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from protoleak.choices import LOOKS, Look
from protoleak.cli.console import say
from protoleak.cli.endings import interruptible, needs_extra
from protoleak.cli.options import (
    INPUT,
    OUTPUT,
    TRAINING,
    InputRangeOption,
    ScalingOption,
    TrainingComputeOption,
    WorkersOption,
)
from protoleak.cli.typed_values import input_range, integers, joined, names
from protoleak.distillation.settings import DEFAULT_STUDENT, STUDENTS, DistillationSettings
from protoleak.errors import ProtoleakError

DEFAULT = DistillationSettings()
Shape = tuple[tuple[int, int, int], tuple[int, int, int]]


@interruptible("latents of the teacher and finished epochs are kept; run it again with --resume to go on")
@needs_extra("export")
def distill(
    teacher: Annotated[
        str, typer.Option("--teacher", rich_help_panel=INPUT, help="The latent encoder to learn from; see train.")
    ],
    data: Annotated[
        Path, typer.Option("--data", rich_help_panel=INPUT, help="Folder of images; no labels are needed.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            rich_help_panel=OUTPUT,
            help="Directory to write the student to; with several, one below it for each.",
        ),
    ],
    student: Annotated[
        str | None,
        typer.Option(
            "--student",
            help=f"{', '.join(STUDENTS)}: its GFLOP for 256×256 pixels. Several, with commas, share the work. Left "
            f"out, {DEFAULT_STUDENT}.",
        ),
    ] = None,
    teacher_range: InputRangeOption = "0,1",
    scaling: ScalingOption = 1.0,
    widths: Annotated[
        str | None,
        typer.Option("--widths", help="In place of --student: channels at 1/2, 1/4 and 1/8 of the size, as 32,64,96."),
    ] = None,
    blocks: Annotated[
        str | None,
        typer.Option("--blocks", help="With --widths: residual blocks at each of these sizes, as 0,2,3."),
    ] = None,
    views: Annotated[
        int,
        typer.Option("--views", min=0, rich_help_panel=TRAINING, help="Altered copies per image, besides the whole."),
    ] = DEFAULT.views,
    operator_share: Annotated[
        float,
        typer.Option(
            "--operator-share",
            min=0,
            max=1,
            rich_help_panel=TRAINING,
            help="Of the views: chains of compression, blur, noise, … The others are random crops and compressions.",
        ),
    ] = DEFAULT.operator_share,
    looks: Annotated[
        str,
        typer.Option(
            "--looks",
            rich_help_panel=TRAINING,
            help=f"At each view, of {joined(LOOKS)}; each is learnt from. But for image alone, images without a face "
            "are left out.",
        ),
    ] = joined(DEFAULT.looks),
    window: Annotated[
        int | None,
        typer.Option(
            "--window",
            rich_help_panel=TRAINING,
            help="Pixels: learn from a random square of each view at a time; left out, all of it.",
        ),
    ] = DEFAULT.window,
    whitening: Annotated[
        float,
        typer.Option(
            "--whitening",
            min=0,
            max=1,
            rich_help_panel=TRAINING,
            help="How far faint directions of the teacher's latents count like strong ones; 0: the plain error.",
        ),
    ] = DEFAULT.whitening,
    epochs: Annotated[
        int, typer.Option("--epochs", min=1, rich_help_panel=TRAINING, help="Times that all images are gone through.")
    ] = DEFAULT.epochs,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=2, rich_help_panel=TRAINING, help="Views per step.")
    ] = DEFAULT.batch_size,
    learning_rate: Annotated[
        float,
        typer.Option(
            "--learning-rate", min=0, rich_help_panel=TRAINING, help="The highest, after a short rise; it falls to 0."
        ),
    ] = DEFAULT.learning_rate,
    compute: TrainingComputeOption = DEFAULT.compute,
    seed: Annotated[
        int, typer.Option("--seed", min=0, rich_help_panel=TRAINING, help="Of weights, views and order.")
    ] = DEFAULT.seed,
    workers: WorkersOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel=OUTPUT, help="Go on from an interrupted run in --out.")
    ] = False,
) -> None:
    """Distil light latent encoders, and report how closely they follow their teacher on images they never saw."""
    shapes = _shapes(student, widths, blocks)
    from protoleak.distillation.data import prepare
    from protoleak.distillation.run import check_place, distil_student
    from protoleak.file_locks import locked
    from protoleak.files import cache_folder
    from protoleak.model.latent_encoder import load_latent_encoder
    from protoleak.model.loading import usable_workers
    from protoleak.progress import shown_progress
    from protoleak.training.memory import keep_freed_memory

    keep_freed_memory()
    settings = {
        name: DistillationSettings(
            widths=shape[0],
            blocks=shape[1],
            views=views,
            operator_share=operator_share,
            looks=cast(tuple[Look, ...], names(looks, "--looks")),
            window=window,
            whitening=whitening,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            compute=compute,
            seed=seed,
        )
        for name, shape in shapes.items()
    }
    places = {name: out / name if len(shapes) > 1 else out for name in shapes}
    for place in places.values():
        check_place(place)
    encoder = load_latent_encoder(teacher, input_range=input_range(teacher_range), scaling=scaling)
    count = usable_workers() if workers is None else workers
    with locked(out):
        with shown_progress() as progress:
            prepared = prepare(encoder, data, next(iter(settings.values())), cache_folder("latents"), count, progress)
        for name, place in places.items():
            with shown_progress() as progress:
                report = distil_student(prepared, place, settings[name], progress, resume)
            say(_summary(report, place))


def _shapes(student: str | None, widths: str | None, blocks: str | None) -> dict[str, Shape]:
    """Widths and blocks of the students that are asked for, by name."""
    if widths is not None or blocks is not None:
        if student is not None or widths is None or blocks is None:
            raise ProtoleakError("--widths and --blocks belong together, and stand in place of --student")
        return {"student": (_three(widths, "--widths", 1), _three(blocks, "--blocks", 0))}
    asked = names(student or DEFAULT_STUDENT, "--student")
    unknown = [name for name in asked if name not in STUDENTS]
    if unknown:
        raise ProtoleakError(f"there is no student {unknown[0]!r}: choose from {', '.join(STUDENTS)}, or give --widths")
    return {name: STUDENTS[name] for name in asked}


def _three(text: str, option: str, smallest: int) -> tuple[int, int, int]:
    values = integers(text, option)
    if len(values) != 3 or min(values) < smallest:
        raise ProtoleakError(f"{option} {text!r}: give three whole numbers of {smallest} or more, such as 32,64,96")
    return values[0], values[1], values[2]


def _summary(report: dict[str, Any], out: Path) -> str:
    channels = " ".join(f"{value:.3f}" for value in report["correlation_per_channel"])
    return (
        f"{out}: {report['gflop']:.2f} GFLOP, {report['parameters']:,} parameters, from {report['training_images']} "
        f"images in {report['seconds']:.0f} s\n"
        f"correlation with the teacher on {report['held_out_images']} images not seen: "
        f"mean {report['correlation_mean']:.3f}, lowest {report['correlation_lowest']:.3f}\n"
        f"per channel: {channels}\n"
        + (f"skipped {len(report['skipped'])} files that are no readable images\n" if report["skipped"] else "")
        + f"use it with: protoleak train DATA --latent-encoder {out} --out MODEL"
    )
