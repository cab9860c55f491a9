"""`protoleak enrol`: adds a generator to a bundle from a few of its images, or takes one away."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer

from protoleak.cli.console import say
from protoleak.cli.endings import interruptible
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.options import INPUT, OUTPUT, BundleArgument, EngineOption, ThreadsOption, TrustedKeyOption
from protoleak.errors import ProtoleakError
from protoleak.text import percentage

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from protoleak.bundle.bundle import Bundle
    from protoleak.enrolment.report import EnrolmentReport

LIMITS = "Limits, beyond which nothing is written"
SHOWN_SKIPPED = 5
Report = TypeVar("Report")

OutOption = Annotated[
    Path, typer.Option("--out", rich_help_panel=OUTPUT, help="Bundle to write: a directory, or a .zip.")
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key", rich_help_panel=OUTPUT, help="Ed25519 private key that the new bundle is signed with: your own."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print the report as JSON.")]


@interruptible("nothing was written")
def enrol(
    out: OutOption,
    bundle: BundleArgument = None,
    generator: Annotated[
        str | None, typer.Option("--generator", rich_help_panel=INPUT, help="Name of the new generator.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            rich_help_panel=INPUT,
            help="Folder with its images, 20 or more, at any depth; or, with --cluster, what discover wrote.",
        ),
    ] = None,
    cluster: Annotated[
        int | None,
        typer.Option("--cluster", min=1, rich_help_panel=INPUT, help="Take the images of this cluster of discover."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", rich_help_panel=INPUT, help="Enrol a cluster that is near camera originals, if they are none."
        ),
    ] = False,
    photographs: Annotated[
        Path | None,
        typer.Option(
            "--photographs",
            rich_help_panel=INPUT,
            help="Photographs of people: half of them help to choose how far the new class may reach, on the other "
            "half is measured how many are accused.",
        ),
    ] = None,
    remove: Annotated[
        str | None, typer.Option("--remove", rich_help_panel=INPUT, help="Take this enrolled generator away instead.")
    ] = None,
    recall: Annotated[
        float,
        typer.Option("--recall", min=0, max=1, rich_help_panel=LIMITS, help="Least share of its images to be named."),
    ] = 0.3,
    harm: Annotated[
        float,
        typer.Option(
            "--harm",
            min=0,
            max=1,
            rich_help_panel=LIMITS,
            help="Largest share of the other generators' images that may lose their name.",
        ),
    ] = 0.02,
    accused: Annotated[
        int,
        typer.Option(
            "--accused", min=0, rich_help_panel=LIMITS, help="How many more photographs may be accused than before."
        ),
    ] = 0,
    key: KeyOption = None,
    trusted_key: TrustedKeyOption = None,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Add a generator to a bundle from a few of its images, without PyTorch: the network stays as it is.

    What that does is measured first, and beyond the limits nothing is written. --remove takes a generator away again.
    """
    from protoleak.bundle.bundle import Bundle

    signs_with = signing_key(key)
    opened = Bundle.load(bundle, trusted_key=trusted_key)
    if remove is not None:
        if generator is not None or data is not None:
            raise ProtoleakError("--remove takes a generator away: leave out --generator and --data")
        from protoleak.enrolment.enrol import remove as remove_generator

        sha256 = remove_generator(opened, remove, out)
        say(f"{out}: without {remove}, SHA-256 {sha256}")
        sign_with(signs_with, out)
        return ExitStatus.ALL_WELL
    if data is None or (generator is None and cluster is None):
        raise ProtoleakError("give --generator NAME and --data DIR with its images, or --remove NAME")
    from protoleak.dataset import list_images
    from protoleak.discovery.discover import read_cluster
    from protoleak.enrolment.enrol import enrol as enrol_generator
    from protoleak.enrolment.report import Limits
    from protoleak.progress import shown_progress

    if cluster is None:
        name, files = str(generator), list_images(data)
    else:
        chosen = read_cluster(data, cluster)
        if chosen.near_cameras and not force:
            raise ProtoleakError(
                f"cluster {cluster} of {data} is near camera originals: a generator of photographs would accuse "
                "people; look at its images, and give --force if none is a photograph"
            )
        name, files = generator or chosen.working_name, tuple(Path(file) for file in chosen.images)
    with shown_progress() as progress:
        found = enrol_generator(
            opened,
            name,
            files,
            out,
            photographs=() if photographs is None else list_images(photographs),
            limits=Limits(recall=recall, harm=harm, accused=accused),
            engine=engine,
            threads=threads,
            progress=progress,
        )
    if cluster is not None:
        say("a cluster holds images that are alike: others by the same generator are named less often", to_errors=True)
    if as_json:
        print(json.dumps(msgspec.to_builtins(found.reports) | {"refused": list(found.refusals)}, indent=2))
    else:
        say_reports(found.skipped, found.reports, lambda report: report_lines(report, name))
    if found.sha256 is None:
        raise ProtoleakError(f"{name} was not enrolled, nothing was written; forbidden by {'; '.join(found.refusals)}")
    say_dropped(opened)
    sign_with(signs_with, out)
    say(f"{out}: knows {name}, SHA-256 {found.sha256}", to_errors=as_json)
    return ExitStatus.ALL_WELL


