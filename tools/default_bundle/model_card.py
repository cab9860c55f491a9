"""Writes docs/default_bundle.md, the default bundle's model card, from its evaluation and its manifest.

    python tools/default_bundle/model_card.py

Every number in the card comes from the bundle and from evaluate_default_bundle.json, left_out.json,
real_ablations.json (of ablations.py) and evaluate_research_bundle.json in benchmarks/results.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from protoleak import Bundle
from protoleak.evaluation.results import Report, VariantReport
from protoleak.evaluation.tables import brief, estimate, number, share
from protoleak.metrics.measures import ALL_UNKNOWN

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # run as a script, its own folder is there instead

from tools.default_bundle.sources import AUXILIARY, CAMERAS, KNOWN, UNKNOWN  # noqa: E402
from tools.default_bundle.targets import ACCUSED, target_rows  # noqa: E402

CARD = ROOT / "docs" / "default_bundle.md"
RESULTS = ROOT / "benchmarks" / "results"
EVALUATION, LEFT_OUT = RESULTS / "evaluate_default_bundle.json", RESULTS / "left_out.json"
ABLATIONS, RESEARCH_EVALUATION = RESULTS / "real_ablations.json", RESULTS / "evaluate_research_bundle.json"
MET = {True: "met", False: "**missed**", None: "not measured"}


def main() -> None:
    bundle = Bundle.load()
    report = msgspec.json.decode(EVALUATION.read_bytes(), type=Report)
    if report.bundle.sha256 != bundle.sha256:
        raise SystemExit(f"{EVALUATION.relative_to(ROOT)} is of another bundle: evaluate this one first")
    left_out = json.loads(LEFT_OUT.read_text())
    CARD.write_text("\n".join(card(bundle, report, left_out)) + "\n", encoding="utf-8")
    print(f"wrote {CARD.relative_to(ROOT)}")


def card(bundle: Bundle, report: Report, left_out: dict[str, Any]) -> Iterator[str]:
    """The card as Markdown, of the fp32 variant."""
    variant = next(one for one in report.variants if one.variant == "fp32")
    yield from ("# The default bundle: model card", "")
    yield "<!-- Written by tools/default_bundle/model_card.py from the bundle and its evaluation. Do not edit. -->"
    yield from ("", accused(variant, report.alpha), "", "## Targets", "")
    yield from targets(variant)
    yield from ("", *why_missed(variant))
    yield from ("", "## What it knows, by source", "")
    yield from by_source(variant)
    yield from ("", "## Generators that it doesn't know", "")
    yield from unknown(variant)
    yield from ("", "## After editing", "")
    yield from edited(variant)
    yield from ("", "## In bfloat16", "")
    yield from in_bfloat16(bundle)
    yield from ("", "## What training without them says of sources and generators", "")
    yield from turns(left_out)
    yield from ("", "## What parts of the method give", "")
    yield from ablations(json.loads(ABLATIONS.read_text()))
    yield from ("", "## The research recipe", "")
    yield from research(msgspec.json.decode(RESEARCH_EVALUATION.read_bytes(), type=Report))
    yield from ("", "## What it is not good for", "")
    yield from limits(bundle)
    yield from ("", "## How it was made", "")
    yield from made(bundle)


def accused(variant: VariantReport, alpha: float) -> str:
    faces = variant.real_faces
    assert faces is not None, "the evaluation was given no photographs"
    of = ", ".join(f"{name} {count}" for name, count in faces.accused_of.items()) or "none"
    others = f"real ({faces.verdicts.get('real', 0)}) or unknown ({faces.verdicts.get('unknown', 0)})"
    asked = MET[target_rows(variant)[0].met]
    return (
        f"**Real faces accused: {share(faces.accused)}** at α = {alpha:g}, where ≤ {ACCUSED:g} was asked for "
        f"({asked.strip('*')}): photographs of people from sources that training never saw, for which a generator was "
        f"named ({of}). The others were called {others}."
    )


def targets(variant: VariantReport) -> Iterator[str]:
    """One row per target."""
    yield from ("| | measured | asked for | |", "|---|---|---|---|")
    for row in target_rows(variant):
        shown = "—" if row.value is None else f"{row.value:.3f}"
        yield f"| {row.text} | {shown} {row.which} | {row.sign} {row.limit:g} | {MET[row.met]} |"
    looks = ", ".join(f"{look} {weight:.2f}" for look, weight in variant.look_weights.items())
    timesteps = ", ".join(f"t = {timestep} {weight:.2f}" for timestep, weight in variant.timestep_weights.items())
    yield from ("", f"Mean weights of the attention: {looks}; {timesteps}.")


def in_bfloat16(bundle: Bundle) -> Iterator[str]:
    """What the bundle's own reports say of exact computing and of bfloat16, each with thresholds of its own."""
    exact, bf16 = bundle.variant("fp32").report, bundle.variant("fp32", "openvino", "bf16").report
    gate = bf16.gate
    manifest = bundle.manifest
    assert gate is not None, "bfloat16 passed the gate of the export"
    assert manifest.speeds is not None, "the export measured its engines"
    fast = next(one.milliseconds for one in manifest.computes if one.compute == "bf16")
    slow = manifest.speeds["openvino"]["fp32"]
    yield (
        "Where the processor multiplies bfloat16, `--compute auto` judges in it, with thresholds of its own "
        "([decision 29](decisions/0029-calibrated-computes.md)): "
        f"{slow / fast:.1f} times as fast where it was exported. The class with the highest score is that of exact "
        f"computing for {gate.generator_agreement:.1%} of the test images, and {gate.verdict_agreement:.1%} of all "
        "images lie on the same side of the threshold."
    )
    yield from ("", "| images | verdict | exact | bf16 |", "|---|---|---|---|")
    counts = [
        (f"real faces ({one.real_faces.accused.of})", one.real_faces.verdicts)
        for one in (exact, bf16)
        if one.real_faces is not None
    ]
    for (images, of_exact), (_, of_bf16) in [counts]:
        for label, count in of_exact.items():
            yield f"| {images} | {label} | {count} | {of_bf16[label]} |"
    rejected = [one.unknown[ALL_UNKNOWN].rejected for one in (exact, bf16)]
    yield f"| unknown generators ({rejected[0].of}) | unknown | {rejected[0].count} | {rejected[1].count} |"
    known = [one.false_rejection.rejected for one in (exact, bf16) if one.false_rejection is not None]
    yield f"| known test images ({known[0].of}) | unlike all that is known | {known[0].count} | {known[1].count} |"


