"""`protoleak bench`: how fast every engine and variant of a bundle is here, and how right the same artefact is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, cast

import typer

from protoleak.commands.options import existing, integers, interruptible, names
from protoleak.errors import ProtoleakError

if TYPE_CHECKING:
    from protoleak.benchmark.results import Report
    from protoleak.benchmark.settings import Precision

WIDTH_WITHOUT_TERMINAL = 170
ALL_WELL, SOME_FAILED, NOTHING_DONE = 0, 1, 2


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
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--threads", min=1, help="Processor threads; left out, all cores."),
    ] = None,
    device: Annotated[int, typer.Option("--device", min=0, help="CUDA device ordinal.")] = 0,
    json_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--json", help="Write all numbers here."),
    ] = None,
    html_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--html", help="Write one page with plots here."),
    ] = None,
) -> None:
    """Time every engine and variant that can run here, and compare the verdicts with labels. A failure is a row."""
    from protoleak.benchmark.run import run_benchmark
    from protoleak.benchmark.settings import BenchmarkSettings
    from protoleak.bundle import Bundle

    if (baseline is None) != (model is None):
        raise ProtoleakError("--baseline pytorch and --model MODEL go together: the baseline is that model directory")
    if baseline not in (None, "pytorch"):
        raise ProtoleakError(f"--baseline {baseline}: there is only pytorch")
    for file in (json_file, html_file):
        if file is not None and not file.absolute().parent.is_dir():  # known before minutes are spent, not after
            raise ProtoleakError(f"{file}: there is no folder {file.parent}: make it first")
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
    with _bar() as show:
        report = run_benchmark(opened, settings, show)
    _print(report)
    _write(report, json_file, html_file)
    failed = [row for row in report.rows if row.error is not None]
    problems = bool(failed) or any(item.error is not None for item in report.accuracy)
    raise typer.Exit(NOTHING_DONE if len(failed) == len(report.rows) else SOME_FAILED if problems else ALL_WELL)


def _precisions(text: str) -> tuple[Precision, ...]:
    found = names(text, "--precision")
    for name in found:
        if name not in ("variant", "bf16"):
            raise ProtoleakError(f"--precision {text}: {name!r} is none, choose variant, bf16 or variant,bf16")
    return cast("tuple[Precision, ...]", tuple(dict.fromkeys(found)))


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("")
        yield lambda name, done, total: progress.update(task, description=name, completed=done, total=total)


def _write(report: Report, json_file: Path | None, html_file: Path | None) -> None:
    import msgspec

    from protoleak.benchmark.page import html_page

    contents = []
    if json_file is not None:
        contents.append((json_file, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"))
    if html_file is not None:
        contents.append((html_file, html_page(report).encode()))
    for file, content in contents:
        try:
            file.write_bytes(content)
        except OSError as error:
            raise ProtoleakError(f"{file} cannot be written: {error.strerror or error}") from error


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from protoleak.benchmark import tables

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)

    def table(columns: tuple[str, ...]) -> Table:
        made = Table(box=None, pad_edge=False, header_style="bold")
        for index, column in enumerate(columns):
            made.add_column(column, justify="right" if index else "left", overflow="fold")
        return made

    for name, value in tables.facts(report):
        console.print(f"[bold]{escape(name)}[/bold]  {escape(value)}", soft_wrap=True)
    console.print()
    if report.accuracy:
        judged = table(tables.ACCURACY_COLUMNS)
        for item in report.accuracy:
            if item.error is None:
                judged.add_row(*map(escape, tables.accuracy_cells(item)))
        console.print(judged)
        console.print(f"[dim]{escape(str(report.data))}[/dim]\n", soft_wrap=True)
    timed = [row for row in report.rows if row.timing is not None]
    if timed:
        whole, stages = table(tables.ROW_COLUMNS), table(("ms per face", "batch", *tables.STAGE_COLUMNS))
        for row in timed:
            whole.add_row(*map(escape, tables.row_cells(row)))
            stages.add_row(escape(row.name), str(row.batch), *tables.stage_cells(row))
        console.print(whole)
        console.print()
        console.print(stages)
        console.print()
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
