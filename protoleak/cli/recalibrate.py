"""`protoleak recalibrate`: takes a bundle's conformal lists from a user's own images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from protoleak.cli.console import say
from protoleak.cli.endings import interruptible
from protoleak.cli.enrol import JsonOption, KeyOption, OutOption, say_dropped, say_reports, sign_with, signing_key
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.options import INPUT, BundleArgument, EngineOption, ThreadsOption, TrustedKeyOption
from protoleak.text import percentage

if TYPE_CHECKING:
    from protoleak.enrolment.recalibrate import ListCheck, Recalibration

BLOCKS = " ▁▂▃▄▅▆▇█"


@interruptible("nothing was written")
def recalibrate(
    data: Annotated[
        Path,
        typer.Option(
            "--data", rich_help_panel=INPUT, help="Your own images: a folder per class, with the bundle's names."
        ),
    ],
    out: OutOption,
    bundle: BundleArgument = None,
    photographs: Annotated[
        Path | None,
        typer.Option("--photographs", rich_help_panel=INPUT, help="Photographs of people by your own cameras."),
    ] = None,
    key: KeyOption = None,
    trusted_key: TrustedKeyOption = None,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Take a bundle's conformal lists from your own images, as they come to you; the network stays as it is.

    Says how far the promises of the lists before were from holding for them. Too few images are refused.
    """
    from protoleak.bundle.bundle import Bundle
    from protoleak.dataset import generator_folders, list_images
    from protoleak.enrolment.recalibrate import recalibrate as recalibrate_bundle
    from protoleak.progress import shown_progress

    signs_with = signing_key(key)
    opened = Bundle.load(bundle, trusted_key=trusted_key)
    files = {folder.name: list_images(folder) for folder in generator_folders(data, "--data")}
    with shown_progress() as progress:
        found = recalibrate_bundle(
            opened,
            files,
            () if photographs is None else list_images(photographs),
            out,
            engine=engine,
            threads=threads,
            progress=progress,
        )
    if as_json:
        print(json.dumps(msgspec.to_builtins(found.reports), indent=2))
    else:
        say_reports(found.skipped, found.reports, report_lines)
    say_dropped(opened)
    sign_with(signs_with, out)
    say(f"{out}: recalibrated on {sum(found.images.values())} images, SHA-256 {found.sha256}", to_errors=as_json)
    return ExitStatus.ALL_WELL


def report_lines(report: Recalibration) -> list[str]:
    """A report in words, camera originals first."""
    lines = ["how the lists before hold for your images:", *chain.from_iterable(map(_check_lines, report.checks))]
    if report.accusation_before is not None and report.accusation_after is not None:
        lines.append(
            f"a generator is named for at most {percentage(report.accusation_after)} of camera originals like yours "
            f"({percentage(report.accusation_before)} of such as the bundle came with)"
        )
    lines.append(
        f"false rejections: with 95 % confidence at most {report.bound_after:.1%} of images like yours "
        f"({report.bound_before:.1%} of such as the bundle came with)"
    )
    return lines


def _check_lines(check: ListCheck) -> Iterator[str]:
    most = max(check.histogram)
    bars = "".join(BLOCKS[round(8 * count / most)] for count in check.histogram) if most else ""
    what, verb = (check.what, "accused") if check.of_cameras else (f"nearest to {check.what}", "called unknown")
    judgement = "not like the list's" if check.doubtful else "no sign against the list"
    yield f"  {what}: {check.beyond} of {check.images} {verb}, {percentage(check.level)} promised; {judgement}"
    yield f"    p-values 0 {bars} 1; exchangeability p = {check.exchangeable:.3f}, {check.listed} in the list"
    if check.of_cameras and check.easier:
        yield (
            "    your photographs are more like the training's cameras than the list's are: people photographed by "
            "other cameras will be accused more often than before; leave out photographs that the bundle was "
            "trained with, and add some of other cameras"
        )
