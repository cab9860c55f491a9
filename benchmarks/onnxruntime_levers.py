"""What each option of ONNX Runtime is worth on a bundle's graphs, beside OpenVINO, in alternating runs.

A face goes through both graphs as in the runtime: some work in Python, the latent encoder for every look, the
attributor. Every lever has sessions of its own, opened for a few faces and closed again, since threads that spin would
take time from the next; the levers take turns, and each is compared with OpenVINO in the same turn.

    python benchmarks/onnxruntime_levers.py --json benchmarks/results/onnxruntime_levers.json

On two cores of a busy machine only the ratios mean something.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import msgspec
import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table

from protoleak.arrays import Array
from protoleak.bundle.bundle import DEFAULT_BUNDLE, Bundle, Variant
from protoleak.environment.machine import describe_machine
from protoleak.files import write_whole
from protoleak.runtime.engines import open_engine
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS, Graphs
from protoleak.strict_json import json_bytes

OPENVINO = "OpenVINO"
FACES = 5  # through every lever in each round; the first warms up
PYTHON_MS = 8.0  # what decoding and framing take of one core between two faces
PROVIDERS = ["CPUExecutionProvider"]
LEVELS = onnxruntime.GraphOptimizationLevel


class Engines(Protocol):
    """Both graphs, open."""

    def encode(self, looks: Sequence[Array]) -> None: ...

    def attribute(self, feed: Mapping[str, Array]) -> None: ...


@dataclass(frozen=True)
class Lever:
    """One way to open and run sessions.

    Attributes:
        entries: session configuration.
        attributes: of SessionOptions.
        attributor_threads: of the attributor's session, where it is another than the encoder's.
        together: all looks in one run.
        fixed_batch: the graph is opened for a batch of one.
        spread: that many sessions of one thread each, which share the looks.
    """

    name: str
    entries: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    attributor_threads: int | None = None
    together: bool = False
    fixed_batch: bool = False
    spread: int = 0


STOP = {"session.force_spinning_stop": "1"}
LEVERS = (
    Lever("as it comes: threads spin on after a run"),
    Lever("spinning ends with the run", STOP),
    Lever("threads never spin", {"session.intra_op.allow_spinning": "0"}),
    Lever("one thread", attributes={"intra_op_num_threads": 1}),
    Lever("ends with the run, attributor on one thread", STOP, attributor_threads=1),
    Lever("ends with the run, batch fixed at 1", STOP, fixed_batch=True),
    Lever("ends with the run, no arena", STOP, {"enable_cpu_mem_arena": False}),
    Lever("ends with the run, no memory pattern", STOP, {"enable_mem_pattern": False}),
    Lever("ends with the run, blocks of work halved", STOP | {"session.dynamic_block_base": "4"}),
    Lever("ends with the run, no NCHWc layout", STOP, {"graph_optimization_level": LEVELS.ORT_ENABLE_EXTENDED}),
    Lever("ends with the run, looks together", STOP, together=True),
    Lever("a session of one thread per core, looks spread", spread=2),
)


class OnnxRuntime:
    """Sessions of one lever."""

    def __init__(self, lever: Lever, variant: Variant) -> None:
        self._lever = lever
        threads = {"intra_op_num_threads": 1} if lever.spread else {}
        self._encoders = [_session(variant.latent_encoder, lever, threads) for _ in range(lever.spread or 1)]
        threads = {"intra_op_num_threads": lever.attributor_threads} if lever.attributor_threads else threads
        self._attributor = _session(variant.attributor, lever, threads)
        self._pool = ThreadPoolExecutor(lever.spread) if lever.spread else None

    def encode(self, looks: Sequence[Array]) -> None:
        if self._lever.together:
            self._encoders[0].run(["z0"], {"image": np.concatenate(looks)})
        elif self._pool is None:
            for look in looks:
                self._encoders[0].run(["z0"], {"image": look})
        else:
            parts = [looks[index :: len(self._encoders)] for index in range(len(self._encoders))]
            list(self._pool.map(_encode_all, self._encoders, parts))

    def attribute(self, feed: Mapping[str, Array]) -> None:
        self._attributor.run(list(ATTRIBUTOR_OUTPUTS), dict(feed))


class OpenVino:
    """The bundle's graphs in the engine of the runtime."""

    def __init__(self, variant: Variant) -> None:
        graphs = Graphs.of_variant(variant)
        self._encoder, self._attributor = (
            open_engine("openvino", graph) for graph in (graphs.latent_encoder, graphs.attributor)
        )

    def encode(self, looks: Sequence[Array]) -> None:
        for look in looks:
            self._encoder.run({"image": look})

    def attribute(self, feed: Mapping[str, Array]) -> None:
        self._attributor.run(feed)