def say_dropped(bundle: Bundle) -> None:
    """Says what a bundle was calibrated for that its changed form isn't."""
    dropped = sorted({f"{one.compute} in {one.engine}" for one in bundle.manifest.computes if one.compute != "exact"})
    if dropped:
        say(
            f"{' and '.join(dropped)}: its thresholds were those of before, so --compute auto is exact in the new "
            "bundle, and slower",
            to_errors=True,
        )


def signing_key(path: Path | None) -> Ed25519PrivateKey | None:
    """The key that a bundle is to be signed with. Read before anything is computed or written: a bundle that could not
    be signed then would lie there unsigned.

    Raises:
        ProtoleakError: see `read_private_key`.
    """
    if path is None:
        return None
    from protoleak.bundle.signature import read_private_key
    from protoleak.cli.sign import ask_passphrase

    return read_private_key(path, lambda: ask_passphrase(path))


def sign_with(key: Ed25519PrivateKey | None, out: Path) -> None:
    """Signs a bundle that was just written, where there is a key."""
    if key is None:
        return
    from protoleak.bundle.bundle import Bundle
    from protoleak.bundle.writer import sign_bundle

    signer = sign_bundle(Bundle.load(out), key)
    say(f"signed with {signer.key}", to_errors=True)


def say_reports(skipped: Sequence[str], reports: Mapping[str, Report], lines: Callable[[Report], list[str]]) -> None:
    """Prints a change's reports.

    Args:
        skipped: one line per file that gave no image.
        reports: by variant.
        lines: gives a report in words.
    """
    for line in skipped[:SHOWN_SKIPPED]:
        say(f"skipped: {line}")
    if len(skipped) > SHOWN_SKIPPED:
        say(f"skipped: {len(skipped) - SHOWN_SKIPPED} more")
    for variant, report in reports.items():
        if len(reports) > 1:
            say(f"variant {variant}")
        for line in lines(report):
            say(line)


def report_lines(report: EnrolmentReport, generator: str) -> list[str]:
    """A report in words, real faces first."""
    lines = []
    for what, faces in (("photographs", report.photographs), ("camera originals of the record", report.cameras)):
        if faces is None:
            lines.append(f"real faces accused, {what}: not measured")
        else:
            lines.append(f"real faces accused, {what}: {faces.after} of {faces.images}, {faces.before} before")
    new = report.newcomer
    confused = "".join(f", {count} called {name}" for name, count in new.confused.items())
    lines.append(
        f"{generator}, held-out images: {new.named} of {new.images} named, {new.unknown} unknown, "
        f"{new.real} called real{confused}"
    )
    for name, change in report.record.items():
        taken = f", {change.newcomer} called {generator}" if change.newcomer else ""
        lines.append(f"{name}: {change.after} of {change.images} named, {change.before} before{taken}")
    own = f"nearest to {generator}" if report.compared_with == "its own images" else "of all classes"
    lines.append(f"p-values of {generator} are ranks among {report.calibration_list} calibration images {own}")
    if report.accusation_bound is not None:
        most = percentage(report.accusation_bound)
        lines.append(f"a generator is named for at most {most} of camera originals like the calibration's")
    return lines
