"""Everything that a first run on a GPU has to show, in one command: an H100, an Orin, or whatever is here.

Parity with the processor in fp32, TF32, fp16 and int8; a CUDA graph against none; latency of batches; the kernels'
bandwidth beside a device copy; the share of what the GPU multiplies at all; memory over many runs; framing and video.
What cannot be measured is a row that says why. Exit status 0 where all that was measured is as it has to be, 1 where
something isn't, or broke, or there is no GPU.

    python benchmarks/gpu.py --json benchmarks/results/gpu.json
    python benchmarks/gpu.py --quick
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

from benchmarks.gpu_checks.bandwidth import bandwidth
from benchmarks.gpu_checks.framing import framing
from benchmarks.gpu_checks.latency import latency, stages
from benchmarks.gpu_checks.matrix_limit import matrix_limit
from benchmarks.gpu_checks.memory import memory
from benchmarks.gpu_checks.parity import graphs, parity
from benchmarks.gpu_checks.rows import Row, not_measured
from benchmarks.gpu_checks.setup import GPU_ENGINES, Settings, Setup
from benchmarks.gpu_checks.video import video
from protoleak.arrays import UInt8Array
from protoleak.bundle.bundle import Bundle
from protoleak.environment.machine import describe_machine
from protoleak.errors import ProtoleakError
from protoleak.files import write_whole
from protoleak.images.framing import Framing
from protoleak.runtime.engines.gpu import find_gpu
from protoleak.strict_json import json_bytes

ROOT = Path(__file__).resolve().parents[1]
Section = Callable[[Setup], Iterator[Row]]
SECTIONS: dict[str, Section] = {
    "parity": parity,
    "graphs": graphs,
    "bandwidth": bandwidth,
    "framing": framing,
    "latency": latency,
    "stages": stages,
    "limit": matrix_limit,
    "video": video,
    "memory": memory,  # takes longest: what comes before is on the screen by then
}
IMAGES, CLIP = ROOT / "examples" / "images", ROOT / "examples" / "clip.mp4"
REMEDY = (
    "run it where an NVIDIA GPU is, with its driver and an engine: pip install 'protoleak[tensorrt]' (data centre and "
    "desktop), 'protoleak[cuda]' beside JetPack's TensorRT (Jetson), or 'protoleak[tensorrt-rtx]' (RTX)"
)


def make_faces(bundle: Bundle, count: int, folder: Path = IMAGES) -> UInt8Array:
    """uint8 [count, L, S, S, 3]: images of a folder in all looks of the bundle, each from another place on.

    Which image shows what doesn't matter: both sides of a comparison get the same.
    """
    from PIL import Image

    framing: Framing = bundle.manifest.preprocessing.framing
    files = sorted(file for file in folder.iterdir() if file.suffix in (".jpg", ".png"))
    images = [Image.open(file).convert("RGB") for file in files]
    made = []
    for index in range(count):
        image, turn = images[index % len(images)], index // len(images)
        width, height = image.size
        left, top = (7 * turn) % (width // 3), (11 * turn) % (height // 3)
        made.append(framing.frame(image.crop((left, top, width, height)), None))
    return np.stack(made)


def run(setup: Setup, sections: Sequence[str], console: Console) -> list[Row]:
    """All rows; each section's are shown as soon as they are there. What breaks a section is a row of it."""
    rows: list[Row] = []
    for name in sections:
        started = time.perf_counter()
        found: list[Row] = []
        try:
            found.extend(SECTIONS[name](setup))
        except Exception as error:  # one question that cannot be asked must not silence the others on an expensive hour
            found.append(not_measured(name, "this section", f"{type(error).__name__}: {error}", failed=True))
        show(found, console, time.perf_counter() - started)
        rows += found
    return rows


def show(rows: Sequence[Row], console: Console, seconds: float) -> None:
    """A section as a table: a column for each value that occurs."""
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    judged = any(row.holds is not None or row.failed for row in rows)
    table = Table(title=f"{rows[0].section} ({seconds:.0f} s)", title_justify="left")
    for name in ("", *names, *(("",) if judged else ())):
        table.add_column(name, justify="right" if name else "left")
    missing = [row for row in rows if row.why is not None]
    for row in rows:
        if row.why is None:
            verdict = {True: "holds", False: "DOES NOT HOLD", None: ""}[row.holds]
            table.add_row(row.what, *(shown(row.values.get(name)) for name in names), *((verdict,) if judged else ()))
    if len(missing) < len(rows):
        console.print(table)
    elif rows:
        console.print(f"{rows[0].section}:", markup=False)
    for row in missing:
        console.print(f"  {'BROKEN ' if row.failed else ''}{row.what}: not measured, because {row.why}", markup=False)


