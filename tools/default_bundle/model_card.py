"""Writes docs/default_bundle.md, the default bundle's model card, from its evaluation and its manifest.

    python tools/default_bundle/model_card.py

Every number in the card comes from the bundle or from evaluate_default_bundle.json, ablations.json and never_named.json
in benchmarks/results, none from here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from protoleak import Bundle
from protoleak.evaluation.results import Report, VariantReport
from protoleak.evaluation.tables import brief, estimate, number, share
from protoleak.metrics.measures import ALL_UNKNOWN

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # run as a script, its own folder is there instead

from benchmarks.ablations.judge import AT_ALPHA, UNLIKE_CAMERAS  # noqa: E402
from benchmarks.ablations.results import Row  # noqa: E402
from benchmarks.evaluate import Results  # noqa: E402
from tools.default_bundle.build import NEVER_NAMED, NEVER_NAMED_FILE  # noqa: E402
from zoo.generators import GENERATORS  # noqa: E402

CARD = ROOT / "docs" / "default_bundle.md"
ABLATIONS = ROOT / "benchmarks" / "results" / "ablations.json"
EVALUATION = ROOT / "benchmarks" / "results" / "evaluate_default_bundle.json"
MACRO_AUC, MACRO_AUC_EDITED, AUROC, ACCUSED = 0.97, 0.90, 0.90, 0.05


def main() -> None:
    bundle = Bundle.load()
    report = msgspec.json.decode(EVALUATION.read_bytes(), type=Report)
    if report.bundle.sha256 != bundle.sha256:
        raise SystemExit(f"{EVALUATION.relative_to(ROOT)} is of another bundle: evaluate this one first")
    CARD.write_text("\n".join(lines(bundle, report)) + "\n", encoding="utf-8")
    print(f"wrote {CARD.relative_to(ROOT)}")


def lines(bundle: Bundle, report: Report) -> Iterator[str]:
    """The card as Markdown. Its numbers are those of the fp32 variant; a table compares the others."""
    first = next(variant for variant in report.variants if variant.variant == "fp32")
    yield from ("# The default bundle: model card", "")
    yield "<!-- Written by tools/default_bundle/model_card.py from the bundle and its evaluation. Do not edit. -->"
    yield from ("", accused(first, report.alpha), "", "## What it knows", "")
    yield from known(bundle, first)
    yield from ("", "## What was measured", "")
    yield from measured(report, first)
    yield from ("", "## After editing", "")
    yield from edited(first)
    yield from ("", "## Variants", "")
    yield from variants(report)
    yield from ("", "## What it is not good for", "")
    never_named = msgspec.json.decode((EVALUATION.parent / NEVER_NAMED_FILE).read_bytes())
    yield from limits(bundle, never_named, row_at_alpha(bundle))
    yield from ("", "## How it was made", "")
    yield from made(bundle)


def row_at_alpha(bundle: Bundle) -> Row:
    """The ablation in which a generator is named at α itself."""
    results = msgspec.json.decode(ABLATIONS.read_bytes(), type=Results)
    if results.bundle_sha256 != bundle.sha256:
        raise SystemExit(f"{ABLATIONS.relative_to(ROOT)} is of another bundle: run benchmarks/evaluate.py on this one")
    return next(row for row in results.ablations if (row.part, row.change) == (UNLIKE_CAMERAS, AT_ALPHA))


def accused(variant: VariantReport, alpha: float) -> str:
    faces = variant.real_faces
    assert faces is not None, "the evaluation was given no real faces"
    of = ", ".join(f"{name} {count}" for name, count in faces.accused_of.items()) or "none"
    asked = met(faces.accused.share, ACCUSED, "≤")
    others = f"real ({faces.verdicts.get('real', 0)}) or unknown ({faces.verdicts.get('unknown', 0)})"
    return (
        f"**Real faces accused: {share(faces.accused)}** at α = {alpha:g}, where {asked}: photographs of people from "
        f"sources that training never saw, for which a generator was named ({of}). The others were called {others}."
    )


def known(bundle: Bundle, variant: VariantReport) -> Iterator[str]:
    described = {generator.name: generator.description for generator in GENERATORS}
    closed = variant.closed_set
    assert closed is not None
    yield from ("| class | images | AUC (softmax) | AUC (raw score) | recall |", "|---|---|---|---|---|")
    for name in bundle.manifest.generators:
        row = closed.per_generator[name]
        camera = " (camera originals)" if name == bundle.manifest.real_class else ""
        cells = f"{estimate(row.auc_softmax)} | {estimate(row.auc_raw)} | {share(row.recall)}"
        yield f"| `{name}`{camera} | {described[name]} | {cells} |"


def measured(report: Report, variant: VariantReport) -> Iterator[str]:
    closed, rejection = variant.closed_set, variant.false_rejection
    assert closed is not None
    assert rejection is not None
    yield f"`protoleak evaluate`, on {closed.images} test images of the zoo ([zoo](../zoo)),"
    yield f"whose content was in no other split. Intervals are 95 %, over {report.sources} source images."
    yield ""
    macro = closed.macro_auc_softmax
    yield f"- Macro AUC: {estimate(macro)} (softmax; {met(macro.value, MACRO_AUC, '≥')}), "
    yield f"  {estimate(closed.macro_auc_raw)} (raw class scores). Top-1 {estimate(closed.accuracy)}, balanced "
    yield f"  {estimate(closed.balanced_accuracy)}."
    if variant.real_class is not None:
        yield f"- Camera originals of the test split accused: {share(variant.real_class)}."
    inside = "within" if rejection.within_bound else "outside"
    yield f"- Known images rejected as unknown by density: {share(rejection.rejected)}, {inside} the bound. Promised"
    yield f"  on average: at most {rejection.promised_on_average:.0%}; with 95 % confidence: {rejection.bound_95:.1%}."
    yield f"- Known images withheld (also called unknown), as too like a camera's: {share(rejection.withheld)}."
    whole = variant.unknown[ALL_UNKNOWN].open_set if ALL_UNKNOWN in variant.unknown else None
    if whole is not None:
        yield f"- AUROC of known against all unknown generators: {estimate(whole.auroc)}"
        yield f"  ({met(whole.auroc.value, AUROC, '≥')})."
    yield ""
    yield "| unknown generator | called unknown | AUROC | FPR at 95 % TPR | EER | OSCR | taken for |"
    yield "|---|---|---|---|---|---|---|"
    for name, row in variant.unknown.items():
        numbers = row.open_set
        if numbers is None:
            continue
        taken = ", ".join(
            f"{other} {count}" for other, count in sorted(row.taken_for.items(), key=lambda item: -item[1])
        )
        yield (
            f"| {name} | {share(row.rejected)} | {estimate(numbers.auroc)} | {estimate(numbers.fpr_at_95_tpr)} "
            f"| {estimate(numbers.eer)} | {estimate(numbers.oscr)} | {taken} |"
        )
    for numbers in variant.real_open_set:
        cells = (numbers.auroc, numbers.fpr_at_95_tpr, numbers.eer, numbers.oscr)
        yield f"| (real photographs, by {numbers.score}) | — | {' | '.join(map(estimate, cells))} | |"


def edited(variant: VariantReport) -> Iterator[str]:
    robustness = variant.robustness
    assert robustness is not None, "the evaluation was made without operators"
    mean = robustness.macro_auc
    yield "Macro AUC averaged over WILD's operators at five severities: "
    yield f"{number(mean)} ({met(mean, MACRO_AUC_EDITED, '≥')});"
    yield f"over chains of one to three: {number(robustness.macro_auc_of_chains)}. At the frozen threshold, with "
    yield f"{robustness.images_per_class} images per class:"
    yield ""
    yield "| operator | macro AUC | real faces accused | rightly named | called unknown | named wrongly |"
    yield "|---|---|---|---|---|---|"
    for row in robustness.rows:
        if row.operator != "none" and row.severity not in (1, 3, 5) and row.operator != "chain":
            continue
        real = "—" if row.real_accused is None else f"{row.real_accused.count} of {row.real_accused.of}"
        shares = " | ".join(number(part.share) for part in (row.right, row.rejected, row.wrong))
        yield f"| {row.operator} {row.level} | {number(row.macro_auc_softmax.value)} | {real} | {shares} |"


def variants(report: Report) -> Iterator[str]:
    yield from (
        "| variant | real faces accused | macro AUC | AUROC, all unknown | false rejection |",
        "|---|---|---|---|---|",
    )
    for variant in report.variants:
        if variant.error is not None or variant.real_faces is None or variant.closed_set is None:
            continue
        unknown = variant.unknown.get(ALL_UNKNOWN) or next(iter(variant.unknown.values()))
        auroc = "—" if unknown.open_set is None else estimate(unknown.open_set.auroc)
        rejected = "—" if variant.false_rejection is None else share(variant.false_rejection.rejected)
        macro = estimate(variant.closed_set.macro_auc_softmax)
        yield f"| {variant.variant} | {share(variant.real_faces.accused)} | {macro} | {auroc} | {rejected} |"


def limits(bundle: Bundle, never_named: dict[str, int], at_alpha: Row) -> Iterator[str]:
    """What to know before use.

    Args:
        never_named: counts of the verdicts on the generator that is learnt and never named.
        at_alpha: the ablation in which a generator is named at α itself.
    """
    assert at_alpha.real_accused is not None
    yield "- It knows small pipelines, most of which were made for this project, and whose images are partly"
    yield "  blurred or faulty. It is an example that works offline, not a detector of today's generators: most"
    yield "  synthetic faces on the web were made by something it has never seen. For those the right verdict is"
    yield "  `unknown`, and how often it says so of new generators is not known beyond the table."
    yield "- A generator is named only at a fifth of α against camera originals: at α itself this bundle accuses"
    yield f"  {brief(at_alpha.real_accused)} of the same real faces. The share was set after an earlier bundle's"
    yield "  accusations of them had been seen (docs/decisions/0009-naming-a-generator.md), so the count above is"
    yield "  optimistic by that choice, and its price is the images that are withheld."
    yield "- `real` means: consistent with the camera images that it was trained on, official portraits. It does not"
    yield "  mean authentic."
    yield "- A new pipeline that resembles a known one is named after it: see the table of unknowns."
    counts = ", ".join(f"{count} `{name}`" for name, count in never_named.items())
    yield f"- `{NEVER_NAMED}`, the tiny FLUX.2 autoencoder, gives photographs back so well that a bundle which names it"
    yield "  accuses real faces. It was learnt as an auxiliary generator and is never named; so it is no unknown one"
    yield f"  either. Verdicts on its test images: {counts}."
    yield "- Its test images come from the same collections as its training images. Expect less elsewhere."
    yield f"- The calibration set is small ({calibration_size(bundle)} images), so the 95 % bound is wide."
    yield "  Calibrate on your own images first."


def made(bundle: Bundle) -> Iterator[str]:
    distilled = bundle.manifest.provenance["latent_encoder"]
    yield "`zoo/build.py` builds the zoo from seeds; `tools/default_bundle/build.py` then distils the latent"
    yield "encoder, trains the attribution network, exports and evaluates, with the commands that users have."
    trained = bundle.manifest.provenance["model"]
    images = sum(trained["images"]["train"].values())
    yield f"Training saw {images} images of the classes, {trained['auxiliary_images']} of auxiliary generators"
    yield f"(siblings of the known ones) and {trained['negative_images']} negatives, photographs of other things."
    density = bundle.manifest.density
    if density.contrast > 0:
        yield f"The open-set density has a bandwidth of {density.bandwidth_in_neighbour_distances:g} neighbour"
        yield f"distances and is contrasted with {density.auxiliary_images} images of the auxiliary generators,"
        yield f"weighed by {density.contrast:g}. Both were chosen by leaving known generators out, not by the unknown"
        yield "ones (docs/decisions/0012-contrast.md)."
    if "correlation_mean" in distilled:
        mean, lowest = distilled["correlation_mean"], distilled["correlation_lowest"]
        yield f"The latent encoder follows its teacher with a mean correlation of {mean:.3f}"
        yield f"(lowest channel {lowest:.3f}) on images that it never saw."
    yield f"Bundle SHA-256: `{bundle.sha256}`."


def calibration_size(bundle: Bundle) -> int:
    return int(bundle.manifest.provenance["export"]["images"]["calibration"])


def met(value: float | None, limit: float, sign: str) -> str:
    """Whether a target is met, in words."""
    if value is None:
        return f"{sign} {limit:g} was asked for"
    reached = value <= limit if sign == "≤" else value >= limit
    return f"{sign} {limit:g} was asked for: {'met' if reached else 'missed'}"


if __name__ == "__main__":
    main()
