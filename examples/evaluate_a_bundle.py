"""Measures the bundle of train_a_bundle.py on images that its training never saw, as `protoleak evaluate` does.

    python examples/evaluate_a_bundle.py DATA

Real faces accused come first in every report. DATA/evaluation.html is a page with plots, DATA/evaluation.json holds all
numbers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from protoleak import Bundle
from protoleak.evaluation.page import html_page
from protoleak.evaluation.run import evaluate_bundle
from protoleak.evaluation.settings import EvaluationSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DATA")
    data = parser.parse_args().folder
    settings = EvaluationSettings(
        data=data / "known",  # its test split
        unknown=data / "unknown",
        operators=("jpeg", "resize"),  # how far verdicts survive editing
        chains=False,
        images_per_class=5,
        resamples=200,
    )
    report = evaluate_bundle(Bundle.load(data / "bundle"), settings)
    (data / "evaluation.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    (data / "evaluation.html").write_text(html_page(report), encoding="utf-8")
    for variant in report.variants:
        print(f"{variant.variant} in {variant.engine}")
        if variant.real_class is not None:
            print(f"  camera images accused: {variant.real_class.count} of {variant.real_class.of}")
        if variant.closed_set is not None:
            print(f"  macro AUC: {variant.closed_set.macro_auc_softmax.value:.3f}")
        for name, result in variant.unknown.items():
            print(f"  {name} called unknown: {result.rejected.count} of {result.rejected.of}")
    print(f"see {data / 'evaluation.html'}")


if __name__ == "__main__":
    main()