def shown(value: object) -> str:
    """A value as a person reads it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "" if value is None else str(value)
    return str(value) if isinstance(value, int) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", help="left out, the one that comes with protoleak")
    parser.add_argument("--engines", default=",".join(GPU_ENGINES), help="with commas between")
    parser.add_argument("--precisions", default="fp32,tf32,fp16,int8", help="with commas between")
    parser.add_argument("--batch-sizes", default="1,4,16,64", help="faces, with commas between")
    parser.add_argument("--sections", default=",".join(SECTIONS), help="with commas between")
    parser.add_argument("--memory-runs", type=int, default=Settings.memory_runs)
    parser.add_argument("--clip", type=Path, default=CLIP, help="video that is screened")
    parser.add_argument("--quick", action="store_true", help="fewer faces, repeats, batch sizes and runs: minutes")
    parser.add_argument("--device", type=int, default=0, help="CUDA device ordinal")
    parser.add_argument("--cache", type=Path, help="folder that keeps the plans for the next run; left out, none")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args(arguments)
    for name, known in (("sections", SECTIONS), ("engines", GPU_ENGINES), ("precisions", Settings.precisions)):
        for word in getattr(options, name).split(","):
            if word not in known:
                parser.error(f"--{name} {word}: choose among {', '.join(known)}")
    return options


def settings_of(options: argparse.Namespace) -> Settings:
    """What the options ask for."""
    chosen = Settings(
        engines=tuple(options.engines.split(",")),
        precisions=tuple(options.precisions.split(",")),
        batch_sizes=tuple(int(size) for size in options.batch_sizes.split(",")),
        memory_runs=options.memory_runs,
        clip=options.clip if options.clip.is_file() else None,
        device=options.device,
    )
    if not options.quick:
        return chosen
    return dataclasses.replace(chosen, faces=16, repeats=20, memory_runs=500, batch_sizes=(1, 8))


def main(arguments: Sequence[str] | None = None, open_setup: Callable[..., Setup] = Setup) -> int:
    """Exit status: see above.

    Args:
        arguments: of the command line; None for the process's own.
        open_setup: makes the setup of bundle, settings, faces and a folder for plans.
    """
    options = parsed(arguments)
    console = Console(width=None if sys.stdout.isatty() else 180, highlight=False)
    try:
        gpu = find_gpu(options.device)
        settings = settings_of(options)
        bundle = Bundle.load(options.bundle)
        faces = make_faces(bundle, settings.faces)
    except ProtoleakError as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        print(REMEDY, file=sys.stderr)
        return 1
    machine = describe_machine(options.device)
    console.print(
        f"{gpu.name}, compute capability {gpu.compute_capability}, {gpu.memory / 2**30:.0f} GiB; {bundle.manifest.name}"
    )
    for name, value in (machine.jetson or {}).items():
        console.print(f"  {name}: {value}", markup=False)
    with tempfile.TemporaryDirectory(prefix="protoleak-gpu-") as temporary:
        setup = open_setup(bundle, settings, faces, options.cache or Path(temporary))
        rows = run(setup, options.sections.split(","), console)
    wrong = [row for row in rows if row.wrong]
    missing = sum(row.why is not None for row in rows)
    console.print(f"{len(rows) - missing} rows measured, {missing} not, {len(wrong)} not as they have to be")
    for row in wrong:
        console.print(f"  {row.section}: {row.what}", markup=False)
    if options.json:
        write(options.json, machine, bundle, settings, rows)
    return 1 if wrong or missing == len(rows) else 0


def write(file: Path, machine: object, bundle: Bundle, settings: Settings, rows: Sequence[Row]) -> None:
    """The numbers as JSON."""
    result = {
        "what": "a first run on a GPU",
        "bundle": {"name": bundle.manifest.name, "sha256": bundle.sha256},
        "settings": {
            name: _plain(getattr(settings, name)) for name in (field.name for field in dataclasses.fields(Settings))
        },
        "rows": rows,
        "machine": machine,
    }
    write_whole(file, [json_bytes(result)])


def _plain(value: object) -> object:
    return value.name if isinstance(value, Path) else value


if __name__ == "__main__":
    sys.exit(main())
