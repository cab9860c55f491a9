"""`protoleak import-checkpoint`: a published Proto-LeakNet checkpoint becomes a model directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from protoleak.cli.console import say
from protoleak.cli.endings import needs_extra
from protoleak.cli.options import INPUT, InputRangeOption, LatentEncoderOption, RealClassOption, ScalingOption
from protoleak.cli.typed_values import input_range, integers, names
from protoleak.training.settings import TrainingSettings

TRAINED_WITH = "How it was trained"
DEFAULT = TrainingSettings()


@needs_extra("export")
def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of the published code; read without executing it.")],
    latent_encoder: LatentEncoderOption,
    timesteps: Annotated[
        str, typer.Option("--timesteps", rich_help_panel=TRAINED_WITH, help="In the order of its training: 0,100,300.")
    ],
    generators: Annotated[
        str, typer.Option("--generators", rich_help_panel=TRAINED_WITH, help="Its classes, in their order: a,b,c.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Model directory to write.")],
    temporal: Annotated[
        str | None,
        typer.Option(
            "--temporal",
            rich_help_panel=TRAINED_WITH,
            help="File with the temporal pool's query, or uniform for the mean over timesteps.",
        ),
    ] = None,
    real_class: RealClassOption = None,
    low_frequency: Annotated[
        int | None,
        typer.Option(
            "--low-frequency",
            min=1,
            rich_help_panel=TRAINED_WITH,
            help="Components, where its input has the low-frequency half.",
        ),
    ] = None,
    encoder_range: InputRangeOption = "0,1",
    scaling: ScalingOption = 1.0,
    image_size: Annotated[
        int, typer.Option("--image-size", rich_help_panel=INPUT, help="Side in pixels of what the latent encoder gets.")
    ] = DEFAULT.image_size,
    noise_seed: Annotated[
        int, typer.Option("--noise-seed", min=0, help="Seed of the noise bank that is frozen into the model.")
    ] = DEFAULT.noise_seed,
) -> None:
    """Import a checkpoint of the published code: its tensors' shapes say what it is, and a contradiction is refused."""
    from protoleak.model.checkpoint import save_model
    from protoleak.model.latent_encoder import load_latent_encoder
    from protoleak.model.published import import_checkpoint as read_published

    encoder = load_latent_encoder(latent_encoder, input_range=input_range(encoder_range), scaling=scaling)
    model = read_published(
        checkpoint,
        encoder,
        timesteps=integers(timesteps, "--timesteps"),
        generators=names(generators, "--generators"),
        temporal=temporal,
        real_class=real_class,
        low_frequency_components=low_frequency,
        image_size=image_size,
        noise_seed=noise_seed,
    )
    save_model(out, model)
    network = model.attributor.config
    say(
        f"wrote {out}: {network.backbone}, {network.generators} generators × {network.prototypes_per_generator} "
        f"prototypes, embedding {network.embedding_size}, {network.timesteps} timesteps, "
        f"latents {model.config.latent_shape}\n"
        f"next: protoleak export {out} --data DATA --out BUNDLE"
    )
