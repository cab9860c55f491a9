"""Adds a generator to a bundle, or takes one away, without PyTorch and without touching the graphs."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.calibration import Calibration
from protoleak.bundle.enrolment import Additions, Record
from protoleak.bundle.manifest import Enrolled
from protoleak.bundle.writer import check_place
from protoleak.enrolment.accusation import accusation_bound, has_own_margins
from protoleak.enrolment.changed_bundle import write_changed
from protoleak.enrolment.fit import Fitted, Setting
from protoleak.enrolment.images import ImageRunner, Images
from protoleak.enrolment.judging import recalibrated
from protoleak.enrolment.report import EnrolmentReport, Limits, Measured, fit_and_measure
from protoleak.enrolment.rows import calibration_rows, rows_of, rows_together
from protoleak.errors import CalibrationError, ProtoleakError
from protoleak.metrics.classes import Classes
from protoleak.progress import Progress, no_progress
from protoleak.version import __version__

FEWEST_IMAGES = 20
LONGEST_NAME = 100
RESERVED = ("unknown", "real")


@dataclass(frozen=True)
class Enrolment:
    """A bundle that was written, or would have been.

    Attributes:
        sha256: of the bundle; None where it was refused.
        reports: variant → what it does.
        refusals: one phrase per limit that is broken; empty where the bundle was written.
        images: of the new generator that were used.
        skipped: one line per file that gave no image.
    """

    sha256: str | None
    reports: dict[str, EnrolmentReport]
    refusals: tuple[str, ...]
    images: int
    skipped: tuple[str, ...]


def images_needed(alpha: float) -> int:
    """The least number of images: with fewer of them the new generator's own list allows no rejection at α."""
    return max(FEWEST_IMAGES, math.ceil(round(1 / alpha, 9)) - 1)


