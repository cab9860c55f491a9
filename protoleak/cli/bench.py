"""`protoleak bench`: how fast every engine and variant of a bundle is here, and how right the same artefact is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from protoleak.bench.settings import BenchmarkSettings
from protoleak.cli.console import (
    HtmlFileOption,
    JsonFileOption,
    check_folders,
    output_console,
    print_table,
    write_report,
)
from protoleak.cli.endings import interruptible
from protoleak.cli.exit_status import status_of_parts
from protoleak.cli.options import (
    ENGINE,
    MEASURED_ON,
    AlphaOption,
    BundleArgument,
    DeviceOption,
    ThreadsOption,
    TrustedKeyOption,
    VariantsOption,
)
from protoleak.cli.typed_values import distinct, existing, integers, joined
from protoleak.errors import ProtoleakError

if TYPE_CHECKING:
    from protoleak.bench.results import Report
    from protoleak.choices import Compute

WIDTH = 170  # without a terminal
BASELINE = "Baseline"


@interruptible("nothing is written")
def bench(
    bundle: BundleArgument = None,
    trusted_key: TrustedKeyOption = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine", rich_help_panel=ENGINE, help="Engines with commas between; left out, all that can run here."
        ),
    ] = None,
    variants: VariantsOption = None,
    compute: Annotated[
        str,
        typer.Option(
            "--compute",
            rich_help_panel=ENGINE,
            help="exact, bf16, auto, or several with commas between: bf16 lets OpenVINO compute float32 layers in "
            "bfloat16, auto is what is taken where nothing is asked for.",
        ),
    ] = joined(BenchmarkSettings.computes),
    batch_sizes: Annotated[
        str, typer.Option("--batch-sizes", help="Faces that go through the engines together.")
    ] = joined(BenchmarkSettings.batch_sizes),
    runs: Annotated[int, typer.Option("--runs", min=1, help="Timed batches per row.")] = BenchmarkSettings.runs,
    warm_up: Annotated[
        int, typer.Option("--warm-up", min=0, help="Batches before them that don't count.")
    ] = BenchmarkSettings.warm_up,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            rich_help_panel=MEASURED_ON,
            help="Folder with one folder of held-out images per generator (with Split.json, its test split): "
            "compares the verdicts with it.",
        ),
    ] = BenchmarkSettings.data,
    real_class: Annotated[
        str | None,
        typer.Option(
            "--real-class",
            rich_help_panel=MEASURED_ON,
            help="A folder in --data that holds camera originals, besides the bundle's real class.",
        ),
    ] = BenchmarkSettings.real_class,
    baseline: Annotated[
        Literal["pytorch"] | None,
        typer.Option(
            "--baseline",
            rich_help_panel=BASELINE,
            help="Eager PyTorch of the same model in the same run; needs --model.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            rich_help_panel=BASELINE,
            help="The model directory that the bundle was exported from, for --baseline.",
        ),
    ] = BenchmarkSettings.baseline_model,
    alpha: AlphaOption = BenchmarkSettings.alpha,
    threads: ThreadsOption = BenchmarkSettings.threads,
    device: DeviceOption = BenchmarkSettings.device,
    json_file: JsonFileOption = None,
    html_file: HtmlFileOption = None,
) -> None:
    """Time every engine and variant that can run here, and compare the verdicts with labels. A failure is a row."""
    if (baseline is None) != (model is None):
        raise ProtoleakError("--baseline pytorch and --model MODEL go together: the baseline is that model directory")
    check_folders(json_file, html_file)
    settings = BenchmarkSettings(
        engines=None if engine is None else distinct(engine, "--engine"),
        variants=None if variants is None else distinct(variants, "--variants"),
        computes=cast("tuple[Compute, ...]", distinct(compute, "--compute")),  # the settings check them
        batch_sizes=tuple(dict.fromkeys(integers(batch_sizes, "--batch-sizes"))),
        runs=runs,
        warm_up=warm_up,
        data=existing(data, "--data"),
        real_class=real_class,
        baseline_model=existing(model, "--model"),
        alpha=alpha,
        threads=threads,
        device=device,
    )
    from protoleak.bench.page import html_page
    from protoleak.bench.run import run_benchmark
    from protoleak.bundle.bundle import Bundle
    from protoleak.progress import shown_progress

    opened = Bundle.load(bundle, trusted_key=trusted_key)
    with shown_progress() as progress:
        report = run_benchmark(opened, settings, progress)
    _print(report)
    write_report(report, lambda: html_page(report), json_file, html_file)
    failed = [row for row in report.rows if row.error is not None]
    problems = any(item.error is not None for item in report.accuracy)
    raise typer.Exit(status_of_parts(len(failed), len(report.rows), problems))


def _print(report: Report) -> None:
    from rich.markup import escape

    from protoleak.bench import tables

    console = output_console(WIDTH)

    for name, value in tables.facts(report):
        console.print(f"[bold]{escape(name)}[/bold]  {escape(value)}", soft_wrap=True)
    console.print()
    if report.accuracy:
        judged = [tables.accuracy_cells(item) for item in report.accuracy if item.error is None]
        print_table(console, tables.ACCURACY_COLUMNS, judged)
        console.print(f"[dim]{escape(str(report.data))}[/dim]\n", soft_wrap=True)
    timed = [row for row in report.rows if row.timing is not None]
    print_table(console, tables.ROW_COLUMNS, [tables.row_cells(row) for row in timed])
    stages = [(row.name, str(row.batch), *tables.stage_cells(row)) for row in timed]
    print_table(console, ("ms per face", "batch", *tables.STAGE_COLUMNS), stages)
    for row in report.rows:
        if row.error is not None:
            console.print(
                f"[red]failed[/red]  {escape(row.name)}, batch {row.batch}: {escape(row.error)}", soft_wrap=True
            )
    for item in report.accuracy:
        if item.error is not None:
            console.print(f"[red]not judged[/red]  {escape(item.name)}: {escape(item.error)}", soft_wrap=True)
    for note in report.notes:
        console.print(f"[dim]{escape(note)}[/dim]", soft_wrap=True)
