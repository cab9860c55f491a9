"""`protoleak bench`: how fast every engine and variant of a bundle is here, and how right the same artefact is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, cast

import typer

from protoleak.cli.console import (
    HtmlFileOption,
    JsonFileOption,
    check_folders,
    exit_status,
    print_table,
    report_bar,
    report_console,
    write_report,
)
from protoleak.cli.options import DeviceOption, ThreadsOption, existing, integers, interruptible, names
from protoleak.errors import ProtoleakError

if TYPE_CHECKING:
    from protoleak.bench.results import Report
    from protoleak.bench.settings import Precision

WIDTH_WITHOUT_TERMINAL = 170


@interruptible("nothing is written")
def bench(
    bundle: Annotated[
        Optional[str],  # noqa: UP045 Typer evaluates this on Python 3.10 too
        typer.Argument(help="Bundle directory or .zip; left out, the one that comes with protoleak."),
    ] = None,
    engine: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--engine", help="Engines with commas between; left out, all that can run here."),
    ] = None,
    variant: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--variant", help="Variants with commas between; left out, all of the bundle."),
    ] = None,
    precision: Annotated[
        str, typer.Option("--precision", help="variant,bf16 also runs OpenVINO in bfloat16.")
    ] = "variant",
    batch_sizes: Annotated[
        str, typer.Option("--batch-sizes", help="Faces that go through the engines together.")
    ] = "1,4,16",
    runs: Annotated[int, typer.Option("--runs", min=1, help="Timed batches per row.")] = 20,
    warm_up: Annotated[int, typer.Option("--warm-up", min=0, help="Batches before them that don't count.")] = 3,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--data",
            help="Folder with one folder of held-out images per generator (with Split.json, its test split): "
            "compares the verdicts with it.",
        ),
    ] = None,
    camera: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--camera", help="A folder in --data of camera originals, besides the bundle's real class."),
    ] = None,
    baseline: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--baseline", help="pytorch: eager PyTorch of the same model in the same run; needs --model."),
    ] = None,
    model: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--model", help="The model directory that the bundle was exported from, for --baseline."),
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Significance level of the verdicts.")] = 0.05,
    threads: ThreadsOption = None,
    device: DeviceOption = 0,
    json_file: JsonFileOption = None,
    html_file: HtmlFileOption = None,
) -> None:
    """Time every engine and variant that can run here, and compare the verdicts with labels. A failure is a row."""
    from protoleak.bench.page import html_page
    from protoleak.bench.run import run_benchmark
    from protoleak.bench.settings import BenchmarkSettings
    from protoleak.bundle.bundle import Bundle

    if (baseline is None) != (model is None):
        raise ProtoleakError("--baseline pytorch and --model MODEL go together: the baseline is that model directory")
    if baseline not in (None, "pytorch"):
        raise ProtoleakError(f"--baseline {baseline}: there is only pytorch")
    check_folders(json_file, html_file)
    settings = BenchmarkSettings(
        engines=None if engine is None else tuple(names(engine, "--engine")),
        variants=None if variant is None else tuple(names(variant, "--variant")),
        precisions=_precisions(precision),
        batch_sizes=tuple(dict.fromkeys(integers(batch_sizes, "--batch-sizes"))),
        runs=runs,
        warm_up=warm_up,
        data=None if data is None else existing(data, "--data"),
        camera=camera,
        baseline_model=None if model is None else existing(model, "--model"),
        alpha=alpha,
        threads=threads,
        device=device,
    )
    opened = Bundle.load(bundle)
    with report_bar() as show:
        report = run_benchmark(opened, settings, show)
    _print(report)
    write_report(report, lambda: html_page(report), json_file, html_file)
    failed = [row for row in report.rows if row.error is not None]
    problems = any(item.error is not None for item in report.accuracy)
    raise typer.Exit(exit_status(len(failed), len(report.rows), problems))


def _precisions(text: str) -> tuple[Precision, ...]:
    found = names(text, "--precision")
    for name in found:
        if name not in ("variant", "bf16"):
            raise ProtoleakError(f"--precision {text}: {name!r} is none, choose variant, bf16 or variant,bf16")
    return cast("tuple[Precision, ...]", tuple(dict.fromkeys(found)))


def _print(report: Report) -> None:
    from rich.markup import escape

    from protoleak.bench import tables

    console = report_console(WIDTH_WITHOUT_TERMINAL)

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