def why_missed(variant: VariantReport) -> Iterator[str]:
    """What is likely behind the targets that are missed, and what was tried."""
    generators = [row for row in variant.by_source if row.kind == "known" and row.folder != "real"]
    wrongly = sum(row.named.count - row.right.count for row in generators)
    of = sum(row.named.of for row in generators)
    yield "Where targets are missed, the verdicts give way on the side of people. A generator is named only beyond what"
    yield "photographs reach whose source was left out of training, and many of Stable Diffusion 3's images lie within:"
    yield "in the statistics of these latents they are nearest to photographs, and they are from one small collection."
    yield f"Of {of} images of known generators {wrongly} get a wrong name; others are called unknown. Compression and"
    yield "halving take away what is told apart by, from photographs and generators alike. Tried, with figures:"
    yield "[whitening](decisions/0020-whitened-statistics.md), [densities](decisions/0021-posterior-density.md),"
    yield "[harder views](decisions/0026-harder-views.md), [discriminants](decisions/0036-discriminants.md),"
    yield "[both together](decisions/0038-both-solvers.md) and"
    yield "[another latent encoder](decisions/0040-lighter-latent-encoder.md). More images and more"
    yield "collections of each generator, and more cameras, would help most: a sixth more images of the same"
    yield "collections gave .003 of AUROC."


def by_source(variant: VariantReport) -> Iterator[str]:
    yield from (
        "| images of | source | number | named | called real | called unknown | right |",
        "|---|---|---|---|---|---|---|",
    )
    for row in variant.by_source:
        cells = " | ".join(brief(one) for one in (row.named, row.called_real, row.called_unknown, row.right))
        seen = "" if row.kind == "known" else " (never seen)"
        yield f"| `{row.folder}`{seen} | {row.source} | {row.right.of} | {cells} |"


def unknown(variant: VariantReport) -> Iterator[str]:
    yield "| generator | called unknown | AUROC against the known | taken for |"
    yield "|---|---|---|---|"
    for name, row in variant.unknown.items():
        ordered = sorted(row.taken_for.items(), key=lambda item: -item[1])
        taken = ", ".join(f"{other} {count}" for other, count in ordered) or "—"
        auroc = "—" if row.open_set is None else estimate(row.open_set.auroc)
        yield f"| {name} | {share(row.rejected)} | {auroc} | {taken} |"


