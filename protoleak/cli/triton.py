"""`protoleak triton`: a bundle as a model repository for NVIDIA Triton Inference Server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from protoleak.choices import EngineName
from protoleak.cli.console import say
from protoleak.cli.endings import needs_extra
from protoleak.cli.options import ENGINE, OUTPUT, AlphaOption, BundleArgument, TrustedKeyOption, VariantOption
from protoleak.errors import ProtoleakError
from protoleak.serving.triton.settings import Backend, RepositorySettings

DEFAULT = RepositorySettings()


@needs_extra("triton")
def triton(
    out: Annotated[
        Path,
        typer.Option("--out", rich_help_panel=OUTPUT, help="Folder of the repository; an earlier one is replaced."),
    ],
    bundle: BundleArgument = None,
    trusted_key: TrustedKeyOption = None,
    alpha: AlphaOption = DEFAULT.alpha,
    single: Annotated[
        bool,
        typer.Option(
            "--single", rich_help_panel=OUTPUT, help="One Python model with protoleak's own engines, no ensemble."
        ),
    ] = DEFAULT.single,
    backend: Annotated[
        Backend | None,
        typer.Option(
            "--backend", rich_help_panel=ENGINE, help="Of the server, that runs the graphs; left out, onnxruntime."
        ),
    ] = None,
    variant: VariantOption = DEFAULT.variant,
    engine: Annotated[
        EngineName | None,
        typer.Option("--engine", rich_help_panel=ENGINE, help="Of protoleak, with --single; left out, auto."),
    ] = None,
    batch_maximum: Annotated[
        int,
        typer.Option(
            "--batch-maximum", min=1, rich_help_panel=ENGINE, help="Faces in one run of the graphs, and in one image."
        ),
    ] = DEFAULT.batch_maximum,
    queue: Annotated[
        int,
        typer.Option("--queue", min=1, help="Requests that may wait for a model; one more is refused at once."),
    ] = DEFAULT.queue,
    instances: Annotated[
        int, typer.Option("--instances", min=1, help="Processes that decode images and find faces.")
    ] = DEFAULT.instances,
    python_path: Annotated[
        list[str] | None,
        typer.Option(
            "--python-path",
            help="Where the server's Python finds protoleak; may be repeated. Left out, protoleak is installed there.",
        ),
    ] = None,
) -> None:
    """Write a bundle as a model repository for NVIDIA Triton Inference Server.

    Its README has the container, the requests, and the probe.
    """
    if single and backend is not None:
        raise ProtoleakError(f"--backend {backend} runs the graphs of the ensemble: leave it out with --single")
    if engine is not None and not single:
        raise ProtoleakError(f"--engine {engine} is protoleak's own: give --single too, or --backend of the server")
    from protoleak.bundle.bundle import Bundle
    from protoleak.serving.triton.repository import write_repository

    settings = RepositorySettings(
        backend=backend or DEFAULT.backend,
        single=single,
        variant=variant,
        alpha=alpha,
        engine=engine or DEFAULT.engine,
        batch_maximum=batch_maximum,
        queue=queue,
        instances=instances,
        python_paths=tuple(python_path or ()),
    )
    written = write_repository(Bundle.load(bundle, trusted_key=trusted_key), out, settings)
    say(f"variant {written.variant}: {written.why}")
    if written.parity is not None:
        name, value = written.parity.largest
        say(f"the graphs with the noising inside against the runtime: at most {value:.1e} relative, in {name}")
    say(f"wrote {out}: {', '.join(written.models)}; {out / 'README.md'} says how to start and ask them")
