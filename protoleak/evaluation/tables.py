"""A report's numbers as the text of its tables, and how to read them."""

from __future__ import annotations

from collections.abc import Sequence

from protoleak.bundle.manifest import Manifest
from protoleak.evaluation.images import Images, per_folder
from protoleak.evaluation.results import Confusion, Report, RobustnessRow, SourceRow, VariantReport
from protoleak.evaluation.settings import EvaluationSettings
from protoleak.metrics.report import Estimate, OpenSet, Share, UnknownGenerator

NONE = "–"
FEW = 30  # images: below, an interval of a share near a half is wider than ± 18 points
GENERATOR_COLUMNS = ("class", "images", "AUC (softmax)", "AUC (raw)", "scored highest", "called unknown")
SOURCE_COLUMNS = ("images of", "source", "number", "named", "called real", "called unknown", "right")
UNKNOWN_COLUMNS = (
    *("unknown generator", "called unknown", "AUROC", "AUPR known", "AUPR unknown", "FPR at 95 % TPR", "EER", "OSCR"),
    "taken for",
)
REAL_COLUMNS = ("known generators against real photographs, by", *UNKNOWN_COLUMNS[2:-1])
ROBUSTNESS_COLUMNS = (
    *("operator", "severity", "what", "real faces accused", "right", "called unknown", "wrong", "AUC (softmax)"),
    *("AUROC unknown", "failed"),
)


def accused_line(variant: VariantReport) -> str:
    """How many real faces were accused, and of what: what stands before everything else."""
    if variant.error is not None:
        return f"not measured: {variant.error}"
    if variant.real_faces is None:
        return "not measured: no real photographs were given (--photographs)"
    text = share(variant.real_faces.accused)
    named = ", ".join(f"{name} {count}" for name, count in variant.real_faces.accused_of.items())
    return f"{text}{f'; of {named}' if named else ''}"


def facts(report: Report) -> list[tuple[str, str]]:
    """What was evaluated, where and with what: name and value."""
    machine = report.machine
    return [
        ("bundle", f"{report.bundle.name}, SHA-256 {report.bundle.sha256}"),
        *[("images", line) for line in report.images],
        ("intervals", f"95 %, {report.resamples} resamples of {report.sources} source images, seed {report.seed}"),
        ("significance level", f"α = {report.alpha:g}"),
        ("machine", f"{machine.processor}, {machine.cores} cores; {machine.system}, Python {machine.python}"),
        ("libraries", ", ".join(f"{name} {version}" for name, version in machine.libraries.items())),
        ("commit", machine.commit or "not known"),
        ("measured", report.created),
    ]


def summary(variant: VariantReport, alpha: float) -> list[tuple[str, str]]:
    """The one table of a variant: name and value, real faces accused first."""
    rows = [("real faces accused", accused_line(variant))]
    if variant.real_faces is not None:
        rows.append(("  their verdicts", ", ".join(f"{k} {v}" for k, v in variant.real_faces.verdicts.items())))
    if variant.real_class is not None:
        rows.append(("camera originals of the test accused", share(variant.real_class)))
    closed = variant.closed_set
    if closed is not None:
        rows += [
            ("macro AUC (softmax)", estimate(closed.macro_auc_softmax)),
            ("macro AUC (raw scores)", estimate(closed.macro_auc_raw)),
            ("top-1 accuracy", estimate(closed.accuracy)),
            ("balanced accuracy", estimate(closed.balanced_accuracy)),
        ]
    rejection = variant.false_rejection
    if rejection is not None:
        rows += [
            (f"known called unknown at α = {alpha:g}", share(rejection.rejected)),
            ("  promised on average", f"at most {percent(rejection.promised_on_average)}"),
            (
                "  bound, 95 % confidence",
                f"{percent(rejection.bound_95)} for {rejection.calibration_images} calibration images: "
                + ("kept" if rejection.within_bound else "EXCEEDED"),
            ),
            ("known withheld as too like a camera's", share(rejection.withheld)),
        ]
    whole = _whole(variant.unknown)
    if whole is not None:
        rows.append(("unknown generators called unknown", share(whole.rejected)))
        rows += _open_set_rows("known against unknown", whole.open_set)
    for against in variant.real_open_set:
        rows.append((f"known against real by {against.score}", f"AUROC {estimate(against.auroc)}"))
    if variant.probabilities is not None:
        rows += [
            ("calibration error (ECE)", estimate(variant.probabilities.ece)),
            ("Brier score", estimate(variant.probabilities.brier)),
        ]
    if variant.robustness is not None:
        rows += [
            ("macro AUC over operators", number(variant.robustness.macro_auc)),
            ("not measured, without an image of some class", ", ".join(variant.robustness.not_measured) or "none"),
            ("macro AUC of chains", number(variant.robustness.macro_auc_of_chains)),
        ]
    if variant.unreadable:
        rows.append(("files without a verdict", str(len(variant.unreadable))))
    return rows


def generator_rows(variant: VariantReport) -> list[list[str]]:
    """One text per GENERATOR_COLUMNS of each known class."""
    if variant.closed_set is None or variant.false_rejection is None:
        return []
    return [
        [
            name,
            str(result.recall.of) if result.recall.of else "none",
            estimate(result.auc_softmax),
            estimate(result.auc_raw),
            brief(result.recall),
            brief(variant.false_rejection.per_generator[name]),
        ]
        for name, result in variant.closed_set.per_generator.items()
    ]


