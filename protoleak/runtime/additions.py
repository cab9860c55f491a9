"""Enrolled generators: class scores and log density that are computed beside the graph, from what the graphs give.

The attributor of a bundle with the head `prototype` and the density `posterior` computes, from embedding h and gate g,

    s_k = τ log Σ_m exp(−Σ_j g_j (h_j − p_kmj)² / τ)         of each class k, named or auxiliary
        (less, in a network of two solvers, what is the same for all k)
    L   = b − log Σ_k exp(s_k) + min(b − floor, 0)            b the greatest s_k among the named classes

so that E = log Σ_k exp(s_k) = b + min(b − floor, 0) − L: the sum over all classes follows from L, and the auxiliary
prototypes, which are in the graph only, are not needed. An enrolled generator with the log odds λ against the classes
before it (`bundle.enrolment.class_statistics`) has the score E + λ: its share of the sum with it is 1/(1 + exp(−λ)).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Array, Float32Array, Float64Array
from protoleak.bundle.class_statistics import ClassStatistics, FeatureArray
from protoleak.bundle.enrolment import Additions, ScoreConstants
from protoleak.latent_statistics import second_order_statistics

FloatArray = npt.NDArray[np.floating]


def prototype_distances(prototypes: Float64Array, embedding: FloatArray, gate: FloatArray) -> Float64Array:
    """Σ_j g_j (h_j − p_mj)²: float64 [n, M] of prototypes [M, D], embeddings and gates [n, D]."""
    points, weights = embedding.astype(np.float64), gate.astype(np.float64)
    columns = [(weights * np.square(points - prototype)).sum(axis=1) for prototype in prototypes]
    return np.stack(columns, axis=1)


def sum_of_scores(scores: FloatArray, log_density: FloatArray, constants: ScoreConstants) -> Float64Array:
    """E of the classes so far, auxiliary ones included: float64 [n] of the named ones' scores [n, K] and L [n]."""
    best = scores.astype(np.float64).max(axis=1)
    return np.asarray(best + np.minimum(best - constants.floor, 0.0) - log_density.astype(np.float64))


def extended_log_density(
    scores: FloatArray, log_density: FloatArray, new_score: FloatArray, constants: ScoreConstants
) -> Float64Array:
    """The log densities once a class of these scores is named too.

    What the new class adds is computed as a difference, so that an image far from it keeps its log density to the last
    digit.

    Args:
        scores: [n, K], of the classes that are named so far.
        log_density: [n], with those.
        new_score: [n].
    """
    best, new = scores.astype(np.float64).max(axis=1), new_score.astype(np.float64)
    lacking = np.minimum(best - constants.floor, 0.0)
    every_class = sum_of_scores(scores, log_density, constants)
    best_now = np.maximum(best, new)
    gained = (best_now - best) + (np.minimum(best_now - constants.floor, 0.0) - lacking)
    return np.asarray(log_density.astype(np.float64) + gained - np.logaddexp(0.0, new - every_class))


def extended_outputs(outputs: dict[str, Array], features: FeatureArray, additions: Additions) -> dict[str, Array]:
    """The attributor's outputs with the enrolled generators behind the others, in the types that the graph gives.

    Args:
        features: int8 [n, J], see `features_of`.
    """
    embedding, gate = outputs["embedding"], outputs["gate"]
    scores, density, distances = outputs["class_score"], outputs["log_density"], outputs["prototype_distance"]
    named, log_density, found = scores.astype(np.float64), density.astype(np.float64), []
    for prototypes, discriminant, offset in zip(
        additions.prototypes, additions.discriminants, additions.offsets, strict=True
    ):
        log_odds = discriminant.log_odds(features) + offset
        score = sum_of_scores(named, log_density, additions.constants) + log_odds
        log_density = extended_log_density(named, log_density, score, additions.constants)
        named = np.column_stack([named, score])
        found.append(prototype_distances(prototypes, embedding, gate))
    return outputs | {
        "class_score": named.astype(scores.dtype),
        "log_density": log_density.astype(density.dtype),
        "prototype_distance": np.concatenate([distances, np.stack(found, axis=1).astype(distances.dtype)], axis=1),
    }


def features_of(z0: Float32Array, embedding: FloatArray, statistics: ClassStatistics) -> FeatureArray:
    """int8 [n, J] of latents float32 [n·L, C, h, w] and embeddings [n, D]."""
    return statistics.features(second_order_statistics(z0, len(z0) // len(embedding)), embedding)
