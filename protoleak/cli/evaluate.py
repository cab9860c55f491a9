"""`protoleak evaluate`: what a bundle is worth on images, real faces accused first."""

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
from protoleak.cli.options import DeviceOption, EngineOption, ThreadsOption, existing, interruptible, names

if TYPE_CHECKING:
    from rich.console import Console

    from protoleak.evaluation.results import Report, VariantReport
    from protoleak.evaluation.settings import SplitChoice

WIDTH_WITHOUT_TERMINAL = 200
NAME_WIDTH = 48


@interruptible("nothing is written")
def evaluate(
    bundle: Annotated[str, typer.Argument(help="Bundle directory or .zip.")],
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="Folder with one folder of images per class of the bundle; its test split is taken."
        ),
    ],
    unknown: Annotated[
        Optional[Path],  # noqa: UP045 Typer evaluates this on Python 3.10 too
        typer.Option("--unknown", help="One folder of images per generator that the bundle doesn't know."),
    ] = None,
    real: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--real", help="Photographs of people from sources that training never saw."),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            "--split",
            help="Of --data: test, all, or auto: the test split where there is a Split.json or the bundle was trained "
            "on this folder, else all.",
        ),
    ] = "auto",
    variant: Annotated[str, typer.Option("--variant", help="Variants with commas between, or all.")] = "all",
    engine: EngineOption = "auto",
    alpha: Annotated[float, typer.Option("--alpha", help="Significance level of the verdicts.")] = 0.05,
    operators: Annotated[
        str,
        typer.Option(
            "--operators", help="all, none, or some with commas between (jpeg,crop …); chain for chains of 1 to 3."
        ),
    ] = "all",
    images: Annotated[
        int, typer.Option("--images", min=1, help="At most so many per class go through the operators.")
    ] = 20,
    bootstrap: Annotated[
        int, typer.Option("--bootstrap", min=0, help="Resamples that the 95 % intervals are over; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the resamples and the operators.")] = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images that go through together.")] = 8,
    threads: ThreadsOption = None,
    device: DeviceOption = 0,
    json_file: JsonFileOption = None,
    html_file: HtmlFileOption = None,
) -> None:
    """Measure a bundle: real faces accused, attribution, what it doesn't know, its promises, and how far they hold."""
    from protoleak.bundle.bundle import Bundle
    from protoleak.evaluation.page import html_page
    from protoleak.evaluation.run import evaluate_bundle
    from protoleak.evaluation.settings import EvaluationSettings

    check_folders(json_file, html_file)
    chosen, chains = _operators(operators)
    settings = EvaluationSettings(
        data=existing(data, "--data"),
        unknown=None if unknown is None else existing(unknown, "--unknown"),
        real=None if real is None else existing(real, "--real"),
        split=cast("SplitChoice", split),
        variants=None if variant == "all" else tuple(dict.fromkeys(names(variant, "--variant"))),
        engine=engine,
        alpha=alpha,
        threads=threads,
        device=device,
        batch_size=batch_size,
        operators=chosen,
        chains=chains,
        images_per_class=images,
        resamples=bootstrap,
        seed=seed,
    )
    opened = Bundle.load(bundle)
    with report_bar() as show:
        report = evaluate_bundle(opened, settings, show)
    _print(report)
    write_report(report, lambda: html_page(report), json_file, html_file)
    failed = [one for one in report.variants if one.error is not None]
    problems = any(one.unreadable for one in report.variants)
    raise typer.Exit(exit_status(len(failed), len(report.variants), problems))


def _operators(text: str) -> tuple[tuple[str, ...], bool]:
    """Operators, and whether there are chains of them."""
    from protoleak.evaluation.robustness import CHAIN
    from protoleak.images.perturbations import OPERATORS

    if text == "none":
        return (), False
    if text == "all":
        return tuple(OPERATORS), True
    found = tuple(dict.fromkeys(names(text, "--operators")))
    return tuple(name for name in found if name != CHAIN), CHAIN in found


def _print(report: Report) -> None:
    from rich.markup import escape

    from protoleak.evaluation import tables

    console = report_console(WIDTH_WITHOUT_TERMINAL)
    for one in report.variants:
        console.print(
            f"[bold]real faces accused[/bold] ({one.variant})  {escape(tables.first_line(one))}", soft_wrap=True
        )
    console.print()
    for name, value in tables.facts(report):
        console.print(f"[bold]{escape(name)}[/bold]  {escape(value)}", soft_wrap=True)
    for one in report.variants:
        console.print(f"\n[bold]{escape(one.variant)}[/bold] on {escape(one.engine)}")
        if one.error is not None:
            console.print(f"[red]failed[/red]  {escape(one.error)}", soft_wrap=True)
            continue
        _print_variant(console, one, report.alpha)
    console.print()
    for note in report.notes:
        console.print(f"[dim]{escape(note)}[/dim]", soft_wrap=True)


def _print_variant(console: Console, one: VariantReport, alpha: float) -> None:
    from rich.markup import escape

    from protoleak.evaluation import tables

    for name, value in tables.summary(one, alpha):
        console.print(f"{escape(name):<{NAME_WIDTH}}{escape(value)}", soft_wrap=True)
    console.print()
    print_table(console, tables.GENERATOR_COLUMNS, tables.generator_rows(one))
    print_table(console, tables.UNKNOWN_COLUMNS, tables.unknown_rows(one))
    print_table(console, tables.REAL_COLUMNS, tables.real_rows(one))
    if one.confusion is not None:
        print_table(console, ("verdicts of", *one.confusion.columns), tables.confusion_rows(one.confusion))
    if one.robustness is not None:
        print_table(console, tables.ROBUSTNESS_COLUMNS, [tables.robustness_cells(row) for row in one.robustness.rows])
        for row in one.robustness.rows:
            if row.error is not None:
                what = f"{row.operator} {row.severity}, {row.failed} images: {row.error}"
                console.print(f"[red]no verdict[/red]  {escape(what)}", soft_wrap=True)
    for line in one.unreadable:
        console.print(f"[red]no verdict[/red]  {escape(line)}", soft_wrap=True)
