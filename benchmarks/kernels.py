"""How much of the GPU's memory bandwidth the kernels reach, beside a copy from device memory to device memory.

Bytes counted are those that must move: each input read once and the result written once. A copy moves each byte twice.

    python benchmarks/kernels.py --batch-sizes 1,4,16 --json benchmarks/results/kernels.json
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from protoleak.diffusion import NoiseSchedule, noise_bank
from protoleak.environment.versions import source_commit
from protoleak.errors import ProtoleakError
from protoleak.runtime.cuda.crops import BgrFrame, CudaCrops
from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.cuda.library import nvrtc_version
from protoleak.runtime.cuda.noising import CudaNoising
from protoleak.runtime.noising import Noising

TIMESTEPS = (0, 100, 300, 500, 700)
COMPONENTS = 8
SIZE = 256
FRAME = (1080, 1920, 3)
FACE = 400  # pixels: side of each box
REPEATS = 200
RUNS = 5


class Row(NamedTuple):
    work: str
    batch_size: int
    milliseconds: float
    megabytes: float
    gigabytes_per_second: float
    of_copy: float


def noising_of(channels: int) -> Noising:
    """The default recipe's noising for latents [channels, 32, 32]."""
    noise = noise_bank(0, TIMESTEPS, (channels, 32, 32))
    return Noising.build(noise, NoiseSchedule().coefficients(TIMESTEPS), COMPONENTS)


def measured(worker: CudaWorker, work: Any) -> float:
    """The best of some runs, in milliseconds per call: what the memory allows, not what else the GPU did."""
    return min(worker.timed(work, REPEATS) for _ in range(RUNS))


def copy_milliseconds(worker: CudaWorker, size: int) -> float:
    """A copy of `size` bytes on the device, so that it moves as many bytes as a kernel of 2·size."""
    source, target = (worker.buffer(name, (size,), np.uint8).owner for name in ("copy from", "copy to"))
    return measured(worker, lambda: target.copy_from(source, stream=worker.stream))  # type: ignore[attr-defined]


def rows(worker: CudaWorker, batch_sizes: list[int]) -> Iterator[Row]:
    for batch_size in batch_sizes:
        for channels in (4, 32):
            for written in (np.float32, np.float16):
                noising = CudaNoising(worker, noising_of(channels))
                z0 = worker.buffer("z0", (batch_size, channels, 32, 32), np.float32)
                worker.write(z0, np.zeros(z0.shape, np.float32))
                z_t = noising.output(batch_size, written)
                constants = 4 * len(TIMESTEPS) * 2 * channels * 32 * 32
                name = f"noising {channels}×32×32 → {np.dtype(written).name}"
                milliseconds = measured(worker, lambda n=noising, a=z0, b=z_t: n.enqueue(a, b))
                yield row(worker, name, batch_size, milliseconds, z0.bytes + constants + z_t.bytes)
        crops = CudaCrops(worker, SIZE)
        frame = worker.buffer("frame", FRAME, np.uint8)
        worker.write(frame, np.zeros(FRAME, np.uint8))
        boxes = crops.upload_boxes([(40 * i, 20 * i, 40 * i + FACE, 20 * i + FACE) for i in range(batch_size)])
        image = crops.output(batch_size)
        milliseconds = measured(worker, lambda c=crops, f=frame, b=boxes, i=image: c.enqueue(BgrFrame(f), b, i))
        yield row(worker, f"crops {FACE}² → {SIZE}²", batch_size, milliseconds, batch_size * 3 * FACE**2 + image.bytes)


def row(worker: CudaWorker, work: str, batch_size: int, milliseconds: float, moved: int) -> Row:
    copy = copy_milliseconds(worker, max(moved // 2, 1))
    return Row(work, batch_size, milliseconds, moved / 1e6, moved / milliseconds / 1e6, copy / milliseconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", default="1,4,16,64", help="separated by commas")
    parser.add_argument("--device", type=int, default=0, help="CUDA device ordinal")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    arguments = parser.parse_args()
    try:
        worker = CudaWorker(arguments.device)
    except ProtoleakError as error:
        print(f"this benchmark needs a GPU, and nothing was measured: {error}", file=sys.stderr)
        return 2
    with worker:
        results = list(rows(worker, [int(size) for size in arguments.batch_sizes.split(",")]))
        machine = {"gpu": worker.name, "architecture": worker.architecture, "system": platform.platform()}
    table = Table(title=f"{machine['gpu']} ({machine['architecture']})")
    for heading in ("work", "batch", "µs", "MB moved", "GB/s", "of a copy's speed"):
        table.add_column(heading, justify="left" if heading == "work" else "right")
    for result in results:
        numbers = f"{1e3 * result.milliseconds:.1f}", f"{result.megabytes:.2f}", f"{result.gigabytes_per_second:.0f}"
        table.add_row(result.work, str(result.batch_size), *numbers, f"{result.of_copy:.0%}")
    Console().print(table)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        versions = {"nvrtc": ".".join(map(str, nvrtc_version()))}
        content = {
            "machine": machine,
            "versions": versions,
            "commit": source_commit() or "unknown",
            "rows": [r._asdict() for r in results],
        }
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
