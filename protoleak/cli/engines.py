"""`protoleak engines`: every engine, whether it can run here, and if not what to install; and what "auto" takes."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from protoleak.cli.console import output_console
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.options import DeviceOption
from protoleak.errors import EngineUnavailable
from protoleak.runtime.engine_options import EngineOptions

WIDTH = 160  # without a terminal


def engines(
    bundle: Annotated[
        str | None,
        typer.Argument(help="Bundle directory or .zip, to explain which variant is taken; left out, engines only."),
    ] = None,
    device: DeviceOption = EngineOptions.device,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """List every engine, whether it can run here and if not what to install, and explain what `auto` takes."""
    from protoleak.runtime.engines import choose, survey

    found = survey(device)
    try:
        chosen, reason = choose("auto", device)
    except EngineUnavailable as error:
        chosen, reason = "", str(error)
    report: dict[str, Any] = {
        "engines": [
            {"engine": item.engine, "runs_here": item.runs, "builds_here": item.builds, "detail": item.detail}
            for item in found
        ],
        "auto": {"engine": chosen or None, "reason": reason},
    }
    if bundle is not None:
        from protoleak.bundle.bundle import Bundle
        from protoleak.bundle.variants import choose_variant

        manifest = Bundle.load(bundle).manifest
        variant, why = choose_variant(manifest, "auto", chosen or None)
        report["variants"] = {"all": list(manifest.variants), "auto": variant, "reason": why}
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    raise typer.Exit(ExitStatus.ALL_WELL if chosen else ExitStatus.NOTHING_DONE)


def _print(report: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("engine", no_wrap=True)
    table.add_column("runs here", no_wrap=True)
    table.add_column("detail", overflow="fold")
    for item in report["engines"]:
        runs = "[green]yes[/green]" if item["runs_here"] else "builds only" if item["builds_here"] else "[dim]no[/dim]"
        table.add_row(item["engine"], runs, escape(item["detail"]))
    console = output_console(WIDTH)
    console.print(table)
    auto = report["auto"]
    console.print(
        f"\nauto takes {auto['engine']}: {escape(auto['reason'])}" if auto["engine"] else escape(auto["reason"])
    )
    if "variants" in report:
        variants = report["variants"]
        console.print(
            f"of the variants {', '.join(variants['all'])}, auto takes {variants['auto']}: {escape(variants['reason'])}"
        )
