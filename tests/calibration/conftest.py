from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest


@dataclass(frozen=True)
class Embedded:
    """Embeddings and gates float32 [N, D] with labels int64 [N]."""

    embedding: npt.NDArray[np.float32]
    gate: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def make_embedded(seed: int, per_class: int, classes: int = 3, dimensions: int = 8, spread: float = 0.3) -> Embedded:
    """Gaussian classes about fixed means, on a large common part as trained encoders have."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(0).normal(size=(classes, dimensions)) + 3.0
    scales = np.geomspace(0.2, 3.0, dimensions) * spread
    labels = np.repeat(np.arange(classes), per_class)
    embedding = means[labels] + rng.normal(size=(len(labels), dimensions)) * scales
    gate = 0.5 + 0.1 * rng.random(size=embedding.shape)
    return Embedded(embedding.astype(np.float32), gate.astype(np.float32), labels)


@pytest.fixture(scope="session")
def train() -> Embedded:
    return make_embedded(1, 60)


@pytest.fixture(scope="session")
def validation() -> Embedded:
    return make_embedded(2, 20)


@pytest.fixture(scope="session")
def reference(shared: Path) -> dict[str, npt.NDArray[np.generic]]:
    """What the published code computed, read once."""
    with np.load(shared / "reference" / "conv-multistep" / "expected.npz") as file:
        return {name: file[name] for name in file.files}
