"""`protoleak inspect`: what a bundle is, how it was made and what was measured of it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeGuard

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protoleak.cli.bundle_summary import summarise
from protoleak.cli.console import output_console
from protoleak.cli.options import AlphaOption, BundleArgument, TrustedKeyOption
from protoleak.text import percentage

HEADINGS = {
    "real_faces": "Real faces accused (verdict known): the worst error this software can make",
    "real_class": "Camera originals of the test images accused",
    "closed_set": "Closed set: telling the known generators apart",
    "false_rejection": "False rejection, measured; withheld: too like camera originals for an accusation",
    "unknown": "Open set: generators that the bundle doesn't know",
    "real_open_set": "Known generators against real faces",
    "probabilities": "Probabilities: whether they are what they say",
    "precisions": "How the graphs were made",
    "gate": "Gate: against fp32 on held-out images",
    "parity": "Parity: the exported graphs against PyTorch, on real images",
}
PROPORTION = {"count", "of", "share", "interval_95"}
NOT_SHOWN = ("calibration",)  # the bounds table says it, at the alpha that is asked for


def inspect(
    bundle: BundleArgument = None,
    trusted_key: TrustedKeyOption = None,
    alpha: AlphaOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show what a bundle is, how it was made and what was measured of it. Checks every hash."""
    from protoleak.bundle.bundle import Bundle

    summary = summarise(Bundle.load(bundle, trusted_key=trusted_key), alpha)
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        _print(summary, output_console())


def _print(summary: dict[str, Any], console: Console) -> None:
    console.print(f"[bold]{escape(summary['name'])}[/bold]  {escape(summary['path'])}")
    if summary["changes"]:
        changes = escape(" and ".join(summary["changes"]))
        console.print(
            f"\nSince this bundle was exported, {changes}. What was measured at its export comes first; bounds are "
            "those of now, and what was measured since stands further down."
        )
    for name, variant in summary["variants"].items():
        if len(summary["variants"]) > 1:
            console.print(f"\n[bold]Variant {name}[/bold]")
        report = dict(variant["report"])
        if "real_faces" not in report:
            console.print(f"\n[bold]{HEADINGS['real_faces']}[/bold]\n  not measured: treat every accusation so")
        for key, value in report.items():
            if key in NOT_SHOWN:
                continue
            console.print(f"\n[bold]{HEADINGS.get(key, key)}[/bold]")
            if _is_table(value):
                _print_table(value, console)
            else:
                _print_values(value, console)
            if key == "real_faces":
                _print_bounds(variant["false_rejection_bounds"], summary["alpha"], console)
        if "real_faces" not in report:
            _print_bounds(variant["false_rejection_bounds"], summary["alpha"], console)
    for name, variant in summary["variants"].items():
        bound = variant["accusation_bound"]
        if variant["accusation_level"] is not None:
            promised = (
                "nothing is promised above the alpha that generators were enrolled at"
                if bound is None
                else f"a generator is named for at most {percentage(bound)} of camera originals like the calibration's"
            )
            console.print(f"\n[bold]Accusation at alpha {summary['alpha']:g}[/bold], {escape(name)}: {promised}")
        if variant["acquittal_level"] is not None:
            console.print(
                f"[bold]Acquittal at alpha {summary['alpha']:g}[/bold], {escape(name)}: real is said of at most "
                f"{percentage(variant['acquittal_level'])} of images by generators like those of the calibration"
            )
    if summary["computes"]:
        console.print("\n[bold]Calibrated beside exact computing[/bold], with thresholds of its own")
        _print_table(summary["computes"], console)
    console.print("\n[bold]What it is[/bold]")
    facts = ("created", "sha256", "hashes", "signature", "head", "density", "face_detector")
    shown = (*facts, "looks", "timesteps", "amplitudes", "attributor_input", "low_frequency_components")
    real = summary["real_class"]
    classes = [f"{name} (real)" if name == real else name for name in summary["generators"]]
    _print_values({"generators": ", ".join(classes)} | {key: summary[key] for key in shown}, console)
    for title, value in (
        ("What it was before something was enrolled or recalibrated", summary["base"]),
        *((f"Enrolled: {escape(one['name'])}", one) for one in summary["enrolled"]),
        ("Recalibrated", summary["recalibrated"]),
    ):
        if value is not None:
            console.print(f"\n[bold]{title}[/bold]")
            _print_values(value, console)
    console.print("\n[bold]How it was made[/bold]")
    _print_values(summary["provenance"], console)
    console.print("\n[bold]Files[/bold]")
    for file, size in summary["files"].items():
        console.print(f"  {size:>12,} bytes  {escape(file)}")


