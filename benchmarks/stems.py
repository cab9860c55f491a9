"""What it is worth to take the attribution network's first operation above the noise, per backbone.

Random weights; both graphs compute the same. Times are of one face on one thread, the graphs and engines taking turns.

    taskset -c 1 python benchmarks/stems.py --json benchmarks/results/stems.json
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from protoleak.arrays import Float32Array
from protoleak.calibration.density import DensityModel
from protoleak.calibration.heads import PrototypeHead
from protoleak.choices import BackboneKind
from protoleak.diffusion import NoiseSchedule, noise_bank
from protoleak.environment.machine import describe_machine
from protoleak.export.density_module import DensityModule
from protoleak.export.graphs import DeployedAttributor, above_noise, export_attributor
from protoleak.export.head_modules import HeadModule
from protoleak.files import write_whole
from protoleak.model.attributor import Attributor, AttributorConfig
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines import Graph, open_engine
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS
from protoleak.runtime.noising import Noising
from protoleak.strict_json import json_bytes

EMBEDDING, GENERATORS, PER_GENERATOR = 128, 10, 6
ENGINES: dict[str, tuple[str, EngineOptions]] = {
    "onnxruntime": ("onnxruntime", EngineOptions()),
    "openvino": ("openvino", EngineOptions()),
    "openvino bf16": ("openvino", EngineOptions(compute="bf16")),
}


class Case(NamedTuple):
    """A backbone as it is used: the published latents, or those of the default bundle's looks."""

    backbone: BackboneKind
    latent: tuple[int, int, int] = (4, 32, 32)
    looks: int = 1
    timesteps: tuple[int, ...] = (0, 100, 300, 500, 700)
    components: int | None = 8


CASES = (
    Case("second_order", (32, 32, 32), 3, (0, 100, 300), None),
    Case("conv"),
    Case("resnet18"),
    Case("resnet50"),
    Case("efficientnet_b4"),
)


class Row(msgspec.Struct, frozen=True):
    """One backbone in one engine.

    Attributes:
        megaflops: of convolutions and matrix products for a face, below and above the noise.
        noising: milliseconds of NumPy's noising, which only "below" needs.
        milliseconds: lower quartile of the graph's, below and above.
        ratio: median over the turns of above / below, noising not counted.
    """

    backbone: str
    engine: str
    megaflops: tuple[float, float]
    noising: float
    milliseconds: tuple[float, float]
    ratio: float


def measured(case: Case, turns: int) -> list[Row]:
    bank = noise_bank(0, case.timesteps, case.latent)
    noising = Noising.build(bank, NoiseSchedule().coefficients(case.timesteps), case.components)
    below = _network(case)
    above = above_noise(below, noising)
    z0 = np.random.default_rng(0).standard_normal((2 * case.looks, *case.latent)).astype(np.float32)

    def noised(values: Float32Array) -> Float32Array:
        z_t = noising(values)
        return z_t.reshape(-1, case.looks * len(case.timesteps), *z_t.shape[2:])

    given = {"z_t": noised(z0), "z0": z0.reshape(-1, case.looks, *case.latent)}
    graphs = {
        module.input_name: export_attributor(module, torch.from_numpy(given[module.input_name]))
        for module in (below, above)
    }
    flops = tuple(round(_flops(module, given[module.input_name][:1]) / 1e6, 1) for module in (below, above))
    spent_noising = min(_milliseconds(lambda: noised(z0[: case.looks])) for _ in range(20))
    rows = []
    for name, (engine, options) in ENGINES.items():
        runs = []
        for port, model in graphs.items():
            opened = open_engine(engine, Graph("attributor", model, ATTRIBUTOR_OUTPUTS), threads=1, options=options)
            feed: dict[str, Any] = {port: given[port][:1]}
            runs.append(lambda opened=opened, feed=feed: opened.run(feed))
        times = [[_milliseconds(run) for run in runs] for _ in range(turns + 3)][3:]
        quartiles = [round(quantiles(each, n=4)[0], 2) for each in zip(*times, strict=True)]
        ratio = median(ours / theirs for theirs, ours in times)
        rows.append(
            Row(case.backbone, name, (flops[0], flops[1]), round(spent_noising, 3), (quartiles[0], quartiles[1]), ratio)
        )
    return rows


def _network(case: Case) -> DeployedAttributor:
    torch.manual_seed(0)
    config = AttributorConfig(
        backbone=case.backbone,
        in_channels=case.latent[0] * (1 if case.components is None else 2),
        embedding_size=EMBEDDING,
        generators=GENERATORS,
        prototypes_per_generator=PER_GENERATOR,
        timesteps=case.looks * len(case.timesteps),
    )
    density = DensityModel("whitened", np.zeros(EMBEDDING), np.eye(EMBEDDING), np.eye(EMBEDDING), 1.0, 1.0)
    return DeployedAttributor(Attributor(config).eval(), HeadModule(PrototypeHead()), DensityModule(density)).eval()


def _flops(module: DeployedAttributor, given: Float32Array) -> int:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(torch.from_numpy(given))
    return int(counter.get_total_flops())


def _milliseconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for case in CASES for row in measured(case, options.turns)]
    table = Table("backbone", "engine", "MFLOP", "noising, ms", "below → above, ms", "ratio", box=None)
    for row in rows:
        flops, spent = (" → ".join(f"{value:g}" for value in pair) for pair in (row.megaflops, row.milliseconds))
        table.add_row(row.backbone, row.engine, flops, f"{row.noising:.2f}", spent, f"{row.ratio:.2f}")
    Console(width=120).print(table)
    if options.json:
        record = {"machine": describe_machine(), "turns": options.turns, "rows": rows}
        write_whole(options.json, [json_bytes(record)])


if __name__ == "__main__":
    main()
