"""What the plots show: ROC curves, the confusion matrix and the log densities."""

from __future__ import annotations

import numpy as np

from protoleak.arrays import Float64Array
from protoleak.evaluation.results import Confusion, Curve, Histogram
from protoleak.metrics.predictions import Predictions
from protoleak.metrics.ranking import BoolArray, Ranking, unweighted

POINTS = 101  # of a curve
BINS = 40
TAIL = 1.0  # per cent at either end that the histogram's range leaves out
WIDTHS = 8.0  # how many times as wide as the middle 90 % of the known it may be: strange images lie very far out
REAL_PHOTOGRAPHS = "real photographs"


def roc_curves(known: Predictions, unknown: Predictions, real: Predictions) -> list[Curve]:
    """One per known class against the others (softmax), and known against unknown generators and real photographs (log
    density); those that have images on both sides."""
    softmax, labels = known.softmax, known.labels
    candidates = [(name, softmax[:, label], labels == label) for label, name in enumerate(known.classes.names)]
    for name, others in (("unknown generators", unknown), (REAL_PHOTOGRAPHS, real)):
        score = np.concatenate([known.log_density, others.log_density])
        candidates.append((f"known against {name}", score, np.repeat([True, False], [len(known), len(others)])))
    return [
        Curve(name, _points(score, positive))
        for name, score, positive in candidates
        if 0 < positive.sum() < len(positive)
    ]


def _points(score: Float64Array, positive: BoolArray) -> list[tuple[float, float]]:
    ranking = Ranking.of(score, positive, unweighted(len(score)))
    across, up = ranking.false_positive_rate[0], ranking.true_positive_rate[0]
    if len(across) > POINTS:
        kept = np.unique(np.linspace(0, len(across) - 1, POINTS).round().astype(np.int64))
        across, up = across[kept], up[kept]
    return [(round(float(x), 5), round(float(y), 5)) for x, y in zip(across, up, strict=True)]


def confusion(known: Predictions, unknown: Predictions, real: Predictions) -> Confusion:
    """Verdicts of every known class, unknown generator and the real photographs."""
    rows = {name: known.of_class(label) for label, name in enumerate(known.classes.names)} if len(known) else {}
    for folder in dict.fromkeys(unknown.folders.tolist()):
        rows[f"{folder} (unknown)"] = unknown.of_kind("unknown", folder)
    if len(real):
        rows[REAL_PHOTOGRAPHS] = real
    return Confusion([*known.classes.names, "unknown"], {name: _counts(part) for name, part in rows.items()})


def _counts(part: Predictions) -> list[int]:
    classes = len(part.classes.names)
    column = np.where(part.verdicts == "unknown", classes, part.attributed)
    return [int(count) for count in np.bincount(column, minlength=classes + 1)]


def densities(known: Predictions, unknown: Predictions, real: Predictions) -> Histogram | None:
    """Log densities of the known, of each unknown generator and of the real photographs; None without an image."""
    sets = {"known": known.log_density}
    for folder in dict.fromkeys(unknown.folders.tolist()):
        sets[f"{folder} (unknown)"] = unknown.of_kind("unknown", folder).log_density
    sets[REAL_PHOTOGRAPHS] = real.log_density
    sets = {name: values for name, values in sets.items() if len(values)}
    if not sets:
        return None
    low = min(float(np.percentile(values, TAIL)) for values in sets.values())
    high = max(float(np.percentile(values, 100 - TAIL)) for values in sets.values())
    if len(known):
        five, ninety_five = np.percentile(known.log_density, (5, 95))
        low = max(low, float(five - WIDTHS * (ninety_five - five)))
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    shares = {
        name: [float(n) for n in np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)]
        for name, values in sets.items()
    }
    return Histogram([float(edge) for edge in edges], shares)
