"""What the open-set density of one image costs, on one thread, and how exact it is, for several forms of the graph.

The exported density alone, with 10,000 training images of 128 features in classes that lie `--apart` bandwidths from
one another: the differences with every reference, as small bundles have them, and the products within clusters that
`protoleak export` takes for many references. Each is compared with the sum in float64.

    python benchmarks/density.py --json benchmarks/results/density.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from protoleak.arrays import Float32Array, Float64Array
from protoleak.calibration.kernel import log_kernel_density
from protoleak.environment.machine import describe_machine
from protoleak.export.density_module import KernelLogDensity, kernel_log_density_module
from protoleak.files import write_whole
from protoleak.runtime.engines import Engine, Graph, open_engine
from protoleak.strict_json import json_bytes

TARGET_MILLISECONDS = 0.2
FEATURES, CLASSES, IMAGES = 128, 10, 64
TURN = 20


def data(references: int, apart: float) -> tuple[Float64Array, Float32Array]:
    """References float64 [R, D] with a bandwidth of 1, and images float32 [N, D]: half of them like the references."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((CLASSES, FEATURES)) * apart / np.sqrt(2 * FEATURES)

    def drawn(count: int) -> Float64Array:
        return np.asarray(centres[random.integers(CLASSES, size=count)] + random.standard_normal((count, FEATURES)))

    near, far = drawn(IMAGES // 2), 2 * apart * random.standard_normal((IMAGES // 2, FEATURES)) / np.sqrt(FEATURES)
    return drawn(references), np.concatenate([near, far]).astype(np.float32)


def graph_of(module: torch.nn.Module) -> Graph:
    """The module as `protoleak export` writes it."""
    program = torch.onnx.export(
        module.eval(),
        (torch.zeros(3, FEATURES),),
        dynamo=True,
        opset_version=20,
        input_names=["x"],
        output_names=["log_density"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    return Graph("density", program.model_proto.SerializeToString(), ("log_density",))


def milliseconds(engines: list[Engine], image: Float32Array, rounds: int) -> list[list[float]]:
    """Of single runs; the engines in turns of TURN runs, of which the first, which fetches the references, is left out:
    they are 5 MB, and those of another engine drive them out of the processor's cache."""
    spent: list[list[float]] = [[] for _ in engines]
    for number in range(rounds * len(engines)):
        own, engine = spent[number // TURN % len(engines)], engines[number // TURN % len(engines)]
        started = time.perf_counter()
        engine.run({"x": image})
        if number % TURN:
            own.append(1000 * (time.perf_counter() - started))
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--references", type=int, default=10_000)
    parser.add_argument("--apart", type=float, default=200.0, help="distance between classes, in bandwidths")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--engines", default="onnxruntime,openvino")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    references, images = data(options.references, options.apart)
    exact = log_kernel_density(images.astype(np.float64), references, 1.0)
    forms = {"differences": KernelLogDensity(references, 1.0), "clusters": kernel_log_density_module(references, 1.0)}
    graphs = {name: graph_of(module) for name, module in forms.items()}
    rows = []
    for engine in options.engines.split(","):
        opened = [open_engine(engine, graph, threads=1) for graph in graphs.values()]
        for name, ready, spent in zip(graphs, opened, milliseconds(opened, images[:1], options.rounds), strict=True):
            found = ready.run({"x": images})["log_density"].ravel()
            error = np.abs(found - exact)
            row = {
                "engine": engine,
                "form": name,
                "minimum_ms": min(spent),
                "median_ms": statistics.median(spent),
                "largest_error_of_known_nats": float(error[: IMAGES // 2].max()),
                "largest_relative_error": float((error / np.abs(exact)).max()),
            }
            rows.append(row)
            print(
                f"{engine:<12} {name:<12} minimum {row['minimum_ms']:.3f} ms, median {row['median_ms']:.3f} ms; error "
                f"of known images ≤ {row['largest_error_of_known_nats']:.1e} nats, of all ≤ "
                f"{row['largest_relative_error']:.1e} of the value"
            )
    result = {
        "references": options.references,
        "features": FEATURES,
        "apart_bandwidths": options.apart,
        "threads": 1,
        "target_ms": TARGET_MILLISECONDS,
        "rows": rows,
        "machine": describe_machine(),
    }
    if options.json:
        write_whole(options.json, [json_bytes(result)])


if __name__ == "__main__":
    main()