def enrol(
    bundle: Bundle,
    name: str,
    files: Sequence[Path],
    out: Path,
    *,
    photographs: Sequence[Path] = (),
    limits: Limits | None = None,
    engine: str = "auto",
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Enrolment:
    """Writes a bundle that knows one generator more, unless that breaks the limits.

    Args:
        name: of the new generator.
        files: its images.
        photographs: camera originals: every second one helps to choose the offset, the others are measured on.
        limits: None for the defaults.

    Raises:
        ProtoleakError: the name can't be used, or there are too few images.
        BundleError: the bundle holds nothing to enrol with, or `out` can't be written.
        DatasetError: none of the files can be judged.
    """
    limits = limits or Limits()
    check_place(out)
    check_name(name, bundle.manifest.generators)
    bundle.enrolment.check()
    needed = images_needed(bundle.manifest.alpha)
    _check_number(name, len(files), needed, bundle)
    with ImageRunner(bundle, engine, threads) as runner:
        images = runner.run(files, f"images of {name}", progress)
        _check_number(name, len(images), needed, bundle, images.skipped_lines)
        photographed = runner.run(photographs, "photographs", progress) if photographs else None
    measured: dict[str, Measured] = {}
    for variant in bundle.manifest.variants:
        like = next(iter(measured.values())).fitted if measured else None
        measured[variant] = measure(bundle, variant, name, images.records[variant], photographed, limits, like)
    reports = {variant: found.report for variant, found in measured.items()}
    refusals = []
    for variant, found in measured.items():
        where = f"{variant}: " if len(measured) > 1 else ""
        refusals += [where + one for one in found.report.refusals(limits, found.fitted.within_limits)]
    sha256 = None if refusals else _write(bundle, name, images, measured, out)
    return Enrolment(sha256, reports, tuple(refusals), len(images), images.skipped_lines)


def measure(
    bundle: Bundle,
    variant: str,
    name: str,
    record: Record,
    photographs: Images | None,
    limits: Limits,
    like: Fitted | None = None,
) -> Measured:
    """Fits a generator in one variant and measures it; nothing is written.

    Args:
        record: of the new generator's images.
        like: see `fit.fit`.
    """
    rows, calibration = calibration_rows(bundle, variant), bundle.variant(variant).calibration
    additions = bundle.enrolment.additions
    of_photographs = rows.chosen(np.zeros(0, np.int64))
    if photographs is not None:
        of_photographs = rows_of(photographs.records[variant], additions)
    every = np.arange(len(of_photographs))
    setting = Setting(
        rows=rows,
        photographs=of_photographs.chosen(every[::2]),
        classes=Classes.of(bundle.manifest.generators, bundle.manifest.real_class),
        constants=bundle.enrolment.score_constants(),
        statistics=bundle.enrolment.class_statistics(),
        enrolled=() if additions is None else additions.discriminants,
        calibration=calibration,
        own_margins=has_own_margins(bundle.manifest, calibration),
        accusation_bound=accusation_bound(bundle.manifest, variant, calibration, bundle.manifest.alpha),
        alpha=bundle.manifest.alpha,
        slots=bundle.manifest.prototypes_per_generator,
        harm=limits.harm,
    )
    return fit_and_measure(rows_of(record, additions), of_photographs.chosen(every[1::2]), setting, name, like)


def remove(bundle: Bundle, name: str, out: Path) -> str:
    """Writes the bundle without an enrolled generator and returns its SHA-256: where it was the only change, the bundle
    as it was exported, byte by byte.

    Raises:
        ProtoleakError: no generator of this name was enrolled.
        BundleError: `out` can't be written.
    """
    manifest = bundle.manifest
    names = [one.name for one in manifest.enrolled]
    if name not in names:
        listed = ", ".join(names) or "none"
        raise ProtoleakError(f"{name!r} was not enrolled in {bundle.path}: enrolled are {listed}")
    gone = names.index(name)
    kept = [index for index in range(len(names)) if index != gone]
    column = manifest.generators_in_graph + gone
    classes = Classes.of([one for one in manifest.generators if one != name], manifest.real_class)
    additions = _additions_without(bundle, kept, column)
    site = site_records(bundle, without=column)
    records: dict[str, list[Record]] = {}
    calibrations: dict[str, Calibration] = {}
    for variant in manifest.variants:
        before_removal = bundle.enrolment.enrolled_records(variant)
        records[variant] = [_relabelled(before_removal[index], column) for index in kept]
        rows = rows_together(site.get(variant) or bundle.enrolment.record(variant), records[variant], additions)
        before = bundle.variant(variant).calibration
        calibrations[variant] = recalibrated(rows, classes, before, has_own_margins(manifest, before))
    return write_changed(
        out,
        bundle,
        prototypes=bundle.prototypes[manifest.generators_in_graph :].astype(np.float64)[kept],
        discriminants=() if additions is None else additions.discriminants,
        enrolled=[manifest.enrolled[index] for index in kept],
        enrolled_records=records,
        calibrations=calibrations,
        recalibrated=manifest.recalibrated,
        site_records=site,
    )


def check_name(name: str, generators: Sequence[str]) -> None:
    """Raises ProtoleakError where a generator can't be called so."""
    if name in generators:
        raise ProtoleakError(f"the bundle knows {name!r} already: choose another name, or --remove it first")
    if name in RESERVED or not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME or "/" in name:
        raise ProtoleakError(
            f"--generator {name!r} is no name for a generator: give a short one without slashes, that is not "
            f"{' or '.join(RESERVED)}"
        )


def site_records(bundle: Bundle, without: int | None = None) -> dict[str, Record]:
    """Variant → the record that the bundle was recalibrated with; empty where it wasn't.

    Args:
        without: a class whose images are left out, and whose place is filled.
    """
    if bundle.manifest.recalibrated is None:
        return {}
    records = {variant: bundle.enrolment.record(variant) for variant in bundle.manifest.variants}
    if without is None:
        return records
    return {variant: _relabelled(record.rows(record.labels != without), without) for variant, record in records.items()}


def _relabelled(record: Record, gone: int) -> Record:
    """The same images once a class is gone: the labels behind it move up."""
    return replace(record, labels=(record.labels - (record.labels > gone)).astype(np.int32))


def _additions_without(bundle: Bundle, kept: Sequence[int], gone: int) -> Additions | None:
    """The enrolled generators that are kept, once the class `gone` is none of their rivals."""
    additions = bundle.enrolment.additions
    if additions is None or not kept:
        return None
    return replace(
        additions,
        prototypes=additions.prototypes[list(kept)],
        discriminants=tuple(additions.discriminants[index].without(gone) for index in kept),
        offsets=additions.offsets[list(kept)],
    )


def _write(bundle: Bundle, name: str, images: Images, measured: Mapping[str, Measured], out: Path) -> str:
    """The bundle with the new generator behind the others."""
    manifest = bundle.manifest
    first = next(iter(measured.values())).fitted
    label = len(manifest.generators)
    records: dict[str, list[Record]] = {}
    for variant, found in measured.items():
        record = images.records[variant]
        odds = found.fitted.own_log_odds.astype(np.float32)
        own = replace(record, labels=np.full(len(record.labels), label, np.int32), own_log_odds=odds)
        records[variant] = [*bundle.enrolment.enrolled_records(variant), own]
    added = Enrolled(
        name=name,
        created=now(),
        offset=first.offset,
        images=len(images),
        data_sha256=images.data_sha256,
        skipped=[skipped.without_folders for skipped in images.skipped],
        protoleak=__version__,
        accused={variant: found.report.accused_of_newcomer for variant, found in measured.items()},
        measured={variant: msgspec.to_builtins(found.report) for variant, found in measured.items()},
    )
    additions = bundle.enrolment.additions
    enrolled_before = bundle.prototypes[manifest.generators_in_graph :].astype(np.float64)
    return write_changed(
        out,
        bundle,
        prototypes=np.concatenate([enrolled_before, first.prototypes[None]]),
        discriminants=(*(() if additions is None else additions.discriminants), first.discriminant),
        enrolled=[*manifest.enrolled, added],
        enrolled_records=records,
        calibrations={variant: found.fitted.calibration for variant, found in measured.items()},
        recalibrated=manifest.recalibrated,
        site_records=site_records(bundle),
    )


def now() -> str:
    """The time as manifests hold it: ISO 8601, UTC."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _check_number(name: str, count: int, needed: int, bundle: Bundle, skipped: Sequence[str] = ()) -> None:
    if count >= needed:
        return
    without = f" ({len(skipped)} were skipped, the first because: {skipped[0]})" if skipped else ""
    raise CalibrationError(
        f"{count} images of {name!r}{without}: alpha {bundle.manifest.alpha:g} needs {needed} different ones that "
        "can be judged; nothing was written"
    )
