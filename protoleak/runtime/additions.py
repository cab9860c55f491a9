"""Enrolled generators: class scores and log density that are computed beside the graph, from what the graph gives.

The graph of a bundle with the head `prototype` and the density `posterior` computes, from embedding h and gate g,

    s_k = τ log Σ_m exp(−Σ_j g_j (h_j − p_kmj)² / τ)         of each class k, named or auxiliary
    L   = b − log Σ_k exp(s_k) + min(b − floor, 0)            b the greatest s_k among the named classes

A further named class needs its own s alone. The sum over all classes follows from L, so that the auxiliary prototypes,
which are in the graph only, are not needed: log Σ_k exp(s_k) = b + min(b − floor, 0) − L.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Array, Float64Array
from protoleak.bundle.enrolment import Additions, ScoreConstants

FloatArray = npt.NDArray[np.floating]


def prototype_distances(prototypes: Float64Array, embedding: FloatArray, gate: FloatArray) -> Float64Array:
    """Σ_j g_j (h_j − p_mj)²: float64 [n, M] of prototypes [M, D], embeddings and gates [n, D]."""
    points, weights = embedding.astype(np.float64), gate.astype(np.float64)
    columns = [(weights * np.square(points - prototype)).sum(axis=1) for prototype in prototypes]
    return np.stack(columns, axis=1)


def class_score(distances: Float64Array, temperature: float) -> Float64Array:
    """τ log Σ_m exp(−d_m/τ): float64 [n] of distances [n, M]."""
    return np.asarray(temperature * np.logaddexp.reduce(-distances / temperature, axis=1))


def extended_log_density(
    scores: FloatArray, log_density: FloatArray, new_score: FloatArray, constants: ScoreConstants
) -> Float64Array:
    """The log densities once a class of these scores is named too.

    What the new class adds is computed as a difference, so that a picture far from it keeps its log density to the last
    digit.

    Args:
        scores: [n, K], of the classes that are named so far.
        log_density: [n], with those.
        new_score: [n].
    """
    best, new = scores.astype(np.float64).max(axis=1), new_score.astype(np.float64)
    lacking = np.minimum(best - constants.floor, 0.0)
    every_class = best + lacking - log_density.astype(np.float64)
    best_now = np.maximum(best, new)
    gained = (best_now - best) + (np.minimum(best_now - constants.floor, 0.0) - lacking)
    return np.asarray(log_density.astype(np.float64) + gained - np.logaddexp(0.0, new - every_class))


def extended_outputs(outputs: dict[str, Array], additions: Additions) -> dict[str, Array]:
    """The attributor's outputs with the enrolled generators behind the others, in the types that the graph gives."""
    embedding, gate = outputs["embedding"], outputs["gate"]
    scores, density, distances = outputs["class_score"], outputs["log_density"], outputs["prototype_distance"]
    named, log_density, found = scores.astype(np.float64), density.astype(np.float64), []
    for prototypes, offset in zip(additions.prototypes, additions.offsets, strict=True):
        distance = prototype_distances(prototypes, embedding, gate)
        score = class_score(distance, additions.constants.temperature) + offset
        log_density = extended_log_density(named, log_density, score, additions.constants)
        named = np.column_stack([named, score])
        found.append(distance)
    return outputs | {
        "class_score": named.astype(scores.dtype),
        "log_density": log_density.astype(density.dtype),
        "prototype_distance": np.concatenate([distances, np.stack(found, axis=1).astype(distances.dtype)], axis=1),
    }
