"""Conformal lists from a user's own images: their cameras, their compression, their crops. The network stays.

Says first how far the lists before were from holding there: how many of the images they would have rejected or
accused, the histogram of their p-values, and a test of exchangeability with the images of the list. Conformal
p-values of many images share one list and are dependent, so that it is the two samples that are compared, by a
permutation test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.calibration import Calibration
from protoleak.bundle.enrolment import LARGEST_RECORD, Record
from protoleak.bundle.manifest import Recalibrated
from protoleak.bundle.writer import check_place
from protoleak.enrolment.accusation import accusation_bound
from protoleak.enrolment.changed_bundle import write_changed
from protoleak.enrolment.enrol import now
from protoleak.enrolment.images import ImageRunner, Images
from protoleak.enrolment.judging import p_values, recalibrated
from protoleak.enrolment.rows import Rows, rows_of, rows_together
from protoleak.errors import CalibrationError, DatasetError, ProtoleakError
from protoleak.metrics.classes import Classes
from protoleak.progress import Progress, no_progress
from protoleak.runtime import conformal
from protoleak.version import __version__

BINS = 10
PERMUTATIONS = 999
FEWEST_TO_COMPARE = 5
CAMERAS = "camera originals"
DOUBTFUL = 0.01  # a p-value of the exchangeability test below which the lists are said not to hold


class ListCheck(msgspec.Struct, frozen=True):
    """How a list before holds for the user's images.

    Attributes:
        what: the class whose images are compared with it, or CAMERAS for the margins.
        listed: images in it.
        images: of the user, that are compared with it.
        level: what was promised: at most this share is rejected (or, of camera originals, accused), on average.
        beyond: how many of the images are.
        histogram: of their p-values, in ten equal bins from 0 to 1.
        exchangeable: p-value of the permutation test with the Kolmogorov-Smirnov statistic: small where the images
            are not like those of the list.
    """

    what: str
    listed: int
    images: int
    level: float
    beyond: int
    histogram: list[int]
    exchangeable: float

    @property
    def of_cameras(self) -> bool:
        """Whether the list is that of camera originals' margins, beyond which an image is accused."""
        return self.what == CAMERAS

    @property
    def doubtful(self) -> bool:
        """Whether the images are hardly like those of the list."""
        return self.exchangeable <= DOUBTFUL

    @property
    def easier(self) -> bool:
        """Whether they are doubtful since they are less extreme: a list of theirs then rejects others more often."""
        half = len(self.histogram) // 2
        return self.doubtful and sum(self.histogram[half:]) > sum(self.histogram[:half])


class Recalibration(msgspec.Struct, frozen=True):
    """What a recalibration changes in one variant.

    Attributes:
        checks: of the lists before.
        bound_before, bound_after: what the rate of false rejections exceeds only with 5 % probability.
        accusation_before, accusation_after: share of camera originals that may be accused, see `accusation`; None
            without them.
    """

    checks: list[ListCheck]
    bound_before: float
    bound_after: float
    accusation_before: float | None
    accusation_after: float | None


@dataclass(frozen=True)
class Recalibrating:
    """A bundle that was written.

    Attributes:
        images: class → how many of the user's were used.
        skipped: one line per file that gave no image.
    """

    sha256: str
    reports: dict[str, Recalibration]
    images: dict[str, int]
    skipped: tuple[str, ...]


def photographs_needed(calibration: Calibration, alpha: float) -> int:
    """With fewer camera originals the accusation level would lie above what the bundle promises."""
    return math.ceil(round(1 / (alpha * calibration.accusation_share), 9)) - 1


