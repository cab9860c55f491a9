"""`protoleak discover`: sorts what is called unknown into clusters that may be generators nobody knows yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from protoleak.cli.console import say
from protoleak.cli.endings import interruptible
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.options import INPUT, OUTPUT, EngineOption, ThreadsOption, TrustedKeyOption
from protoleak.cli.typed_values import existing


@interruptible("nothing was written")
def discover(
    source: Annotated[
        Path, typer.Argument(help="Folder of images, or the verdicts that `screen --out FILE.jsonl` wrote.")
    ],
    out: Annotated[
        Path, typer.Option("--out", rich_help_panel=OUTPUT, help="Folder for clusters.json and index.html.")
    ],
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", rich_help_panel=INPUT, help="Bundle directory or .zip; left out, protoleak's own."),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            "--embeddings",
            rich_help_panel=INPUT,
            help="What `screen --embeddings FILE.parquet` wrote with the verdicts: the images are not judged again.",
        ),
    ] = None,
    smallest: Annotated[
        int, typer.Option("--smallest", min=2, rich_help_panel=INPUT, help="Images that a cluster has at least.")
    ] = 10,
    trusted_key: TrustedKeyOption = None,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
) -> ExitStatus:
    """Sort what is called unknown into clusters, each of which may be a generator that nobody knows yet.

    `protoleak enrol --data OUT --cluster N` makes one of them a generator.
    """
    from protoleak.bundle.bundle import Bundle
    from protoleak.discovery.discover import discover as discover_clusters
    from protoleak.progress import shown_progress

    existing(source, "SOURCE")
    if embeddings is not None:
        existing(embeddings, "--embeddings")
    opened = Bundle.load(bundle, trusted_key=trusted_key)
    with shown_progress() as progress:
        found = discover_clusters(
            source,
            opened,
            out,
            embeddings=embeddings,
            smallest=smallest,
            engine=engine,
            threads=threads,
            progress=progress,
        )
    if found.left_out:
        say(f"{found.left_out} unknown images were left out: an even share of them was clustered")
    say(f"{found.unknown} of {found.images} images that can be judged are unknown, {found.lone} of them in no cluster")
    for cluster in found.clusters:
        nearest = ", ".join(f"{name} {share:.0%}" for name, share in list(cluster.nearest.items())[:3])
        mark = "; near camera originals: they may be photographs" if cluster.near_cameras else ""
        say(
            f"cluster {cluster.number}: {len(cluster.images)} images, stability {cluster.stability:.2f}, "
            f"nearest {nearest}{mark}"
        )
    say(f"{out}: look at index.html")
    return ExitStatus.ALL_WELL
