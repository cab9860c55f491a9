"""Rules that say how well an image fits what is known; greater is better. All see gated embeddings, for every image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.ablations.network import Embedded
from protoleak.arrays import Float64Array
from protoleak.bundle.manifest import Density
from protoleak.calibration.density import DensityModel, fit_density
from protoleak.calibration.heads import LabelArray
from protoleak.calibration.kernel import log_kernel_density
from protoleak.choices import KernelSpace

Rule = Callable[[Embedded], Float64Array]
PUBLISHED_BANDWIDTHS = np.linspace(0.1, 1.0, 10)  # whatever the embedding's scale, as the published code tries them
NEIGHBOURS = (1, 5)


@dataclass(frozen=True)
class Fitted:
    """What a rule is fitted to.

    Attributes:
        labels: int64 [n], of `train`.
        auxiliary: of generators that were learnt and are never named; None without any.
        deployed: the bundle's own density, whose settings the first rule has.
    """

    train: Embedded
    labels: LabelArray
    validation: Embedded
    auxiliary: Embedded | None
    deployed: Density


FitRule = Callable[[Fitted], Rule]


def exact(
    space: KernelSpace | None = None, contrasted: bool = True, likelihood: bool = False, factor: float = 1.0
) -> FitRule:
    """The exact kernel log density of `calibration.density`, as the bundle has it but for what is said.

    Args:
        space: another one than the bundle's.
        contrasted: whether the bundle's contrast is kept.
        likelihood: whether the bandwidth is that of the greatest likelihood.
        factor: that the bundle's bandwidth is multiplied by.
    """

    def fit(fitted: Fitted) -> Rule:
        deployed = fitted.deployed
        contrast = deployed.contrast if contrasted and fitted.auxiliary is not None else 0.0
        deployed_bandwidth = deployed.bandwidth_in_neighbour_distances
        bandwidth = None if likelihood or deployed_bandwidth is None else deployed_bandwidth * factor
        model = _density(fitted, space or _space(deployed.space), bandwidth, contrast)
        return lambda images: model.log_density(images.embedding, images.gate)

    return fit


def published(tree: bool) -> FitRule:
    """A kernel density over raw gated embeddings with the best of the published bandwidths: scikit-learn's default
    tree, as published, or the exact sum with the same bandwidth."""

    def fit(fitted: Fitted) -> Rule:
        from sklearn.neighbors import KernelDensity

        references, held_out = _gated(fitted.train), _gated(fitted.validation)
        likelihoods = [log_kernel_density(held_out, references, width).sum() for width in PUBLISHED_BANDWIDTHS]
        bandwidth = float(PUBLISHED_BANDWIDTHS[int(np.argmax(likelihoods))])
        if not tree:
            return lambda images: log_kernel_density(_gated(images), references, bandwidth)
        density = KernelDensity(bandwidth=bandwidth).fit(references)
        return lambda images: np.asarray(density.score_samples(_gated(images)))

    return fit


def neighbour(count: int) -> FitRule:
    """Minus the distance to the nearest training image but `count` − 1, in the whitened space."""

    def fit(fitted: Fitted) -> Rule:
        from scipy.spatial.distance import cdist

        model = _density(fitted, "whitened")

        def rule(images: Embedded) -> Float64Array:
            distances = cdist(model.vector(images.embedding, images.gate), model.references)
            return np.asarray(-np.partition(distances, count - 1, axis=1)[:, count - 1])

        return rule

    return fit


DEFAULT_RULE = "exact density, as deployed"
NOT_CONTRASTED = "exact density, not contrasted"
RULES: dict[str, FitRule] = {
    DEFAULT_RULE: exact(),
    NOT_CONTRASTED: exact(contrasted=False),
    "exact density, half the bandwidth": exact(factor=0.5),
    "exact density, twice the bandwidth": exact(factor=2.0),
    "exact density, bandwidth of greatest likelihood": exact(likelihood=True),
    "exact density, bandwidth of greatest likelihood, not contrasted": exact(likelihood=True, contrasted=False),
    "exact density, gated, bandwidth of greatest likelihood, not contrasted": exact(
        "gated", likelihood=True, contrasted=False
    ),
    "exact density, gated, published bandwidths": published(tree=False),
    "scikit-learn's tree, gated, published bandwidths": published(tree=True),
    **{f"distance to neighbour {count}, whitened": neighbour(count) for count in NEIGHBOURS},
}


def _density(fitted: Fitted, space: KernelSpace, bandwidth: float | None = None, contrast: float = 0.0) -> DensityModel:
    train, validation, auxiliary = fitted.train, fitted.validation, fitted.auxiliary
    return fit_density(
        *(train.embedding, train.gate, fitted.labels),
        *(validation.embedding, validation.gate),
        space=space,
        bandwidth=bandwidth,
        auxiliary=None if auxiliary is None else (auxiliary.embedding, auxiliary.gate),
        contrast=contrast,
    )


def _space(name: str) -> KernelSpace:
    return "gated" if name == "gated" else "whitened"


def _gated(images: Embedded) -> Float64Array:
    return (images.embedding * images.gate).astype(np.float64)
