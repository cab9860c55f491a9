"""ONNX Runtime on the CPU: the engine that needs no extra install."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from protoleak.errors import EngineError, EngineUnavailable
from protoleak.runtime.engines.base import Array, EngineDescription, Graph, check_finite

PROVIDER = "CPUExecutionProvider"
ERRORS_ONLY = 3


class OnnxRuntimeEngine:
    """Runs a graph image by image, whatever the batch.

    ONNX Runtime's CPU kernels don't promise that a row of a batch equals the same image alone, and it often doesn't:
    Log and Softplus use other code for the last elements of a tensor, sums over an outer axis run in another order, and
    convolutions of, say, 30 channels are split over threads in another way in a batch of one. The differences are
    about 1e-7, but a verdict is evidence and must not depend on its neighbours. A batch saves little here anyway, since
    one image keeps all threads busy; docs/decisions/0001-one-image-at-a-time.md has the numbers.
    """

    def __init__(self, graph: Graph, *, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineUnavailable(f"onnxruntime cannot be imported ({error}): pip install onnxruntime") from error
        if not hasattr(onnxruntime, "InferenceSession"):
            # onnxruntime and onnxruntime-gpu share a module; removing one of them leaves an empty shell of the other.
            raise EngineUnavailable(
                "onnxruntime is half overwritten: pip uninstall -y onnxruntime onnxruntime-gpu, then pip install "
                "onnxruntime"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.use_deterministic_compute = True
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(graph.model, options, providers=[PROVIDER])
        except Exception as error:  # its exception classes are private to the compiled module
            reason = str(error).strip().splitlines()[0]
            raise EngineError(
                f"ONNX Runtime {onnxruntime.__version__} cannot load the {graph.stage}: {reason}; upgrade onnxruntime "
                "or export the bundle again"
            ) from error
        providers = self._session.get_providers()
        if providers != [PROVIDER]:
            raise EngineUnavailable(f"ONNX Runtime gave {', '.join(providers)} where {PROVIDER} was asked for")
        missing = sorted(set(graph.outputs) - {output.name for output in self._session.get_outputs()})
        if missing:
            raise EngineError(f"the {graph.stage} has no output {', '.join(missing)}: export the bundle again")
        self._graph = graph
        self._versions = {"numpy": np.__version__, "onnxruntime": onnxruntime.__version__}

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See `Engine.run`."""
        graph = self._graph
        count = len(next(iter(feeds.values())))
        rows = []
        for index in range(count):
            one = {name: values[index : index + 1] for name, values in feeds.items()}
            try:
                rows.append(self._session.run(list(graph.outputs), one))
            except Exception as error:  # see __init__
                reason = str(error).strip().splitlines()[0]
                raise EngineError(f"the {graph.stage} failed in ONNX Runtime: {reason}") from error
        columns = zip(*rows, strict=True)
        outputs = {name: np.concatenate(parts) for name, parts in zip(graph.outputs, columns, strict=True)}
        check_finite(graph.stage, outputs)
        return outputs

    def describe(self) -> EngineDescription:
        return EngineDescription("onnxruntime", PROVIDER, dict(self._versions))
