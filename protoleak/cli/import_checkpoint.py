"""`protoleak import`: a published Proto-LeakNet checkpoint becomes a model directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from protoleak.cli.options import (
    ImageSizeOption,
    InputRangeOption,
    LatentEncoderOption,
    ScalingOption,
    input_range,
    integers,
    names,
    needs_extra,
)


@needs_extra("export")
def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of the published code; read without executing it.")],
    latent_encoder: LatentEncoderOption,
    timesteps: Annotated[str, typer.Option("--timesteps", help="Those that it was trained with: 0,100,300,500.")],
    generators: Annotated[str, typer.Option("--generators", help="Class names in the order of its training: a,b,c.")],
    out: Annotated[Path, typer.Option("--out", help="Model directory to write.")],
    temporal: Annotated[
        Optional[str],  # noqa: UP045 Typer evaluates this on Python 3.10 too
        typer.Option("--temporal", help="File with the temporal pool's query, or uniform for the mean over timesteps."),
    ] = None,
    real: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--real", help="The generator that stands for camera originals."),
    ] = None,
    low_frequency: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--low-frequency", min=1, help="Components, where its input has the low-frequency half."),
    ] = None,
    encoder_range: InputRangeOption = "0,1",
    scaling: ScalingOption = 1.0,
    image_size: ImageSizeOption = 256,
    noise_seed: Annotated[int, typer.Option("--noise-seed", min=0, help="Of the frozen noise bank.")] = 0,
) -> None:
    """Import a checkpoint of the published code: what shapes tell is read, and a contradiction is refused."""
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
        real_class=real,
        low_frequency_components=low_frequency,
        image_size=image_size,
        noise_seed=noise_seed,
    )
    save_model(out, model)
    network = model.attributor.config
    print(
        f"wrote {out}: {network.backbone}, {network.generators} generators × {network.prototypes_per_generator} "
        f"prototypes, embedding {network.embedding_size}, {network.timesteps} timesteps, "
        f"latents {model.config.latent_shape}\n"
        f"next: protoleak export {out} --data DATA --out BUNDLE"
    )
