"""How much of what this processor multiplies at all the latent encoders reach, in float32, bfloat16 and int8.

The limit is a chain of products of large square matrices in OpenVINO, with the same threads; the encoders are the
default bundle's and, with --sd21, one of Stable Diffusion 2.1's size with random weights.

    python benchmarks/processor_limit.py --sd21 --json benchmarks/results/processor_limit.json
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

from benchmarks.matrix_products import CHAIN, operations, products
from protoleak.bundle.bundle import Bundle
from protoleak.choices import Arithmetic
from protoleak.environment.machine import describe_machine
from protoleak.errors import ProtoleakError
from protoleak.files import write_whole
from protoleak.runtime.engines import EngineOptions, Graph, open_engine
from protoleak.strict_json import json_bytes

SHAPES = ((256, 2048), (1024, 1024), (2048, 2048))  # rows and side of the products; the best one is the limit
RUNS = 5
# What multiplies, in the graph and by leave of the engine.
KINDS: dict[str, tuple[str, Arithmetic]] = {
    "fp32": ("fp32", "exact"),
    "bf16": ("fp32", "bf16"),
    "int8": ("int8", "exact"),
    "int8 in bf16": ("int8", "bf16"),
}


class Reached(msgspec.Struct, frozen=True):
    """One encoder in one arithmetic.

    Attributes:
        encoder: whose.
        kind: a key of KINDS.
        milliseconds: of a face in all looks, the best of some runs.
        gflops: 10⁹ operations a second, two for each multiply-add.
        limit: what the product of matrices reached.
        share: of the limit.
    """

    encoder: str
    kind: str
    milliseconds: float
    gflops: float
    limit: float
    share: float


def limit(kind: str, threads: int) -> float:
    """10⁹ operations a second of a chain of matrix products. Raises ProtoleakError where the engine cannot."""
    precision, compute = KINDS[kind]
    found = 0.0
    for rows, side in SHAPES:
        # [1, rows, side]: an engine of the processor runs a batch row by row.
        graph = Graph("product of matrices", products(precision, side, rows), ("y",))
        engine = open_engine("openvino", graph, threads=threads, options=EngineOptions(compute=compute))
        x = np.random.default_rng(2).standard_normal((1, rows, side)).astype(np.float32)
        found = max(found, 2 * CHAIN * rows * side**2 / fastest(partial(engine.run, {"x": x})) / 1e9)
        engine.close()
    return found


def fastest(work: Callable[[], object]) -> float:
    """Seconds of the best of some runs, after one that warms up."""
    spent = []
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return min(spent[1:])


def reached(name: str, bundle: Bundle, limits: dict[str, float], threads: int) -> Iterator[Reached]:
    """A row for each arithmetic that the bundle has a variant for."""
    preprocessing = bundle.manifest.preprocessing
    side, looks = preprocessing.image_size, len(preprocessing.looks)
    images = np.random.default_rng(3).integers(0, 256, (looks, side, side, 3), dtype=np.uint8)
    work = operations(bundle)["latent_encoder"]
    for kind, most in limits.items():
        precision, compute = KINDS[kind]
        if precision not in bundle.manifest.variants:
            continue
        graph = Graph("latent encoder", bundle.variant(precision).latent_encoder, ("z0",))
        engine = open_engine("openvino", graph, threads=threads, options=EngineOptions(compute=compute))
        seconds = fastest(partial(engine.run, {"image": images}))
        engine.close()
        gflops = work / seconds / 1e9
        yield Reached(name, kind, 1000 * seconds, gflops, most, gflops / most)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sd21", action="store_true", help="also an encoder of Stable Diffusion 2.1's size: minutes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    limits: dict[str, float] = {}
    for kind in KINDS:
        try:
            limits[kind] = limit(kind, options.threads)
        except ProtoleakError as error:
            print(f"{kind}: not measured, because {error}", file=sys.stderr)
    rows = list(reached("default bundle", Bundle.load(), limits, options.threads))
    if options.sd21:
        from benchmarks.engines import Size, random_bundle, random_model
        from protoleak.model.checkpoint import load_model

        with tempfile.TemporaryDirectory() as folder:
            model = load_model(random_model(Path(folder), Size()))
            large = Bundle.load(random_bundle(Path(folder), model))
            rows += reached("Stable Diffusion 2.1's size", large, limits, options.threads)
    table = Table("encoder", "arithmetic", "ms", "GFLOP/s", "limit", "share", box=None)
    for row in rows:
        share = f"{row.share:.0%}"
        table.add_row(row.encoder, row.kind, f"{row.milliseconds:.1f}", f"{row.gflops:.0f}", f"{row.limit:.0f}", share)
    Console(highlight=False, width=120).print(table)
    machine = describe_machine()
    print(f"{machine.processor}, {options.threads} threads")
    if options.json:
        write_whole(options.json, [json_bytes({"machine": machine, "limits": limits, "rows": rows})])
    return 0


if __name__ == "__main__":
    sys.exit(main())
