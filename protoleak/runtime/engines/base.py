"""The seam between a verdict and what computes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from protoleak.errors import EngineError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Graph:
    """One ONNX graph of a bundle.

    Attributes:
        stage: "latent encoder" or "attributor": what error messages call it.
        model: the serialised ONNX model, already checked by `Bundle.load`.
        outputs: the names of the tensors wanted.
    """

    stage: str
    model: bytes
    outputs: tuple[str, ...]


class EngineDescription(msgspec.Struct, frozen=True):
    """What executed a graph, for the record in a verdict.

    Attributes:
        name: one of `engines.ENGINES`.
        device: what it really runs on, in the engine's own words.
        versions: of each library that had a part in the numbers.
    """

    name: str
    device: str
    versions: dict[str, str]


class Engine(Protocol):
    """One graph, loaded. The first axis of every tensor is the batch."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The graph's outputs by name, all finite; a row depends on no other row of the batch, to the last bit.

        Raises:
            EngineError: the run failed or gave NaN or infinite values; the message names the stage.
        """
        ...

    def describe(self) -> EngineDescription: ...


def check_finite(stage: str, outputs: Mapping[str, Array]) -> None:
    """Raises EngineError naming the stage when an output holds NaN or infinite values: they can be no evidence."""
    for name, values in outputs.items():
        broken = values.size - int(np.isfinite(values).sum())
        if broken:
            raise EngineError(
                f"the {stage} gave {broken} of {values.size} values of {name!r} as NaN or infinite: no verdict; "
                "try the fp32 variant, or export the bundle again"
            )