def unknown_rows(variant: VariantReport) -> list[list[str]]:
    """One text per UNKNOWN_COLUMNS of each unknown generator."""
    return [
        [
            name,
            brief(result.rejected),
            *_open_set_cells(result.open_set),
            ", ".join(f"{taken} {count}" for taken, count in result.taken_for.items()) or NONE,
        ]
        for name, result in variant.unknown.items()
    ]


def source_cells(row: SourceRow) -> list[str]:
    """One text per SOURCE_COLUMNS."""
    shares = (row.named, row.called_real, row.called_unknown, row.right)
    return [row.folder, row.source, str(row.right.of), *map(brief, shares)]


def real_rows(variant: VariantReport) -> list[list[str]]:
    """One text per REAL_COLUMNS of each score."""
    return [[against.score, *_open_set_cells(against)] for against in variant.real_open_set]


def robustness_cells(row: RobustnessRow) -> list[str]:
    """One text per ROBUSTNESS_COLUMNS."""
    return [
        row.operator,
        str(row.severity) if row.severity else NONE,
        row.level,
        NONE if row.real_accused is None else counted(row.real_accused),
        counted(row.right),
        counted(row.rejected),
        counted(row.wrong),
        estimate(row.macro_auc_softmax),
        estimate(row.auroc),
        str(row.failed) if row.failed else NONE,
    ]


def confusion_rows(confusion: Confusion) -> list[list[str]]:
    """Folder, and one count per column of the matrix."""
    return [[name, *(str(count) for count in counts)] for name, counts in confusion.rows.items()]


def reading_notes(
    manifest: Manifest, settings: EvaluationSettings, images: Images, reports: Sequence[VariantReport]
) -> list[str]:
    """One line each; only those that apply."""
    counts = {
        (kind, folder or "real photographs"): len(positions)
        for (kind, folder), positions in per_folder(images.all).items()
    }
    found = []
    if settings.photographs is None:
        found.append(
            "no real photographs were given (--photographs): whether this bundle accuses real faces of being made by a "
            "generator was not measured"
        )
    else:
        found.append(
            "real faces accused is about photographs from this one source: other cameras, sizes and compressions may "
            "do worse or better, and its interval doesn't cover that"
        )
    if settings.resamples:
        found.append(
            "intervals in brackets are 95 % over resampled source images; one without width says that all images "
            "agree, not that the number is certain"
        )
    few = [f"{folder} {count}" for (_, folder), count in counts.items() if count < FEW]
    if few:
        found.append(f"fewer than {FEW} images of {', '.join(few)}: what is said of these alone says little")
    absent = [name for name in manifest.generators if ("known", name) not in counts]
    if settings.data is None:
        found.append("no images of known classes were given (--data): how well they are separated was not measured")
    elif absent:
        found.append(
            f"no image of {', '.join(absent)}: what is a mean over all classes is left empty, not taken over the rest"
        )
    found.append(
        "AUCs are of the softmax over classes, which is comparable between images; those of raw class scores, as "
        "published, stand beside them"
    )
    found.append(
        "that known images are called unknown no more often than promised holds for images like those of the "
        "calibration; nothing is promised of unknown generators, only measured"
    )
    if any(one.real_open_set for one in reports) and manifest.real_class is not None:
        found.append(
            f"the bundle has a camera class ({manifest.real_class}), so real photographs are not unknown to it: their "
            "log density may be as great as that of known images without anybody being accused"
        )
    if settings.operators:
        found.append(
            f"operators are measured on at most {settings.images_per_class} images per class, with the thresholds "
            "of the bundle as it is: nothing is calibrated again"
        )
    found.append(
        "a bundle records how many images it was trained on, not which: test images were compared with the other "
        "splits of the same data set, byte by byte, and with nothing else"
    )
    return found


def estimate(value: Estimate) -> str:
    """ "0.973 [0.961, 0.982]", or why there is no number."""
    if value.value is None:
        return f"{NONE} ({value.missing})"
    if value.interval_95 is None:
        return f"{value.value:.3f} (no interval)"
    low, high = value.interval_95
    return f"{value.value:.3f} [{low:.3f}, {high:.3f}]"


def share(value: Share) -> str:
    """ "3 of 40 (7.5 %, 95 % interval 2.6–19.9 %)"."""
    if value.share is None:
        return "no image"
    low, high = value.interval_95
    return f"{value.count} of {value.of} ({percent(value.share)}, 95 % interval {100 * low:.1f}–{percent(high)})"


def brief(value: Share) -> str:
    """ "3 of 40 (8 %, 3–20 %)"."""
    if value.share is None:
        return "no image"
    low, high = value.interval_95
    return f"{value.count} of {value.of} ({100 * value.share:.0f} %, {100 * low:.0f}–{100 * high:.0f} %)"


def counted(value: Share) -> str:
    """ "3 of 40"."""
    return f"{value.count} of {value.of}"


def number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _whole(unknown: dict[str, UnknownGenerator]) -> UnknownGenerator | None:
    return list(unknown.values())[-1] if unknown else None  # all of them together stand last, if there are several


def _open_set_rows(name: str, found: OpenSet | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    cells = zip(UNKNOWN_COLUMNS[2:-1], _open_set_cells(found), strict=True)
    return [(f"{name}: {column}" if not index else f"  {column}", cell) for index, (column, cell) in enumerate(cells)]


def _open_set_cells(found: OpenSet | None) -> list[str]:
    if found is None:
        return [NONE] * len(UNKNOWN_COLUMNS[2:-1])
    return [
        estimate(value)
        for value in (found.auroc, found.aupr_known, found.aupr_others, found.fpr_at_95_tpr, found.eer, found.oscr)
    ]
