"""From the numbers of the attribution graph to a verdict and its reasons. Pure functions of one image, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protoleak.arrays import Array, Float32Array, Float64Array, softmax
from protoleak.bundle.calibration import Calibration
from protoleak.bundle.manifest import Manifest
from protoleak.runtime import conformal
from protoleak.runtime.verdict import CalibrationGroup, Feature, Label, NearestPrototype, Why

FEATURES_SHOWN = 5


@dataclass(frozen=True)
class Decision:
    """See the fields of the same names in `Verdict`."""

    label: Label
    generator: str | None
    nearest: str
    p_value: float
    real_p_value: float | None
    generated_p_value: float | None
    calibration: CalibrationGroup
    scores: dict[str, float]
    probabilities: dict[str, float] | None


class DecisionRule:
    """The open-set decision of one variant at one significance level.

    An image is unknown when its density is unusual among what the model knows (p-value ≤ α). Else its nearest class
    decides; but where the bundle has camera originals, a generator is named only for an image that is unusual among
    them as well, at the stricter `conformal.accusation_level`: so often, at most, is a camera original accused. And
    where the bundle has margins of generated images, `real` is said only of an image that is more camera-like than
    those, at `conformal.acquittal_level`. Between the two, an image is unknown.

    Args:
        generators, real_class: as in the manifest.
        calibration: of the variant.

    Raises:
        CalibrationError: alpha is outside (0, 1), or too small for the calibration images; before any image is seen.
    """

    def __init__(
        self, generators: Sequence[str], real_class: str | None, calibration: Calibration, alpha: float
    ) -> None:
        self.alpha = alpha
        self._generators = list(generators)
        self._real = None if real_class is None else self._generators.index(real_class)
        self._temperature = calibration.temperature
        self._groups: list[tuple[Float64Array, str]] = [
            conformal.group(calibration, index, alpha) for index in range(len(self._generators))
        ]
        self._real_margins = calibration.real_margins
        self.accusation_level: float | None = None
        if self._real_margins is not None:
            self.accusation_level = conformal.accusation_level(
                len(self._real_margins), alpha, calibration.accusation_share
            )
        self.track_accusation_level: float | None = None
        if self._real_margins is not None and self.accusation_level is not None:
            self.track_accusation_level = conformal.track_accusation_level(
                len(self._real_margins), self.accusation_level
            )
        self._generated_margins = calibration.generated_margins
        self.acquittal_level: float | None = None
        if self._generated_margins is not None:
            self.acquittal_level = conformal.acquittal_level(len(self._generated_margins), alpha)

    def decide(self, class_score: Array, log_density: float, *, judged: bool = True) -> Decision:
        """What is said of one image.

        Args:
            class_score: float [K], the higher the better.
            log_density: in nats.
            judged: False for an image that lacks what a verdict could rest on: it is unknown, whatever its numbers.
        """
        best = int(np.argmax(class_score))
        nearest = self._generators[best]
        group, kind = self._groups[best]
        p_value = conformal.p_value(group, log_density)
        real_p_value = generated_p_value = None
        if self._real is not None:
            margin = float(conformal.real_margin(class_score, self._real))
            if self._real_margins is not None:
                real_p_value = conformal.p_value(self._real_margins, margin)
            if self._generated_margins is not None:
                generated_p_value = conformal.generated_p_value(self._generated_margins, margin)
        evidence = Evidence(p_value, real_p_value, generated_p_value)
        label: Label = "unknown"
        if judged:
            levels = Levels(self.alpha, self.accusation_level, self.acquittal_level)
            label = label_of(evidence, best == self._real, levels)
        return Decision(
            label=label,
            generator=nearest if label == "known" else None,
            nearest=nearest,
            p_value=p_value,
            real_p_value=real_p_value,
            generated_p_value=generated_p_value,
            calibration=CalibrationGroup(kind, len(group)),
            scores=_named(self._generators, class_score),
            probabilities=None
            if self._temperature is None
            else _named(self._generators, softmax(class_score, self._temperature)),
        )


@dataclass(frozen=True)
class Evidence:
    """The p-values that a label rests on, of one image or merged over a track.

    Attributes:
        p_value: of the density among calibration images.
        real_p_value: of the margin among camera originals; None where the bundle has none.
        generated_p_value: of the margin among images by generators; None where the bundle has none.
    """

    p_value: float
    real_p_value: float | None
    generated_p_value: float | None


@dataclass(frozen=True)
class Levels:
    """What the p-values are compared with.

    Attributes:
        alpha: significance level of `unknown`.
        accusation: what the real p-value must not exceed for a generator to be named; None without one.
        acquittal: what the generated p-value must not exceed for `real`; None without one.
    """

    alpha: float
    accusation: float | None
    acquittal: float | None


def label_of(evidence: Evidence, nearest_is_real: bool, levels: Levels) -> Label:
    """The label that p-values give.

    Args:
        nearest_is_real: whether the best class is that of camera originals.
    """
    if evidence.p_value <= levels.alpha:
        return "unknown"
    if nearest_is_real:
        generated = evidence.generated_p_value
        doubtful = generated is not None and levels.acquittal is not None and generated > levels.acquittal
        return "unknown" if doubtful else "real"
    if evidence.real_p_value is None or levels.accusation is None:
        return "known"
    return "known" if evidence.real_p_value <= levels.accusation else "unknown"


def explain(
    manifest: Manifest,
    prototypes: Float32Array,
    nearest: str,
    *,
    embedding: Array,
    gate: Array,
    timestep_weight: Array,
    prototype_distance: Array,
) -> Why:
    """The reasons for one image.

    The features are those of d(runner-up) − d(nearest) = Σ_j g_j ((h_j − q_j)² − (h_j − p_j)²), with p the nearest
    prototype of the best class and q the nearest of all others.

    Args:
        manifest: of the bundle.
        prototypes: float32 [K, M, D].
        nearest: the best class.
        embedding, gate: float [D].
        timestep_weight: float [L·T].
        prototype_distance: float [K, M].
    """
    best = manifest.generators.index(nearest)
    own = best, int(np.argmin(prototype_distance[best]))
    others = prototype_distance.astype(np.float64, copy=True)
    others[best] = np.inf
    other = np.unravel_index(int(np.argmin(others)), others.shape)
    rival = int(other[0]), int(other[1])
    h, g = embedding.astype(np.float64), gate.astype(np.float64)
    contribution = g * ((h - prototypes[rival]) ** 2 - (h - prototypes[own]) ** 2)
    order = np.argsort(-contribution, kind="stable")
    weights = timestep_weight.astype(np.float64).reshape(len(manifest.preprocessing.looks), -1)
    return Why(
        nearest_prototype=_prototype(manifest, own, prototype_distance),
        runner_up=_prototype(manifest, rival, prototype_distance),
        timestep_weights=dict(zip(manifest.timesteps, weights.sum(axis=0).tolist(), strict=True)),
        look_weights=dict(zip(manifest.preprocessing.looks, weights.sum(axis=1).tolist(), strict=True)),
        features_for=[Feature(int(j), float(contribution[j])) for j in order[:FEATURES_SHOWN] if contribution[j] > 0],
        features_against=[
            Feature(int(j), float(contribution[j])) for j in order[::-1][:FEATURES_SHOWN] if contribution[j] < 0
        ],
    )


def _prototype(manifest: Manifest, place: tuple[int, int], prototype_distance: Array) -> NearestPrototype:
    return NearestPrototype(manifest.generators[place[0]], place[1], float(prototype_distance[place]))


def _named(generators: list[str], values: Array) -> dict[str, float]:
    return {name: float(value) for name, value in zip(generators, values, strict=True)}
