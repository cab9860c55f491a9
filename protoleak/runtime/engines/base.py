"""The seam between a verdict and what computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np

from protoleak.arrays import Array
from protoleak.bundle.graph_check import differences
from protoleak.bundle.onnx_model import Declared
from protoleak.choices import Arithmetic
from protoleak.errors import EngineError
from protoleak.runtime.engines.time_limit import Watched, time_limit

ONE_BY_ONE = "one image at a time"
RUN_SECONDS = 60.0  # for one image; graphs in a bundle take 1e12 multiply-adds at most, which is far less
TOGETHER = "together; rows of other batches may differ by float rounding"


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
        settings: what else bears on the numbers: how a batch is run, the precision allowed, the plan's hash.
        compute: "exact" in the types of the variant's graph, or the arithmetic that the engine may use in their place.
    """

    name: str
    device: str
    versions: dict[str, str]
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    compute: Arithmetic = "exact"


class Engine(Protocol):
    """One graph, loaded. The first axis of every tensor is the batch."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The graph's outputs by name, all finite.

        A row depends on no other row of the batch, to the last bit, where `describe().settings["batch"]` is ONE_BY_ONE;
        elsewhere up to float rounding.

        Raises:
            EngineError: the run failed or gave NaN or infinite values; the message names the stage.
        """
        ...

    def describe(self) -> EngineDescription: ...

    def close(self) -> None:
        """Gives memory and threads back. May be called more than once; nothing can be run afterwards."""
        ...


def run_one_by_one(
    run: Callable[[dict[str, Array]], list[Array]], graph: Graph, feeds: Mapping[str, Array]
) -> dict[str, Array]:
    """Runs each image of a batch by itself and puts the rows together; see docs/decisions/0001-one-image-at-a-time.md.

    Args:
        run: one image's feeds → the outputs in the order of `graph.outputs`, first axis 1, in memory that stays.

    Raises:
        EngineError: an output is not finite, or `run` raised it.
    """
    count = len(next(iter(feeds.values())))
    if count == 1:
        outputs = dict(zip(graph.outputs, run(dict(feeds)), strict=True))
    else:
        rows = [run({name: values[index : index + 1] for name, values in feeds.items()}) for index in range(count)]
        columns = zip(*rows, strict=True)
        outputs = {name: np.concatenate(parts) for name, parts in zip(graph.outputs, columns, strict=True)}
    check_finite(graph.stage, outputs)
    return outputs


def check_outputs(graph: Graph, found: set[str]) -> None:
    """Raises EngineError naming the outputs that the graph lacks."""
    missing = sorted(set(graph.outputs) - found)
    if missing:
        raise EngineError(f"the {graph.stage} has no output {', '.join(missing)}: export the bundle again")


def check_finite(stage: str, outputs: Mapping[str, Array]) -> None:
    """Raises EngineError naming the stage when an output holds NaN or infinite values: they can be no evidence."""
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            raise not_finite(stage, name, values.size - int(np.isfinite(values).sum()), values.size)


def not_finite(stage: str, name: str, broken: int, size: int) -> EngineError:
    """The error for values that can be no evidence."""
    return EngineError(
        f"the {stage} gave {broken} of {size} values of {name!r} as NaN or infinite: no verdict; "
        "try the fp32 variant, or export the bundle again"
    )


def check_same_graph(graph: Graph, library: str, inputs: Iterable[Declared], outputs: Iterable[Declared]) -> None:
    """Compares what an engine reports of a graph that it opened with what the check of the bundle read in the file.

    Args:
        library: the engine, for the message.
        inputs, outputs: names, element types and shapes as it reports them.

    Raises:
        EngineError: they differ, so the engine doesn't run the graph that was checked.
    """
    if found := differences(graph.model, inputs, outputs):
        raise EngineError(
            f"{library} sees another {graph.stage} than was checked: {'; '.join(found)}: no verdict; export the bundle "
            "again"
        )


def too_slow(graph: Graph, library: str) -> EngineError:
    """The error for a run that was stopped."""
    return EngineError(
        f"the {graph.stage} took longer than {RUN_SECONDS:g} s for one image in {library} and was stopped: give it "
        "more processors, or take another bundle or variant"
    )


def after_time_limit(stop: Callable[[], None]) -> AbstractContextManager[Watched]:
    """Calls `stop` from another thread when what is inside takes longer than RUN_SECONDS, and says so first."""
    return time_limit(RUN_SECONDS, stop)