def recalibrate(
    bundle: Bundle,
    files: Mapping[str, Sequence[Path]],
    photographs: Sequence[Path],
    out: Path,
    *,
    engine: str = "auto",
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Recalibrating:
    """Writes the bundle with the conformal lists of these images.

    The list of generated images' margins stays: it is of generators that the network never saw, and images of those
    that it knows would promise too much.

    Args:
        files: class → images of it.
        photographs: camera originals; needed where the bundle has a class of them.

    Raises:
        DatasetError: a class that the bundle doesn't know, or no file that can be judged.
        CalibrationError: too few images; the message names the number needed.
        BundleError: `out` can't be written.
    """
    check_place(out)
    manifest = bundle.manifest
    classes = Classes.of(manifest.generators, manifest.real_class)
    labelled = _labelled(bundle, classes, files, photographs)
    calibration = bundle.variant(manifest.variants[0]).calibration
    _check_numbers(calibration, classes, labelled, manifest.alpha)
    paths, labels = [file for file, _ in labelled], np.array([label for _, label in labelled])
    with ImageRunner(bundle, engine, threads) as runner:
        images = runner.run(paths, "images", progress)
    kept = labels[list(images.kept)]
    _check_numbers(
        calibration, classes, [(paths[0], int(label)) for label in kept], manifest.alpha, images.skipped_lines
    )
    reports: dict[str, Recalibration] = {}
    calibrations: dict[str, Calibration] = {}
    site: dict[str, Record] = {}
    enrolled: dict[str, list[Record]] = {}
    additions = bundle.enrolment.additions
    for variant in manifest.variants:
        record = _with_labels(images, variant, kept)
        enrolled[variant] = bundle.enrolment.enrolled_records(variant)
        before = bundle.variant(variant).calibration
        rows = rows_together(record, enrolled[variant], additions)
        calibrations[variant] = recalibrated(rows, classes, before, own_margins=True)
        own, after = rows_of(record, additions), calibrations[variant]
        promised = accusation_bound(manifest, variant, before, manifest.alpha)
        reports[variant] = _report(own, classes, before, after, manifest.alpha, promised)
        site[variant] = record.within(LARGEST_RECORD)
    counts = {name: int((kept == index).sum()) for index, name in enumerate(classes.names) if (kept == index).any()}
    about = Recalibrated(
        created=now(),
        images=counts,
        data_sha256=images.data_sha256,
        skipped=[skipped.without_folders for skipped in images.skipped],
        protoleak=__version__,
        measured={variant: msgspec.to_builtins(report) for variant, report in reports.items()},
    )
    sha256 = write_changed(
        out,
        bundle,
        prototypes=bundle.prototypes[manifest.generators_in_graph :].astype(np.float64),
        discriminants=() if additions is None else additions.discriminants,
        enrolled=list(manifest.enrolled),
        enrolled_records=enrolled,
        calibrations=calibrations,
        recalibrated=about,
        site_records=site,
    )
    return Recalibrating(sha256, reports, counts, images.skipped_lines)


def exchangeability(listed: Float64Array, found: Float64Array, seed: int = 0) -> float:
    """p-value of the hypothesis that two samples are exchangeable: the share of permutations of both together, the
    one at hand included, whose Kolmogorov-Smirnov distance is at least as large."""
    together = np.concatenate([listed, found])
    order = np.argsort(together, kind="stable")
    ends = np.append(np.diff(together[order]) > 0, True)  # equal values are one step
    first = np.zeros(len(together), np.bool_)
    first[: len(listed)] = True
    random = np.random.default_rng(seed)

    def distance(of_first: npt.NDArray[np.bool_]) -> float:
        steps = np.cumsum(of_first[order]) / len(listed) - np.cumsum(~of_first[order]) / len(found)
        return float(np.abs(steps[ends]).max())

    least = distance(first) - 1e-12
    reached = sum(distance(random.permutation(first)) >= least for _ in range(PERMUTATIONS))
    return (1 + reached) / (PERMUTATIONS + 1)


def _labelled(
    bundle: Bundle, classes: Classes, files: Mapping[str, Sequence[Path]], photographs: Sequence[Path]
) -> list[tuple[Path, int]]:
    strange = [name for name in files if name not in classes.names]
    if strange:
        raise DatasetError(
            f"--data holds {', '.join(strange)}, and the bundle knows {', '.join(classes.names)}: folders must have "
            "the names of its classes"
        )
    found = [(file, classes.names.index(name)) for name, of in files.items() for file in of]
    if classes.real is None:
        if photographs:
            raise ProtoleakError(f"{bundle.path} has no class of camera originals: leave --photographs out")
        return found
    return found + [(file, classes.real) for file in photographs]


def _check_numbers(
    calibration: Calibration,
    classes: Classes,
    labelled: Sequence[tuple[Path, int]],
    alpha: float,
    skipped: Sequence[str] = (),
) -> None:
    """Raises CalibrationError where so many images don't allow what the bundle promises."""
    without = f" ({len(skipped)} were skipped, the first because: {skipped[0]})" if skipped else ""
    originals = sum(label == classes.real for _, label in labelled)
    generated = len(labelled) - originals
    needed = math.ceil(round(1 / alpha, 9)) - 1
    if generated < needed:
        raise CalibrationError(
            f"{generated} images of generators{without}: alpha {alpha:g} needs {needed} that can be judged; nothing "
            "was written"
        )
    if calibration.real_margins is None:
        return
    needed = photographs_needed(calibration, alpha)
    if originals < needed:
        raise CalibrationError(
            f"{originals} photographs{without}: the accusation level {alpha * calibration.accusation_share:g} needs "
            f"{needed} that can be judged; nothing was written"
        )


def _with_labels(images: Images, variant: str, labels: npt.NDArray[np.int64]) -> Record:
    return replace(images.records[variant], labels=labels.astype(np.int32))


def _report(
    rows: Rows, classes: Classes, before: Calibration, after: Calibration, alpha: float, promised: float | None
) -> Recalibration:
    """
    Args:
        promised: the bound on accusations before.
    """
    checks = []
    best = rows.scores.argmax(axis=1)
    for index in np.unique(best):
        group, _ = conformal.group(before, int(index), alpha)
        checks.append(_check(classes.names[int(index)], group, rows.log_density[best == index], alpha))
    promised_now = None
    if classes.real is not None and before.real_margins is not None and after.real_margins is not None:
        margins = conformal.real_margin(rows.scores[rows.labels == classes.real], classes.real)
        level = conformal.accusation_level(len(before.real_margins), alpha, before.accusation_share)
        checks.insert(0, _check(CAMERAS, before.real_margins, margins, level))
        promised_now = conformal.accusation_level(len(after.real_margins), alpha, after.accusation_share)
    bound_before, bound_after = (conformal.promise(of, alpha).bound_95 for of in (before, after))
    return Recalibration(checks, bound_before, bound_after, promised, promised_now)


def _check(what: str, listed: Float64Array, found: Float64Array, level: float) -> ListCheck:
    ranks = p_values(listed, found)
    comparable = min(len(listed), len(found)) >= FEWEST_TO_COMPARE
    return ListCheck(
        what=what,
        listed=len(listed),
        images=len(found),
        level=level,
        beyond=int((ranks <= level).sum()),
        histogram=np.histogram(ranks, BINS, (0.0, 1.0))[0].tolist(),
        exchangeable=exchangeability(listed, found) if comparable else 1.0,
    )