class Row(msgspec.Struct, frozen=True):
    """A lever's times for one face.

    Attributes:
        encoder, attributor: the least milliseconds, and `whole` the median of both together.
        ratio: median over the rounds of its median over OpenVINO's in the same round.
    """

    lever: str
    encoder: float
    attributor: float
    whole: float
    ratio: float


def _session(model: bytes, lever: Lever, threads: Mapping[str, int]) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    for name, value in lever.entries.items():
        options.add_session_config_entry(name, value)
    for name, value in (dict(lever.attributes) | dict(threads)).items():
        setattr(options, name, value)
    if lever.fixed_batch:
        options.add_free_dimension_override_by_name("batch", 1)
    return onnxruntime.InferenceSession(model, options, providers=PROVIDERS)


def _encode_all(session: Any, looks: Sequence[Array]) -> None:
    for look in looks:
        session.run(["z0"], {"image": look})


def measured(bundle: Bundle, variant: str, rounds: int, levers: Sequence[Lever]) -> list[Row]:
    manifest, chosen = bundle.manifest, bundle.variant(variant)
    random = np.random.default_rng(0)
    side = manifest.preprocessing.image_size
    looks = [random.integers(0, 256, (1, side, side, 3), dtype=np.uint8) for _ in manifest.preprocessing.looks]
    given = random.standard_normal((1, *manifest.attributor_input_shape)).astype(np.float32)
    feed: dict[str, Array] = {manifest.attributor_input: given}
    opened: dict[str, Callable[[], Engines]] = {OPENVINO: lambda: OpenVino(chosen)}
    opened |= {lever.name: lambda lever=lever: OnnxRuntime(lever, chosen) for lever in levers}  # type: ignore[misc]
    times: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in opened}
    for _ in range(rounds):
        for name, make in opened.items():
            engines = make()
            times[name].append([_face(engines, looks, feed) for _ in range(FACES)][1:])
            del engines
            gc.collect()
    return [_row(name, times[name], times[OPENVINO]) for name in opened]


def _face(engines: Engines, looks: Sequence[Array], feed: Mapping[str, Array]) -> tuple[float, float]:
    """Milliseconds in each graph."""
    busy = time.perf_counter() + PYTHON_MS / 1000
    while time.perf_counter() < busy:
        sum(range(100))
    started = time.perf_counter()
    engines.encode(looks)
    encoded = time.perf_counter()
    engines.attribute(feed)
    return 1000 * (encoded - started), 1000 * (time.perf_counter() - encoded)


def _row(name: str, mine: list[list[tuple[float, float]]], base: list[list[tuple[float, float]]]) -> Row:
    flat = [one for turn in mine for one in turn]
    ratios = [median(map(sum, ours)) / median(map(sum, theirs)) for ours, theirs in zip(mine, base, strict=True)]
    encoder, attributor = (round(min(part), 2) for part in zip(*flat, strict=True))
    return Row(name, encoder, attributor, round(median(map(sum, flat)), 2), round(median(ratios), 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--variant", default="fp32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--levers", type=int, nargs="*", help="which of them, counted from 0; all if left out")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    levers = LEVERS if not options.levers else [LEVERS[index] for index in options.levers]
    rows = measured(Bundle.load(options.bundle), options.variant, options.rounds, levers)
    table = Table("lever", "encoder, least ms", "attributor, least ms", "both, median ms", "× OpenVINO", box=None)
    for row in rows:
        table.add_row(row.lever, *(f"{value:.2f}" for value in (row.encoder, row.attributor, row.whole, row.ratio)))
    Console(width=130).print(table)
    if options.json:
        record = {"machine": describe_machine(), "rounds": options.rounds, "rows": rows}
        write_whole(options.json, [json_bytes(record)])


if __name__ == "__main__":
    main()
