"""Writes docs/default_bundle.md, the default bundle's model card, from what its report.json and manifest say.

    python tools/default_bundle/model_card.py

Every number in the card comes from the bundle; nothing is typed in here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protoleak import Bundle

ROOT = Path(__file__).parents[2]
CARD = ROOT / "docs" / "default_bundle.md"

MADE_OF = {
    "stable_diffusion_3": "portraits by Stable Diffusion 3 (faker-js/assets-person-portrait, CC0), as published",
    "dcgan_digiface": "faces of the DCGAN in the PyPI package gan-face-generate 1.1.1 (MIT), 64×64 pixels",
    "flux2_tae": "portraits and photographs through the tiny FLUX.2 autoencoder (madebyollin/taesd, MIT)",
    "denoised_linear_ddim": "noised latents of the same pictures denoised here: linear schedule, DDIM",
    "denoised_cosine_ddim": "noised latents of the same pictures denoised here: cosine schedule, DDIM",
    "denoised_zero_terminal_ddim": "noised latents of the same pictures denoised here: zero terminal SNR, DDIM",
    "denoised_scaled_linear_euler": "noised latents of the same pictures denoised here: scaled-linear schedule, Euler",
    "bilinear_decoder": "the same pictures through a small decoder with bilinear up-sampling, trained here",
    "nearest_decoder": "the same pictures through a small decoder with nearest-neighbour up-sampling, trained here",
    "transposed_decoder": "the same pictures through a small decoder with transposed convolutions, trained here",
    "real": "official portraits of members of the US Congress from two collections (public domain), as published",
    "noised_latents": "the same pictures through the tiny FLUX.2 autoencoder, with noise left in the latents",
    "subpixel_decoder": "the same pictures through a small decoder with sub-pixel convolutions, trained here",
    "(real faces)": "photographs of people from other sources, which training never saw",
}


def main() -> None:
    bundle = Bundle.load()
    report = bundle.variant("fp32").report
    CARD.parent.mkdir(exist_ok=True)
    CARD.write_text(card(bundle, report), encoding="utf-8")
    print(f"wrote {CARD.relative_to(ROOT)}")


def card(bundle: Bundle, report: dict[str, Any]) -> str:
    """The card as Markdown."""
    manifest = bundle.manifest
    accused, rejection, closed = report["real_faces_accused"], report["false_rejection"], report["closed_set"]
    distilled = manifest.provenance["latent_encoder"]
    accused_of = ", ".join(f"{name} {count}" for name, count in accused["accused_of"].items()) or "none"
    images = manifest.provenance["export"]["images"]
    lines = [
        "# The default bundle: model card",
        "",
        "<!-- Written by tools/default_bundle/model_card.py from the bundle itself. Do not edit. -->",
        "",
        f"**Real faces accused: {share(accused)}** at α = {report['alpha']:g}: photographs of people from sources that "
        f"training never saw, for which a generator was named ({accused_of}). The others were called "
        f"real ({accused['verdicts']['real']}) or unknown ({accused['verdicts']['unknown']}).",
        "",
        "## What it knows",
        "",
        "| class | pictures | AUC (softmax over generators) |",
        "|---|---|---|",
        *(
            f"| `{name}`{' (camera originals)' if name == manifest.real_class else ''} | {MADE_OF.get(name, '')} "
            f"| {closed['auc_softmax_per_generator'][name]:.3f} |"
            for name in manifest.generators
        ),
        "",
        "## What was measured",
        "",
        f"On {closed['images']} test pictures whose content was in no other split; training saw {images['train']}, "
        f"validation {images['validation']}, calibration {images['calibration']}. Intervals are 95 % Wilson intervals.",
        "",
        f"- Macro AUC over the classes: {closed['macro_auc_softmax']:.4f} (softmax over generators), "
        f"{closed['macro_auc']:.4f} (raw class scores). Accuracy {closed['accuracy']:.3f}.",
        f"- Camera originals of the test split accused: {share(report['real_class_accused'])}.",
        f"- Known pictures called unknown: {share(rejection)}; promised on average: at most "
        f"{rejection['promised_on_average']:.0%}; with 95 % confidence over calibration sets at most "
        f"{rejection['bound_95']:.1%}.",
        "",
        "| unknown | what it is | AUROC against known | FPR at 95 % TPR | called unknown |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {MADE_OF.get(name, '')} | {row['auroc']:.3f} | {row['fpr_at_95_tpr']:.2f} "
            f"| {share(row['rejected']) if 'rejected' in row else '—'} |"
            for name, row in report["open_set"].items()
        ),
        "",
        "## What it is not good for",
        "",
        "- It knows four pipelines, two of which were made for this bundle. It is an example that works offline, not a "
        "detector of today's generators: most synthetic faces on the web were made by something it has never seen. For "
        "those the right answer is `unknown`, and how often it says so of new generators is not known beyond the table "
        "above.",
        "- `real` means: consistent with the camera pictures that it was trained on, official portraits. It does not "
        "mean authentic.",
        f"- Its head, `{manifest.head}`, was chosen among the five because it accused the fewest camera originals of "
        "the test split; it also accused the fewest real faces. Both numbers are optimistic by that choice.",
        "- `noised_latents` keeps so much noise that one can see it. It shows what `unknown` is for "
        "and is no hard test. With less noise, hardly any of its pictures were called unknown.",
        "- A new pipeline that resembles a known one is named after it: see the table of unknowns.",
        "- Its latent encoder was distilled on reconstructions of `flux2_tae` among others, of training content and "
        "without labels: that unknown generator is less new to it than the other two.",
        "- Its test pictures come from the same collections as its training pictures. Expect less elsewhere.",
        "- Robustness against editing, filters and heavy compression was not measured here.",
        "- The calibration set is small, so the 95 % bound is wide. Calibrate on your own pictures first.",
        "",
        "## How it was made",
        "",
        "`tools/default_bundle/build.py` rebuilds it: it trains the decoders, makes the pictures, distils the latent "
        "encoder, trains the attribution network and exports the bundle, with the commands that users have. "
        + (
            f"Its latent encoder follows its teacher with a mean correlation of {distilled['correlation_mean']:.3f} "
            f"(lowest channel {distilled['correlation_lowest']:.3f}) on pictures that it never saw. "
            if "correlation_mean" in distilled
            else ""
        )
        + f"Bundle SHA-256: `{bundle.sha256}`.",
        "",
    ]
    return "\n".join(lines)


def share(row: dict[str, Any]) -> str:
    """A count with its share and interval."""
    low, high = row["interval_95"]
    return f"{row['count']} of {row['of']} ({row['share']:.1%}, interval {low:.1%} to {high:.1%})"


if __name__ == "__main__":
    main()
