"""`protoleak train`: the attribution network, from folders of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from protoleak.cli.options import (
    ImageSizeOption,
    InputRangeOption,
    LatentEncoderOption,
    ScalingOption,
    WorkersOption,
    input_range,
    integers,
    interruptible,
    needs_extra,
)
from protoleak.errors import ProtoleakError

if TYPE_CHECKING:
    from protoleak.training.command import TrainingSummary


@interruptible("run it again with --resume to go on")
@needs_extra("export")
def train(
    data: Annotated[
        Path, typer.Argument(help="One folder per generator, with or without a Split.json (WILD's layout).")
    ],
    latent_encoder: LatentEncoderOption,
    out: Annotated[Path, typer.Option("--out", help="Model directory to write.")],
    encoder_range: InputRangeOption = "0,1",
    scaling: ScalingOption = 1.0,
    real: Annotated[
        Optional[str],  # noqa: UP045 Typer evaluates this on Python 3.10 too
        typer.Option("--real", help="The folder of DATA that holds camera originals."),
    ] = None,
    negatives: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--negatives", help="Images of no class, pushed away from every class."),
    ] = None,
    auxiliary: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--auxiliary", help="One folder per generator that is learnt, to be told apart, and never named."),
    ] = None,
    mixed_negatives: Annotated[
        bool, typer.Option("--mixed-negatives/--no-mixed-negatives", help="Negatives mixed from two known classes.")
    ] = True,
    backbone: Annotated[
        str, typer.Option("--backbone", help="conv, resnet18, resnet50, resnet101, efficientnet_b4 or vit_b_16.")
    ] = "conv",
    timesteps: Annotated[str, typer.Option("--timesteps")] = "0,100,300,500,700",
    low_frequency: Annotated[
        int, typer.Option("--low-frequency", min=0, help="Lowest DCT components per axis to append; 0 for none.")
    ] = 8,
    embedding_size: Annotated[int, typer.Option("--embedding-size", min=1)] = 128,
    prototypes: Annotated[int, typer.Option("--prototypes", min=1, help="Per generator.")] = 6,
    views: Annotated[
        int, typer.Option("--views", min=0, help="Altered ones of each training image, besides the image as it is.")
    ] = 3,
    operator_share: Annotated[
        float,
        typer.Option(
            "--operator-share",
            min=0,
            max=1,
            help="Of the views: chains of compression, blur, noise, … The others are random crops and compressions.",
        ),
    ] = 0.5,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="At most.")] = 40,
    patience: Annotated[int, typer.Option("--patience", min=1, help="Epochs without a better validation AUC.")] = 10,
    batch_size: Annotated[int, typer.Option("--batch-size", min=2)] = 64,
    learning_rate: Annotated[float, typer.Option("--learning-rate")] = 1e-3,
    timestep_dropout: Annotated[float, typer.Option("--timestep-dropout", min=0, max=1)] = 0.1,
    entropy_weight: Annotated[float, typer.Option("--entropy-weight", min=0)] = 0.01,
    negatives_weight: Annotated[float, typer.Option("--negatives-weight", min=0)] = 0.3,
    precision: Annotated[
        str, typer.Option("--precision", help="fp32, bf16, or auto: bf16 where the processor has instructions for it.")
    ] = "auto",
    image_size: ImageSizeOption = 256,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    noise_seed: Annotated[int, typer.Option("--noise-seed", min=0, help="Of the frozen noise bank.")] = 0,
    workers: WorkersOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from an interrupted run in --out.")] = False,
) -> None:
    """Train the attribution network on folders of images, one per generator."""
    if precision not in ("auto", "fp32", "bf16"):
        raise ProtoleakError(f"--precision {precision}: choose auto, fp32 or bf16")
    from protoleak.model.loading import usable_workers
    from protoleak.training.command import run
    from protoleak.training.settings import TrainingSettings

    settings = TrainingSettings(
        backbone=backbone,  # type: ignore[arg-type]  # TrainingSettings checks it and names the choices
        embedding_size=embedding_size,
        prototypes_per_generator=prototypes,
        timesteps=integers(timesteps, "--timesteps"),
        low_frequency_components=low_frequency or None,
        image_size=image_size,
        views=views,
        operator_share=operator_share,
        epochs=epochs,
        patience=patience,
        batch_size=batch_size,
        learning_rate=learning_rate,
        timestep_dropout=timestep_dropout,
        entropy_weight=entropy_weight,
        negatives_weight=negatives_weight,
        mixed_negatives=mixed_negatives,
        precision=precision,  # type: ignore[arg-type]  # checked above
        seed=seed,
        noise_seed=noise_seed,
    )
    summary = run(
        data,
        latent_encoder,
        out,
        settings,
        input_range=input_range(encoder_range),
        scaling=scaling,
        real=real,
        negatives=negatives,
        auxiliary=auxiliary,
        resume=resume,
        workers=usable_workers() if workers is None else workers,
    )
    _print(summary, data)


def _print(summary: TrainingSummary, data: Path) -> None:
    from protoleak.training.report import PAGE_FILE

    for split, counts in summary.images.items():
        print(f"{split}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    for line in summary.skipped[:20]:
        print(f"skipped: {line}")
    if len(summary.skipped) > 20:
        print(f"skipped {len(summary.skipped) - 20} more; all are listed in {summary.out}/training.json")
    print(
        f"best of {summary.epochs} epochs is {summary.best_epoch}: validation macro AUC "
        f"{summary.validation_macro_auc:.4f}, loss {summary.validation_loss:.3f}, after {summary.seconds:.0f} s; "
        f"see {summary.out / PAGE_FILE}\n"
        f"next: protoleak export {summary.out} --data {data} --out BUNDLE"
    )
