"""`protoleak engines`: every engine, whether it can run here, and if not what to install; and what "auto" takes, of a
bundle's variants and computes too, with the numbers behind it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from protoleak.cli.console import output_console
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.options import BundleArgument, DeviceOption, ThreadsOption
from protoleak.errors import EngineUnavailable
from protoleak.runtime.engine_options import EngineOptions

if TYPE_CHECKING:
    from rich.console import Console

    from protoleak.bundle.bundle import Bundle

WIDTH = 160  # without a terminal


def engines(
    bundle: BundleArgument = None,
    threads: ThreadsOption = None,
    device: DeviceOption = EngineOptions.device,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """List every engine, whether it can run here and if not what to install, and explain what `auto` takes: the engine,
    and of a bundle the variant and the compute."""
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
    report |= _of_bundle(bundle, chosen, threads, device)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    raise typer.Exit(ExitStatus.ALL_WELL if chosen else ExitStatus.NOTHING_DONE)


def _of_bundle(path: str | None, engine: str, threads: int | None, device: int) -> dict[str, Any]:
    """Which variant and compute of a bundle are taken in an engine, and what each candidate comes to; "" for none."""
    from protoleak.bundle.bundle import Bundle
    from protoleak.bundle.variants import choose_variant
    from protoleak.environment.instructions import instructions
    from protoleak.runtime.configuration import configure

    bundle = Bundle.load(path)
    manifest = bundle.manifest
    if not engine:
        variant, why = choose_variant(manifest, "auto", None)
        return {"variants": {"all": list(manifest.variants), "auto": variant, "reason": why}}
    found = configure(bundle, engine, "auto", EngineOptions(device=device), threads)
    exact = [(variant, "exact") for variant in manifest.variants]
    calibrated = [(one.variant, one.compute) for one in manifest.computes if one.engine == engine]
    candidates = [
        {
            "variant": variant,
            "compute": compute,
            "taken": (variant, compute) == (found.variant, found.compute),
            "milliseconds": found.milliseconds.get(f"{variant} {compute}"),
            "left_out": found.left_out.get(f"{variant} {compute}"),
            "gate": _gate(bundle, variant, engine, compute),
        }
        for variant, compute in dict.fromkeys([*exact, *calibrated])
    ]
    measured_on = manifest.measured_on
    return {
        "variants": {"all": list(manifest.variants), "auto": found.variant, "reason": found.reason},
        "computes": {
            "auto": found.compute,
            "reason": found.reason,
            "timed": "here" if found.timed_here else "where the bundle was exported",
            "candidates": candidates,
            "instructions": sorted(instructions() or ()),
            "exporter": None if measured_on is None else msgspec.to_builtins(measured_on),
        },
    }


def _gate(bundle: Bundle, variant: str, engine: str, compute: str) -> dict[str, Any] | None:
    """What the gate found of a candidate; None for what it compares with, and for what has no lists of its own."""
    found = bundle.variant(variant, engine, compute)
    gate = found.report.gate if found.compute == compute else None
    if gate is None:
        return None
    return {
        "generator_agreement": gate.generator_agreement,
        "verdict_agreement": gate.verdict_agreement,
        "real_faces_accused": gate.real_faces_accused,
    }


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
    if "computes" in report:
        _print_computes(report["computes"], report["variants"]["auto"], console)
    elif "variants" in report:
        variants = report["variants"]
        console.print(
            f"of the variants {', '.join(variants['all'])}, auto takes {variants['auto']}: {escape(variants['reason'])}"
        )


def _print_computes(found: dict[str, Any], variant: str, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("variant", "compute", "ms per face", "same generator", "same side", "real faces accused", ""):
        table.add_column(heading, no_wrap=heading != "", overflow="fold")
    for one in found["candidates"]:
        gate = one["gate"]
        measured = ("", "", "")
        if gate is not None:
            accused = gate["real_faces_accused"]
            measured = (
                f"{gate['generator_agreement']:.2%}",
                f"{gate['verdict_agreement']:.2%}",
                "" if accused is None else f"{accused[1]} ({accused[0]} in fp32 exact)",
            )
        spent = "" if one["milliseconds"] is None else f"{one['milliseconds']:.3g}"
        note = "[green]taken[/green]" if one["taken"] else escape(one["left_out"] or "")
        table.add_row(one["variant"], one["compute"], spent, *measured, note)
    console.print()
    console.print(table)
    console.print(f"\nof these auto takes {variant} {found['auto']}: {escape(found['reason'])}")
    console.print(f"instructions here that bear on it: {', '.join(found['instructions']) or 'not told by the system'}")
    if found["exporter"] is not None:
        where = found["exporter"]
        console.print(
            f"exported on {escape(where['processor'])} with {', '.join(where['instructions']) or 'none known'}"
        )
