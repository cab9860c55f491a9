"""`protoleak corpus`: verdicts on millions of images, in parallel, to Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protoleak.cli.endings import interruptible
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.options import (
    ENGINE,
    INPUT,
    OUTPUT,
    AlphaOption,
    ComputeOption,
    DeviceOption,
    EngineOption,
    FaceModelOption,
    FaceScoreOption,
    FacesOption,
    IsolateOption,
    MarginOption,
    MinimumFaceOption,
    TrustedKeyOption,
    UprightOption,
    VariantOption,
)
from protoleak.faces.settings import FaceSettings
from protoleak.runtime.engine_options import EngineOptions

if TYPE_CHECKING:
    from protoleak.metrics.report import Share
    from protoleak.serving.corpus.summary import Summary

WORKERS = "Workers"


@interruptible("what is written is valid, and --resume continues")
def corpus(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Images, folders, globs, lists of paths (.txt), Parquet files with a column of paths or images, "
            "WebDataset tars; local, or addresses such as s3://bucket/folder.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", rich_help_panel=OUTPUT, help="Folder for the rows and the summary.")],
    column: Annotated[
        str | None,
        typer.Option(
            "--column",
            rich_help_panel=INPUT,
            help="Column of Parquet files with paths or images; left out, one with a usual name.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel=OUTPUT, help="Continue what was begun in --out.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace the results in --out.")
    ] = False,
    false_discovery_rate: Annotated[
        float | None,
        typer.Option(
            "--fdr",
            rich_help_panel=OUTPUT,
            help="Share of false findings that is allowed among those of the summary (Benjamini–Hochberg); left out, "
            "alpha.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            rich_help_panel=WORKERS,
            help="A Ray cluster: ray://host:10001, host:6379 or auto; left out, this machine alone.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            rich_help_panel=WORKERS,
            help="That judge at once; left out, one per processor, on a cluster one less.",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option("--threads", min=1, rich_help_panel=WORKERS, help="Processor threads of each worker.")
    ] = 1,
    gpus: Annotated[
        float,
        typer.Option("--gpus", min=0, rich_help_panel=WORKERS, help="GPUs of each worker; 0.5 lets two share one."),
    ] = 0.0,
    patience: Annotated[
        float,
        typer.Option(
            "--patience",
            min=1,
            rich_help_panel=WORKERS,
            help="Seconds without progress, after which it ends with the reason.",
        ),
    ] = 60.0,
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", help="Bundle directory or .zip; left out, the one that comes with protoleak."),
    ] = None,
    trusted_key: TrustedKeyOption = None,
    alpha: AlphaOption = None,
    engine: EngineOption = "auto",
    variant: VariantOption = "auto",
    compute: ComputeOption = EngineOptions.compute,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", min=1, rich_help_panel=ENGINE, help="Images or faces that go through together."),
    ] = 8,
    device: DeviceOption = EngineOptions.device,
    isolate: IsolateOption = False,
    upright: UprightOption = None,
    faces: FacesOption = None,
    face_model: FaceModelOption = FaceSettings.face_model,
    face_score: FaceScoreOption = FaceSettings.face_score,
    minimum_face: MinimumFaceOption = FaceSettings.minimum_face,
    margin: MarginOption = FaceSettings.margin,
) -> None:
    """Screen millions of images in parallel, on this machine or a Ray cluster, to Parquet; it can be continued after
    any interruption."""
    from protoleak.cli.console import error_console
    from protoleak.errors import ProtoleakError
    from protoleak.progress import shown_progress
    from protoleak.serving.corpus.cluster import Place
    from protoleak.serving.corpus.run import CorpusOptions, run_corpus
    from protoleak.serving.corpus.settings import JudgeSettings

    if faces == "none" and face_model is not None:
        raise ProtoleakError("--face-model is a YuNet model and --faces none uses none: leave one out")
    settings = JudgeSettings(
        bundle=_absolute(bundle),
        trusted_key=_absolute(trusted_key),
        alpha=alpha,
        variant=variant,
        engine=engine,
        threads=threads,
        device=device,
        compute=compute,
        isolate=isolate,
        upright=upright,
        finder="auto" if faces is None and face_model is not None else faces,
        faces=FaceSettings(
            faces=faces or FaceSettings.faces,
            face_model=None if face_model is None else face_model.absolute(),
            face_score=face_score,
            minimum_face=minimum_face,
            margin=margin,
        ),
        batch_size=batch_size,
    )
    options = CorpusOptions(
        sources=sources,
        out=out,
        column=column,
        resume=resume,
        overwrite=overwrite,
        place=Place(address, workers, gpus),
        false_discovery_rate=false_discovery_rate,
        patience=patience,
    )
    with shown_progress(error_console(), stage_lines=False) as progress:
        summary = run_corpus(options, settings, progress)
    _print(summary, out)
    raise typer.Exit(_status(summary))


def _absolute(path: str | Path | None) -> str | None:
    """As a worker in another folder finds it."""
    return None if path is None else str(Path(path).absolute())


def _status(summary: Summary) -> ExitStatus:
    outcomes = summary.outcomes
    failed = outcomes["error"] + outcomes["no_face"]
    if not failed and (outcomes["verdict"] or not outcomes["skipped"]):
        return ExitStatus.ALL_WELL
    return ExitStatus.SOME_FAILED if outcomes["verdict"] else ExitStatus.NOTHING_DONE


def _print(summary: Summary, out: Path) -> None:
    from protoleak.cli.console import output_console, print_table, say

    def row(name: str, share: Share) -> list[str]:
        low, high = share.interval_95
        percent = "–" if share.share is None else f"{share.share:.2%}"
        return [name, str(share.count), percent, f"{low:.2%} to {high:.2%}"]

    labels = [row(name, share) for name, share in summary.verdicts.items()]
    named = [row(f"  {name}", share) for name, share in summary.generators.items()]
    console = output_console()
    print_table(console, ["verdict", "faces", "share", "95 % interval"], [labels[0], *named, *labels[1:]])
    control = summary.false_discovery_control
    for name, found in (("not real", control.not_real), ("not known", control.not_known)):
        if found is not None:
            say(f"{name}: {found}")
    outcomes = ", ".join(f"{count} {name}" for name, count in summary.outcomes.items() if count)
    say(f"{summary.inputs} inputs, {summary.rows} rows ({outcomes}) in {out}")
