"""`protoleak train`: the attribution network, from folders of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from protoleak.choices import LOOKS, BackboneKind
from protoleak.cli.console import say
from protoleak.cli.endings import interruptible, needs_extra
from protoleak.cli.options import (
    INPUT,
    OUTPUT,
    TRAINING,
    InputRangeOption,
    LatentEncoderOption,
    RealClassOption,
    ScalingOption,
    SettingsOption,
    TrainingComputeOption,
    WorkersOption,
    print_settings_option,
)
from protoleak.cli.settings_file import read_settings
from protoleak.cli.typed_values import existing, input_range, integers, joined, names, typed
from protoleak.training.settings import TrainingSettings

SHOWN_SKIPPED = 20
DEFAULT = TrainingSettings()
PrintSettingsOption = Annotated[bool, print_settings_option(TrainingSettings, "train")]


@interruptible("run it again with --resume to go on")
@needs_extra("export")
def train(
    context: typer.Context,
    data: Annotated[
        Path, typer.Argument(help="One folder per generator, with or without a Split.json (WILD's layout).")
    ],
    latent_encoder: LatentEncoderOption,
    out: Annotated[Path, typer.Option("--out", rich_help_panel=OUTPUT, help="Model directory to write.")],
    encoder_range: InputRangeOption = "0,1",
    scaling: ScalingOption = 1.0,
    real_class: RealClassOption = None,
    negatives: Annotated[
        Path | None,
        typer.Option("--negatives", rich_help_panel=INPUT, help="Images of no class, pushed away from every class."),
    ] = None,
    auxiliary: Annotated[
        Path | None,
        typer.Option(
            "--auxiliary",
            rich_help_panel=INPUT,
            help="One folder per generator that is learnt beside the classes and never named.",
        ),
    ] = None,
    face_model: Annotated[
        Path | None,
        typer.Option(
            "--face-model",
            rich_help_panel=INPUT,
            help="YuNet ONNX file, for looks at faces; left out, the one that comes with protoleak.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel=OUTPUT, help="Go on from an interrupted run in --out.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace the model or the run in --out.")
    ] = False,
    backbone: Annotated[
        BackboneKind, typer.Option("--backbone", rich_help_panel=TRAINING, help="The per-timestep encoder.")
    ] = DEFAULT.backbone,
    timesteps: Annotated[
        str,
        typer.Option(
            "--timesteps", rich_help_panel=TRAINING, help="Timesteps of the diffusion that each image is noised to."
        ),
    ] = joined(DEFAULT.timesteps),
    looks: Annotated[
        str,
        typer.Option("--looks", rich_help_panel=TRAINING, help=f"At each image, of {joined(LOOKS)}."),
    ] = joined(DEFAULT.looks),
    image_size: Annotated[
        int,
        typer.Option("--image-size", rich_help_panel=TRAINING, help="Side in pixels of what the latent encoder gets."),
    ] = DEFAULT.image_size,
    views: Annotated[
        int,
        typer.Option(
            "--views",
            min=0,
            rich_help_panel=TRAINING,
            help="Altered copies of each training image, besides the image as it is.",
        ),
    ] = DEFAULT.views,
    epochs: Annotated[
        int, typer.Option("--epochs", min=1, rich_help_panel=TRAINING, help="Epochs at most.")
    ] = DEFAULT.epochs,
    patience: Annotated[
        int,
        typer.Option("--patience", min=1, rich_help_panel=TRAINING, help="Epochs without a better validation AUC."),
    ] = DEFAULT.patience,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=2, rich_help_panel=TRAINING, help="Images per step.")
    ] = DEFAULT.batch_size,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", rich_help_panel=TRAINING, help="At the start; it falls along a cosine.")
    ] = DEFAULT.learning_rate,
    compute: TrainingComputeOption = DEFAULT.compute,
    seed: Annotated[
        int, typer.Option("--seed", min=0, rich_help_panel=TRAINING, help="Of weights, views, order and noise.")
    ] = DEFAULT.seed,
    workers: WorkersOption = None,
    settings_file: SettingsOption = None,
    print_settings: PrintSettingsOption = False,  # noqa: ARG001  # it has printed and left
) -> None:
    """Train the attribution network on folders of images, one per generator."""
    settings = TrainingSettings() if settings_file is None else read_settings(settings_file, TrainingSettings)
    settings = msgspec.structs.replace(
        settings,
        **typed(
            context,
            backbone=backbone,
            timesteps=integers(timesteps, "--timesteps"),
            looks=tuple(names(looks, "--looks")),
            image_size=image_size,
            views=views,
            epochs=epochs,
            patience=patience,
            batch_size=batch_size,
            learning_rate=learning_rate,
            compute=compute,
            seed=seed,
        ),
    )
    existing(negatives, "--negatives")
    existing(auxiliary, "--auxiliary")
    from protoleak.dataset import read_dataset
    from protoleak.file_locks import locked
    from protoleak.files import cache_folder
    from protoleak.model.latent_encoder import load_latent_encoder
    from protoleak.model.loading import usable_workers
    from protoleak.progress import shown_progress
    from protoleak.training.memory import keep_freed_memory
    from protoleak.training.train import DEFAULT_FACE_MODEL
    from protoleak.training.train import train as train_model

    keep_freed_memory()
    dataset = read_dataset(data, real_class)
    encoder = load_latent_encoder(latent_encoder, input_range=input_range(encoder_range), scaling=scaling)
    with locked(out), shown_progress() as progress:
        train_model(
            dataset,
            encoder,
            settings,
            out,
            negatives=negatives,
            auxiliary=auxiliary,
            face_model=face_model or DEFAULT_FACE_MODEL,
            cache=cache_folder("latents"),
            resume=resume,
            overwrite=overwrite,
            workers=usable_workers() if workers is None else workers,
            progress=progress,
        )
    _print(out, data)


class _Epoch(msgspec.Struct):
    validation_macro_auc: float
    validation_loss: float


class _Skipped(msgspec.Struct):
    path: str
    reason: str


class _Report(msgspec.Struct):
    """What is printed of training.json."""

    images: dict[str, dict[str, int]]
    best_epoch: int
    epochs: list[_Epoch]
    skipped: list[_Skipped]
    seconds: float


def _print(out: Path, data: Path) -> None:
    from protoleak.training.model_directory import REPORT_FILE
    from protoleak.training.report import PAGE_FILE

    report = msgspec.json.decode((out / REPORT_FILE).read_bytes(), type=_Report)
    best = report.epochs[report.best_epoch - 1]
    for split, counts in report.images.items():
        say(f"{split}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    for item in report.skipped[:SHOWN_SKIPPED]:
        say(f"skipped: {item.path}: {item.reason}")
    if len(report.skipped) > SHOWN_SKIPPED:
        say(f"skipped {len(report.skipped) - SHOWN_SKIPPED} more; all are listed in {out / REPORT_FILE}")
    say(
        f"best of {len(report.epochs)} epochs is {report.best_epoch}: validation macro AUC "
        f"{best.validation_macro_auc:.4f}, loss {best.validation_loss:.3f}, after {report.seconds:.0f} s; "
        f"see {out / PAGE_FILE}\n"
        f"next: protoleak export {out} --data {data} --out BUNDLE"
    )