def _print_bounds(rows: list[dict[str, Any]], alpha: float, console: Console) -> None:
    # Where some generators are compared with their own list and some with all, the promise doubles (runtime.conformal).
    mixed = len({row["calibration"] for row in rows if "calibration" in row}) > 1
    average = 2 * alpha if mixed else alpha
    console.print(
        f"\n[bold]False rejection at alpha {alpha:g}[/bold]: at most {average:.1%} of known images on average, and "
        f"with 95% confidence at most the bound"
    )
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2))
    table.add_column("  generator", overflow="fold")
    table.add_column("compared with")
    table.add_column("n", justify="right")
    table.add_column("bound", justify="right")
    for row in rows:
        if "refused" in row:
            table.add_row(f"  {escape(row['generator'])}", "refused", str(row["own_images"]), "–")
        else:
            group = "its own images" if row["calibration"] == "generator" else "all images"
            table.add_row(f"  {escape(row['generator'])}", group, str(row["n"]), f"{row['bound_95']:.1%}")
    console.print(table)
    refused = {row["refused"] for row in rows if "refused" in row}
    for reason in sorted(refused):
        console.print(f"  {escape(reason)}")


def _is_table(value: object) -> TypeGuard[list[dict[str, object]]]:
    """A list of records with the same fields."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, dict) and row.keys() == value[0].keys() for row in value)
    )


def _print_table(rows: list[dict[str, object]], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2))
    for index, (key, value) in enumerate(rows[0].items()):
        justify: Literal["left", "right"] = "right" if isinstance(value, (int, float)) else "left"
        table.add_column(("  " if index == 0 else "") + escape(key), justify=justify, overflow="fold")
    for row in rows:
        cells = [escape(_short(value)) for value in row.values()]
        table.add_row("  " + cells[0], *cells[1:])
    console.print(table)


def _print_values(value: object, console: Console, indent: int = 2) -> None:
    """Nested values as indented lines; reports and provenance are free in form."""
    space = " " * indent
    if isinstance(value, dict):
        if value.keys() >= PROPORTION:
            console.print(f"{space}{_proportion(value)}", soft_wrap=True)
            value = {key: inner for key, inner in value.items() if key not in PROPORTION}
        for key, inner in value.items():
            if isinstance(inner, list) and inner and isinstance(inner[0], dict):
                for item in inner:
                    console.print(f"{space}{escape(str(key))}:")
                    _print_values(item, console, indent + 2)
            elif isinstance(inner, dict) and inner.keys() == PROPORTION:
                console.print(f"{space}{escape(str(key))}: {_proportion(inner)}", soft_wrap=True)
            elif isinstance(inner, dict) and inner and not _is_estimate(inner):
                console.print(f"{space}{escape(str(key))}:")
                _print_values(inner, console, indent + 2)
            else:
                console.print(f"{space}{escape(str(key))}: {escape(_short(inner))}", soft_wrap=True)
    else:
        console.print(f"{space}{escape(_short(value))}", soft_wrap=True)


def _proportion(value: dict[str, Any]) -> str:
    """A count with its share and its 95 % interval, as the reports hold them."""
    if not value["of"]:
        return "0 of 0"
    low, high = value["interval_95"]
    return f"{value['count']} of {value['of']}, {value['share']:.1%} (95% interval {low:.1%} to {high:.1%})"


def _is_estimate(value: dict[str, Any]) -> bool:
    """Whether it is a number of the reports, or why there is none."""
    return "value" in value and value.keys() <= {"value", "interval_95", "missing"}


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_short(item) for item in value) or "none"
    if isinstance(value, dict) and _is_estimate(value):
        return _short(value["value"]) if value["value"] is not None else f"none ({value.get('missing')})"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items()) or "none"
    return "none" if value is None else str(value)
