"""`protoleak serve`: verdicts over HTTP."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from protoleak.choices import CROP_MARGIN, FACE_SCORE, MINIMUM_FACE
from protoleak.cli.endings import needs_extra
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.options import (
    ENGINE,
    INPUT,
    AlphaOption,
    BundleArgument,
    ComputeOption,
    DeviceOption,
    EngineOption,
    FaceModelOption,
    FaceScoreOption,
    FacesOption,
    MarginOption,
    MinimumFaceOption,
    ThreadsOption,
    TrustedKeyOption,
    UprightOption,
    VariantOption,
)

NETWORK, LIMITS, STREAMS = "Network", "Limits", "Live sources"


@needs_extra("serve")
def serve(
    bundle: BundleArgument = None,
    trusted_key: TrustedKeyOption = None,
    alpha: AlphaOption = None,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            rich_help_panel=NETWORK,
            help="Address to listen on. One that others reach needs --token-file, or --no-token.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, rich_help_panel=NETWORK, help="0 for any that is free.")
    ] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            rich_help_panel=NETWORK,
            help="File whose only line is the token that requests must bear (Authorization: Bearer …). Health, metrics "
            "and the page itself are free.",
        ),
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option("--no-token", rich_help_panel=NETWORK, help="Listen on a host that others reach without a token."),
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            rich_help_panel=NETWORK,
            help="Name by which it may be asked, as a proxy in front passes it on; may be repeated. Without a token "
            "only localhost and addresses are, so that no page elsewhere can give itself out as this server.",
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--cors-origin",
            rich_help_panel=NETWORK,
            help="Origin whose pages may ask, such as https://desk.example; may be repeated.",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            min=1,
            rich_help_panel=NETWORK,
            help="Processes on the one port, each with engines of its own; one that ends is started again.",
        ),
    ] = 1,
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            rich_help_panel=NETWORK,
            help="Seconds after SIGTERM within which what was accepted is answered; then the server ends, with status "
            "0 whatever happens. A second signal ends it at once.",
        ),
    ] = 10.0,
    engine: EngineOption = "auto",
    variant: VariantOption = "auto",
    compute: ComputeOption = "auto",
    device: DeviceOption = 0,
    threads: ThreadsOption = None,
    batch_maximum: Annotated[
        int,
        typer.Option(
            "--batch-maximum",
            min=1,
            rich_help_panel=ENGINE,
            help="Faces that go through the engines together, at most. A batch is what waits when they become free.",
        ),
    ] = 8,
    batching_threads: Annotated[
        int,
        typer.Option(
            "--batching-threads",
            min=1,
            rich_help_panel=ENGINE,
            help="Threads that hand batches to the engines, in turns; a second one prepares verdicts meanwhile.",
        ),
    ] = 1,
    decoders: Annotated[
        int,
        typer.Option(
            "--decoders",
            min=1,
            rich_help_panel=INPUT,
            help="Images decoded at once; with --isolate, worker processes too. More for a fast GPU.",
        ),
    ] = 2,
    isolate: Annotated[
        bool,
        typer.Option(
            "--isolate/--no-isolate",
            rich_help_panel=INPUT,
            help="Decode in processes of their own, with limits on time and memory, or in the server itself.",
        ),
    ] = True,
    upright: UprightOption = None,
    faces: FacesOption = None,
    face_model: FaceModelOption = None,
    face_score: FaceScoreOption = FACE_SCORE,
    minimum_face: MinimumFaceOption = MINIMUM_FACE,
    margin: MarginOption = CROP_MARGIN,
    body_limit: Annotated[
        float,
        typer.Option("--body-limit", min=0.001, rich_help_panel=LIMITS, help="MiB of a request's body; more is 413."),
    ] = 32,
    megapixels: Annotated[
        float,
        typer.Option(
            "--megapixels",
            rich_help_panel=LIMITS,
            help="Megapixels of an image; more is 422, before it is decoded. At most 100.",
        ),
    ] = 50,
    images_limit: Annotated[
        int, typer.Option("--images-limit", min=1, rich_help_panel=LIMITS, help="Images of one request; more is 400.")
    ] = 16,
    faces_limit: Annotated[
        int,
        typer.Option(
            "--faces-limit", min=1, rich_help_panel=LIMITS, help="Faces of one image with ?faces=1; more is 422."
        ),
    ] = 64,
    queue: Annotated[
        int,
        typer.Option(
            "--queue",
            rich_help_panel=LIMITS,
            help="Images that are accepted and not answered yet; above that 503 with Retry-After.",
        ),
    ] = 64,
    request_seconds: Annotated[
        float,
        typer.Option(
            "--request-seconds",
            min=0.1,
            rich_help_panel=LIMITS,
            help="Seconds for one request; then 504, and what still waits of it is dropped before the engines.",
        ),
    ] = 30,
    connections: Annotated[
        int,
        typer.Option(
            "--connections",
            rich_help_panel=LIMITS,
            help="Connections open at once; then the one that was idle for longest is closed, or the newest is 503.",
        ),
    ] = 512,
    allow_streams: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-streams",
            metavar="HOST",
            rich_help_panel=STREAMS,
            help="Host of cameras and streams that POST /v1/streams may screen; may be repeated. None unless named.",
        ),
    ] = None,
    streams_limit: Annotated[
        int,
        typer.Option("--streams-limit", min=1, rich_help_panel=STREAMS, help="Live sources that are screened at once."),
    ] = 4,
) -> None:
    """Verdicts over HTTP: POST an image to /v1/screen; a page for people at /. SIGHUP loads the bundle anew."""
    from protoleak.cli.console import say
    from protoleak.cli.token_file import read_token
    from protoleak.faces.settings import FaceSettings
    from protoleak.serving.settings import MEBIBYTE, BundleOptions, RequestLimits, ServeSettings

    settings = ServeSettings(
        BundleOptions(
            bundle=bundle,
            trusted_key=trusted_key,
            alpha=alpha,
            engine=engine,
            variant=variant,
            compute=compute,
            device=device,
            threads=threads,
            upright=upright,
            finder="auto" if faces is None and face_model is not None else faces,
            faces=FaceSettings(face_model=face_model, face_score=face_score, minimum_face=minimum_face, margin=margin),
            batch_maximum=batch_maximum,
            decoders=decoders,
            isolate=isolate,
        ),
        RequestLimits(
            body=round(body_limit * MEBIBYTE),
            megapixels=megapixels,
            images=images_limit,
            faces=faces_limit,
            queue=queue,
            seconds=request_seconds,
            connections=connections,
        ),
        host=host,
        port=port,
        workers=workers,
        batching_threads=batching_threads,
        token=None if token_file is None else read_token(token_file, "--token-file"),
        open_to_all=no_token,
        allow_hosts=tuple(allow_host or ()),
        cors_origins=tuple(cors_origin or ()),
        grace=grace,
        stream_hosts=tuple(allow_streams or ()),
        streams=streams_limit,
    )
    from protoleak.serving.server import listen
    from protoleak.serving.server import serve as serve_here

    def notify(line: str) -> None:
        say(line, to_errors=True)
        sys.stderr.flush()

    bound = listen(settings.host, settings.port)
    if settings.workers > 1:
        from protoleak.serving.workers import supervise

        supervise(settings, bound, notify)
    else:
        serve_here(settings, bound, notify)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # All is closed and said. A thread that still loads a bundle or decodes would crash in the interpreter's own ending.
    os._exit(ExitStatus.ALL_WELL)