def edited(variant: VariantReport) -> Iterator[str]:
    robustness = variant.robustness
    assert robustness is not None, "the evaluation was made without operators"
    yield f"At the frozen thresholds, with {robustness.images_per_class} images per class, cameras among them."
    accused = [(row.real_accused, row) for row in robustness.rows if row.real_accused is not None]
    if accused:
        most, of = max(accused, key=lambda item: item[0].share or 0)
        operator = f"{of.operator} {of.level}"
        yield f"Of the photographs of unseen sources at most {most.count} of {most.of} are accused, after {operator}."
    yield ""
    yield "| operator | real faces accused | right | called unknown | named wrongly | macro AUC |"
    yield "|---|---|---|---|---|---|"
    for row in robustness.rows:
        if row.operator not in ("none", "chain") and row.severity not in (1, 3, 5):
            continue
        real = "—" if row.real_accused is None else f"{row.real_accused.count} of {row.real_accused.of}"
        shares = " | ".join(number(part.share) for part in (row.right, row.rejected, row.wrong))
        yield f"| {row.operator} {row.level} | {real} | {shares} | {number(row.macro_auc_softmax.value)} |"


def turns(left_out: dict[str, Any]) -> Iterator[str]:
    yield "Share of images whose nearest class is wrong in kind (a camera's image nearest to a generator, a generator's"
    yield "nearest to cameras), by networks that saw nothing of their source or generator, altered views included. The"
    yield "margins of these images set when a generator may be named and when `real` may be said."
    yield ""
    yield "| source or generator | views | nearest to the wrong kind |"
    yield "|---|---|---|"
    for name, row in left_out["camera"].items():
        yield f"| {name} | {row['views']} | {row['negative']:.1%} |"
    for name, row in left_out["generated"].items():
        yield f"| {name} | {row['views']} | {1 - row['negative']:.1%} |"


def ablations(record: dict[str, Any]) -> Iterator[str]:
    yield f"Mean ± standard deviation over {record['seeds']} seeds of {record['what']}. The last column is the AUROC of"
    yield "photographs from sources that no training saw against the known generators, by the real margin."
    yield ""
    yield "| | balanced accuracy | macro AUC | largest weight of a position | photographs against generators |"
    yield "|---|---|---|---|---|"
    for row in record["rows"]:
        names = ("balanced_accuracy", "macro_auc", "heaviest_position", "auroc_photographs")
        cells = " | ".join(f"{statistics.mean(row[name]):.3f} ± {statistics.stdev(row[name]):.3f}" for name in names)
        yield f"| {row['variation']} | {cells} |"


def research(report: Report) -> Iterator[str]:
    variant = next(one for one in report.variants if one.variant == "fp32")
    faces, closed = variant.real_faces, variant.closed_set
    assert faces is not None
    assert closed is not None
    yield "`--research` also names generators whose rights forbid shipping; what it makes doesn't ship. Its margins"
    yield "come from twelve turns of its own, in which its sources and generators were left out. It is by descent"
    yield "alone, as the default bundle was before [decision 38](decisions/0038-both-solvers.md)."
    if variant.compute is not None:
        yield f"Judged in {variant.compute}, which `--compute auto` takes here."
    yield ""
    yield f"Real faces accused: {share(faces.accused)}."
    yield f"Macro AUC of known classes: {estimate(closed.macro_auc_softmax)}."
    yield ""
    yield from by_source(variant)


def limits(bundle: Bundle) -> Iterator[str]:
    yield "- It knows five generators, each from one collection by one writer: expect less on images of theirs from"
    yield "  elsewhere. Most synthetic faces on the web were made by something that it has never seen; for those the"
    yield "  right verdict is `unknown`."
    yield "- `real` means: consistent with the camera images that it was trained on, mostly official portraits, and"
    yield "  unlike the generators that it saw. It does not mean authentic."
    yield "- Phones' processing, films and prints are new sources: calibrate on your own images before you rely on"
    yield "  a rate."
    yield f"- The calibration set is small ({calibration_size(bundle)} images), so bounds are wide."


def made(bundle: Bundle) -> Iterator[str]:
    trained = bundle.manifest.provenance["model"]
    images = sum(trained["images"]["train"].values())
    names = [", ".join(one.name for one in of) for of in (KNOWN, CAMERAS, AUXILIARY, UNKNOWN)]
    yield "`tools/default_bundle/build.py` trains, leaves sources and generators out in turn, exports and evaluates,"
    yield "with the commands that users have."
    yield f"Training saw {images} images of the classes and {trained['auxiliary_images']} of auxiliary generators."
    yield ""
    yield "| role | collections |"
    yield "|---|---|"
    for role, of in zip(("known", "cameras", "learnt, never named", "measured on alone"), names, strict=True):
        yield f"| {role} | {of} |"
    yield from ("", f"Bundle SHA-256: `{bundle.sha256}`.")


def calibration_size(bundle: Bundle) -> int:
    return int(bundle.manifest.provenance["export"]["images"]["calibration"])


if __name__ == "__main__":
    main()
