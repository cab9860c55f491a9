"""How far verdicts hold when images are compressed, cropped, blurred and passed around, at the frozen threshold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError
from protoleak.evaluation.images import Image, per_folder
from protoleak.evaluation.predictions import Outcomes, predictions_of, screen_images
from protoleak.evaluation.results import Robustness, RobustnessRow
from protoleak.evaluation.settings import EvaluationSettings
from protoleak.images.open import open_image
from protoleak.images.perturbations import OPERATORS, SEVERITIES, apply, apply_chain, draw_chain
from protoleak.metrics.classes import Classes
from protoleak.metrics.intervals import Resamples
from protoleak.metrics.measures import macro_auc
from protoleak.metrics.ranking import Ranking
from protoleak.screener import Screener

AS_IT_IS, CHAIN = "none", "chain"
CHAIN_LENGTHS = (1, 2, 3)


@dataclass(frozen=True)
class Condition:
    """What is done to every image: an operator at a severity, a chain of that length, or nothing."""

    operator: str
    severity: int

    @property
    def level(self) -> str:
        if self.operator == AS_IT_IS:
            return "as they are"
        if self.operator == CHAIN:
            return f"{self.severity} operator{'s' if self.severity > 1 else ''} drawn for each image"
        operator = OPERATORS[self.operator]
        return f"{operator.unit} {operator.levels[self.severity - 1]:g}"

    def __call__(self, image: UInt8Array, seed: int, name: str) -> UInt8Array:
        """The image after it. The same seed and name of an image give the same image, whatever else is measured."""
        key = hashlib.sha256(f"{seed} {self.operator} {self.severity} {name}".encode()).digest()[:16]
        random = np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype=np.uint64)))
        if self.operator == AS_IT_IS:
            return image
        if self.operator == CHAIN:
            return apply_chain(draw_chain(random, length=self.severity), image, random)
        return apply(self.operator, self.severity, image, random)


def conditions(settings: EvaluationSettings) -> list[Condition]:
    """All of them, images as they are first."""
    found = [Condition(AS_IT_IS, 0)]
    found += [Condition(name, severity) for name in settings.operators for severity in SEVERITIES]
    if settings.chains:
        found += [Condition(CHAIN, length) for length in CHAIN_LENGTHS]
    return found


def choose_images(images: Sequence[Image], per_class: int, seed: int) -> list[Image]:
    """At most `per_class` of every class, unknown generator and of the real photographs, drawn with the seed."""
    chosen: list[int] = []
    for (kind, folder), positions in per_folder(images).items():
        key = hashlib.sha256(f"{seed} {kind} {folder}".encode()).digest()[:16]
        random = np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype=np.uint64)))
        chosen += [int(index) for index in random.permutation(positions)[:per_class]]
    return [images[index] for index in sorted(chosen)]


def measure_robustness(
    screener: Screener,
    classes: Classes,
    images: Sequence[Image],
    settings: EvaluationSettings,
    resamples: Resamples,
    progress: Callable[[int, int], None],
) -> Robustness:
    """Every operator at every severity, and chains, on some of the images. An image that gives no verdict is counted
    in its row."""
    chosen = choose_images(images, settings.images_per_class, settings.seed)
    wanted = conditions(settings)
    outcomes = screen_images(
        screener,
        _images(screener, chosen, wanted, settings.seed),
        len(chosen) * len(wanted),
        settings.batch_size,
        progress,
    )
    rows = [
        _row(condition, chosen, outcomes, range(index, len(chosen) * len(wanted), len(wanted)), classes, resamples)
        for index, condition in enumerate(wanted)
    ]
    per_operator = {name: _mean([row for row in rows if row.operator == name]) for name in settings.operators}
    defined = [value for value in per_operator.values() if value is not None]
    return Robustness(
        images_per_class=settings.images_per_class,
        rows=rows,
        macro_auc_per_operator=per_operator,
        macro_auc=float(np.mean(defined)) if defined else None,
        macro_auc_of_chains=_mean([row for row in rows if row.operator == CHAIN]),
        not_measured=[f"{row.operator} {row.level}" for row in rows if row.macro_auc_softmax.value is None],
    )


def _images(
    screener: Screener, images: Sequence[Image], wanted: Sequence[Condition], seed: int
) -> Iterator[UInt8Array | MediaError]:
    """Each image under each condition, image by image, so that it is decoded once; upright where the screener would
    turn it, since pixels have no EXIF."""
    for image in images:
        try:
            pixels = open_image(image.path, upright=screener.framing.upright).pixels
        except MediaError as error:
            yield from [error] * len(wanted)
            continue
        for condition in wanted:
            try:
                yield condition(pixels, seed, f"{image.folder}/{image.source}")
            except Exception as error:  # libraries raise errors of their own; a failure is counted and shown
                yield MediaError(f"{image.path}: {condition.operator} {condition.severity} failed: {error}")


def _row(
    condition: Condition,
    images: Sequence[Image],
    outcomes: Outcomes,
    positions: range,
    classes: Classes,
    resamples: Resamples,
) -> RobustnessRow:
    found, errors = outcomes.verdicts(positions), outcomes.errors(positions)
    judged = [images[index // positions.step] for index, _ in found]
    predictions = predictions_of(judged, [verdict for _, verdict in found], classes)
    known, unknown, real = (predictions.of_kind(kind) for kind in ("known", "unknown", "real"))
    rejected = known.verdicts == "unknown"
    density = np.concatenate([known.log_density, unknown.log_density])
    is_known = np.repeat([True, False], [len(known), len(unknown)])
    return RobustnessRow(
        operator=condition.operator,
        severity=condition.severity,
        level=condition.level,
        failed=len(errors),
        error=errors[0][1] if errors else None,
        real_accused=resamples.share(real.sources, real.verdicts == "known")
        if any(image.kind == "real" for image in images)
        else None,
        right=resamples.share(known.sources, known.right),
        rejected=resamples.share(known.sources, rejected),
        wrong=resamples.share(known.sources, ~known.right & ~rejected),
        macro_auc_softmax=resamples.estimate(
            known.sources, macro_auc(known.softmax, known), "a class without an image"
        ),
        auroc=resamples.estimate(
            known.sources + unknown.sources,
            lambda weights: Ranking.of(density, is_known, weights).auroc(),
            "no image of an unknown generator" if len(known) else "no known image",
        ),
    )


def _mean(rows: Sequence[RobustnessRow]) -> float | None:
    values = [row.macro_auc_softmax.value for row in rows if row.macro_auc_softmax.value is not None]
    return float(np.mean(values)) if values else None
