"""`protoleak evaluate`: what a bundle is worth on images, real faces accused first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protoleak.choices import OPERATOR_NAMES, Split
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
    MEASURED_ON,
    AlphaOption,
    BundleArgument,
    ComputeOption,
    DeviceOption,
    EngineOption,
    PhotographsOption,
    ThreadsOption,
    TrustedKeyOption,
    UnknownOption,
    VariantsOption,
)
from protoleak.cli.typed_values import distinct, existing
from protoleak.evaluation.settings import EvaluationSettings

if TYPE_CHECKING:
    from rich.console import Console

    from protoleak.evaluation.results import Report, VariantReport

WIDTH = 200  # without a terminal
NAME_WIDTH = 48
CHAIN = "chain"
ROBUSTNESS = "Robustness and intervals"


@interruptible("nothing is written")
def evaluate(
    bundle: BundleArgument = None,
    trusted_key: TrustedKeyOption = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            rich_help_panel=MEASURED_ON,
            help="One folder of images per class of the bundle; its test split is taken. May be left out where "
            "--unknown or --photographs is given.",
        ),
    ] = EvaluationSettings.data,
    unknown: UnknownOption = EvaluationSettings.unknown,
    photographs: PhotographsOption = EvaluationSettings.photographs,
    split: Annotated[
        Split,
        typer.Option(
            "--split",
            rich_help_panel=MEASURED_ON,
            help="Of --data. auto is the test split where there is a Split.json or the bundle was trained on this "
            "folder, else all.",
        ),
    ] = EvaluationSettings.split,
    variants: VariantsOption = None,
    engine: EngineOption = EvaluationSettings.engine,
    compute: ComputeOption = EvaluationSettings.compute,
    alpha: AlphaOption = EvaluationSettings.alpha,
    operators: Annotated[
        str,
        typer.Option(
            "--operators",
            rich_help_panel=ROBUSTNESS,
            help=f"all, none, or some with commas between: {', '.join(OPERATOR_NAMES)}; {CHAIN} for chains of 1 to 3.",
        ),
    ] = "all",
    images: Annotated[
        int,
        typer.Option(
            "--images", min=1, rich_help_panel=ROBUSTNESS, help="At most so many per class go through the operators."
        ),
    ] = EvaluationSettings.images_per_class,
    bootstrap: Annotated[
        int,
        typer.Option(
            "--bootstrap",
            min=0,
            rich_help_panel=ROBUSTNESS,
            help="Resamples that the 95 % intervals are over; 0 for none.",
        ),
    ] = EvaluationSettings.resamples,
    seed: Annotated[
        int, typer.Option("--seed", min=0, rich_help_panel=ROBUSTNESS, help="Of the resamples and the operators.")
    ] = EvaluationSettings.seed,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Images that go through together.")
    ] = EvaluationSettings.batch_size,
    threads: ThreadsOption = EvaluationSettings.threads,
    device: DeviceOption = EvaluationSettings.device,
    json_file: JsonFileOption = None,
    html_file: HtmlFileOption = None,
) -> None:
    """Measure a bundle: real faces accused, attribution, what it doesn't know, its promises, and how far they hold."""
    check_folders(json_file, html_file)
    chosen, chains = _operators(operators)
    settings = EvaluationSettings(
        data=existing(data, "--data"),
        unknown=existing(unknown, "--unknown"),
        photographs=existing(photographs, "--photographs"),
        split=split,
        variants=None if variants is None else distinct(variants, "--variants"),
        engine=engine,
        compute=compute,
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
    from protoleak.bundle.bundle import Bundle
    from protoleak.evaluation.by_source import files_of
    from protoleak.evaluation.images import read_images
    from protoleak.evaluation.page import html_page
    from protoleak.evaluation.run import evaluate_bundle
    from protoleak.progress import shown_progress

    opened = Bundle.load(bundle, trusted_key=trusted_key)
    with shown_progress() as progress:
        report = evaluate_bundle(opened, settings, progress)
    _print(report)
    write_report(
        report, lambda: html_page(report, files_of(read_images(opened.manifest, settings).all)), json_file, html_file
    )
    failed = [one for one in report.variants if one.error is not None]
    problems = any(one.unreadable for one in report.variants)
    raise typer.Exit(status_of_parts(len(failed), len(report.variants), problems))


def _operators(text: str) -> tuple[tuple[str, ...], bool]:
    """Operators, and whether there are chains of them."""
    if text == "none":
        return (), False
    if text == "all":
        return OPERATOR_NAMES, True
    found = distinct(text, "--operators")
    return tuple(name for name in found if name != CHAIN), CHAIN in found


def _print(report: Report) -> None:
    from rich.markup import escape

    from protoleak.evaluation import tables

    console = output_console(WIDTH)
    for one in report.variants:
        console.print(
            f"[bold]real faces accused[/bold] ({one.variant})  {escape(tables.accused_line(one))}", soft_wrap=True
        )
    console.print()
    for name, value in tables.facts(report):
        console.print(f"[bold]{escape(name)}[/bold]  {escape(value)}", soft_wrap=True)
    for one in report.variants:
        arithmetic = "" if one.compute == "exact" else f" in {escape(one.compute)}"
        console.print(f"\n[bold]{escape(one.variant)}[/bold] on {escape(one.engine)}{arithmetic}")
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
