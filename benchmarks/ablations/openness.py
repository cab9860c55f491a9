"""Rules that say how well an image fits what is known; greater is better. All see gated embeddings, for every image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.ablations.network import Embedded
from protoleak.calibration.density import DensityModel, fit_density
from protoleak.calibration.heads import LabelArray
from protoleak.calibration.kernel import log_kernel_density
from protoleak.diffusion import Float64Array

Rule = Callable[[Embedded], Float64Array]
FitRule = Callable[[Embedded, LabelArray, Embedded], Rule]
PUBLISHED_BANDWIDTHS = np.linspace(0.1, 1.0, 10)  # whatever the embedding's scale, as the published code tries them
NEIGHBOURS = (1, 5)


def exact(space: str) -> FitRule:
    """The exact kernel log density in a space of `calibration.density`, with a bandwidth in neighbour distances."""

    def fit(train: Embedded, labels: LabelArray, validation: Embedded) -> Rule:
        model = _density(train, labels, validation, space)
        return lambda images: model.log_density(images.embedding, images.gate)

    return fit


def published(tree: bool) -> FitRule:
    """A kernel density over raw gated embeddings with the best of the published bandwidths: scikit-learn's default
    tree, as published, or the exact sum with the same bandwidth."""

    def fit(train: Embedded, labels: LabelArray, validation: Embedded) -> Rule:  # noqa: ARG001
        from sklearn.neighbors import KernelDensity

        references, held_out = _gated(train), _gated(validation)
        likelihoods = [log_kernel_density(held_out, references, width).sum() for width in PUBLISHED_BANDWIDTHS]
        bandwidth = float(PUBLISHED_BANDWIDTHS[int(np.argmax(likelihoods))])
        if not tree:
            return lambda images: log_kernel_density(_gated(images), references, bandwidth)
        density = KernelDensity(bandwidth=bandwidth).fit(references)
        return lambda images: np.asarray(density.score_samples(_gated(images)))

    return fit


def neighbour(count: int) -> FitRule:
    """Minus the distance to the nearest training image but `count` − 1, in the whitened space."""

    def fit(train: Embedded, labels: LabelArray, validation: Embedded) -> Rule:
        from scipy.spatial.distance import cdist

        model = _density(train, labels, validation, "whitened")

        def rule(images: Embedded) -> Float64Array:
            distances = cdist(model.vector(images.embedding, images.gate), model.references)
            return np.asarray(-np.partition(distances, count - 1, axis=1)[:, count - 1])

        return rule

    return fit


RULES: dict[str, FitRule] = {
    "exact density, whitened": exact("whitened"),
    "exact density, gated": exact("gated"),
    "exact density, gated, published bandwidths": published(tree=False),
    "scikit-learn's tree, gated, published bandwidths": published(tree=True),
    **{f"distance to neighbour {count}, whitened": neighbour(count) for count in NEIGHBOURS},
}
DEFAULT_RULE = "exact density, whitened"


def _density(train: Embedded, labels: LabelArray, validation: Embedded, space: str) -> DensityModel:
    return fit_density(
        *(train.embedding, train.gate, labels),
        *(validation.embedding, validation.gate),
        space="gated" if space == "gated" else "whitened",
    )


def _gated(images: Embedded) -> Float64Array:
    return (images.embedding * images.gate).astype(np.float64)
