"""Options that several commands share, and the panels of --help that they stand in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from protoleak.choices import Compute, EngineName, Upright
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.settings_file import settings_text
from protoleak.faces.settings import FaceFinder

# Panels of --help that several commands have.
INPUT, OUTPUT, MEASURED_ON, ENGINE, FACES = "Input", "Output", "Measured on", "Engine", "Faces"
SETTINGS, TRAINING = "Settings", "Training"
BundleArgument = Annotated[
    str | None, typer.Argument(help="Bundle directory or .zip; left out, the one that comes with protoleak.")
]
LatentEncoderOption = Annotated[
    str,
    typer.Option(
        "--latent-encoder",
        rich_help_panel=INPUT,
        help="A directory or hub id of a diffusers AutoencoderKL or AutoencoderTiny, one that `protoleak distill` "
        "wrote, or any ONNX file that maps an image to a latent.",
    ),
]
InputRangeOption = Annotated[
    str,
    typer.Option(
        "--input-range", rich_help_panel=INPUT, help="What black and white are to an ONNX latent encoder, as -1,1."
    ),
]
ScalingOption = Annotated[
    float, typer.Option("--scaling", rich_help_panel=INPUT, help="Factor on the latent of an ONNX latent encoder.")
]
RealClassOption = Annotated[
    str | None, typer.Option("--real-class", rich_help_panel=INPUT, help="The class that holds camera originals.")
]
PhotographsOption = Annotated[
    Path | None,
    typer.Option(
        "--photographs",
        rich_help_panel=MEASURED_ON,
        help="Photographs of people from sources that training never saw: how many of them are accused?",
    ),
]
UnknownOption = Annotated[
    Path | None,
    typer.Option(
        "--unknown",
        rich_help_panel=MEASURED_ON,
        help="One folder of images per generator that isn't known: how many of them are called unknown?",
    ),
]
TrustedKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--trusted-key",
        rich_help_panel=INPUT,
        help="Ed25519 public key that the bundle must be signed with, PEM or OpenSSH; see `protoleak sign`.",
    ),
]
AlphaOption = Annotated[
    float | None,
    typer.Option(
        "--alpha",
        help="Significance level: share of known images that may be called unknown; left out, the bundle's.",
    ),
]
EngineOption = Annotated[
    EngineName,
    typer.Option("--engine", rich_help_panel=ENGINE, help="See `protoleak engines`; auto is the best that runs here."),
]
VariantOption = Annotated[
    str,
    typer.Option(
        "--variant",
        rich_help_panel=ENGINE,
        help="A precision of the bundle, as fp32, or auto for the fastest, as measured.",
    ),
]
VariantsOption = Annotated[
    str | None,
    typer.Option("--variants", help="Precisions of the bundle, as fp32,fp16; left out, all that it has."),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        rich_help_panel=ENGINE,
        help="Processor threads; left out, all cores, or what a container may use.",
    ),
]
DeviceOption = Annotated[int, typer.Option("--device", min=0, rich_help_panel=ENGINE, help="CUDA device ordinal.")]
ComputeOption = Annotated[
    Compute,
    typer.Option(
        "--compute",
        rich_help_panel=ENGINE,
        help="What the engine may do with the variant's types: exact keeps them, bf16 lets OpenVINO compute float32 "
        "layers in bfloat16, auto takes the fastest here that the bundle is calibrated for; `protoleak engines BUNDLE` "
        "explains it.",
    ),
]
IsolateOption = Annotated[
    bool,
    typer.Option(
        "--isolate",
        help="Decode in processes of their own, with limits on time and memory: for files from strangers.",
    ),
]
UprightOption = Annotated[
    Upright | None,
    typer.Option(
        "--upright",
        rich_help_panel=FACES,
        help="Turn images as their EXIF orientation says (auto) or leave them as they lie (never); left out, as "
        "the bundle was trained: auto, but for published checkpoints.",
    ),
]
FacesOption = Annotated[
    FaceFinder | None,
    typer.Option(
        "--faces",
        rich_help_panel=FACES,
        help="Who finds the faces; none judges whole images. Left out, auto for videos and for bundles that look "
        "at faces, else none.",
    ),
]
FaceModelOption = Annotated[
    Path | None,
    typer.Option("--face-model", rich_help_panel=FACES, help="YuNet ONNX file; left out, the bundle's own."),
]
FaceScoreOption = Annotated[
    float, typer.Option("--face-score", rich_help_panel=FACES, help="Least confidence of a face.")
]
MinimumFaceOption = Annotated[
    int, typer.Option("--minimum-face", rich_help_panel=FACES, help="Least side of a face, in pixels.")
]
MarginOption = Annotated[
    float,
    typer.Option("--margin", rich_help_panel=FACES, help="Shown on each side of a face, as a share of its size."),
]
TrainingComputeOption = Annotated[
    Compute,
    typer.Option(
        "--compute",
        rich_help_panel=TRAINING,
        help="Arithmetic: exact in float32, bf16 in bfloat16, or auto: bf16 where the processor has instructions "
        "for it.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=0, help="Processes that prepare images; 0 for threads; left out, one per core up to 8."
    ),
]
SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        rich_help_panel=SETTINGS,
        help="TOML file with settings, see --print-settings; options override it.",
    ),
]


def print_settings_option(kind: type[msgspec.Struct], command: str) -> object:
    """The option --print-settings, which prints and exits before anything else is asked for."""

    def show(wanted: bool) -> None:
        if wanted:
            print(settings_text(kind, command), end="")
            raise typer.Exit(ExitStatus.ALL_WELL)

    return typer.Option(
        "--print-settings",
        is_eager=True,
        callback=show,
        rich_help_panel=SETTINGS,
        help="Write a file for --settings, with every setting explained, to standard output.",
    )
