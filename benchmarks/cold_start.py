"""How long a cold `protoleak screen one.jpg` takes, and where the time goes.

Each run is a new process, as a user starts it: with the byte code that Python keeps, and with the graphs that OpenVINO
compiled before (both in a temporary folder here). The first run fills these caches and is reported apart.

    python benchmarks/cold_start.py examples/images/photograph.jpg --runs 15 --json benchmarks/results/cold_start.json
    python benchmarks/cold_start.py examples/images/photograph.jpg --against ../protoleak-0.1   # runs of both in turns
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from protoleak.environment.machine import processor
from protoleak.environment.versions import source_commit

TARGET_SECONDS = 0.5
IMPORT_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)")
PACKAGES = ("numpy", "onnxruntime", "openvino", "cv2", "PIL", "rich", "typer", "pydantic", "msgspec", "protoleak")
HERE = Path(__file__).resolve().parent.parent

STAGES = """
import sys, time
clock = [time.perf_counter()]
import protoleak.cli.screen_images
clock.append(time.perf_counter())
from protoleak.bundle.bundle import Bundle
bundle = Bundle.load(sys.argv[2] if len(sys.argv) > 2 else None)
clock.append(time.perf_counter())
screener = protoleak.cli.screen_images.Screener(bundle)
clock.append(time.perf_counter())
screener(sys.argv[1])
clock.append(time.perf_counter())
screener(sys.argv[1])
clock.append(time.perf_counter())
print(*(after - before for before, after in zip(clock, clock[1:])))
"""


def environment(caches: Path, tree: Path = HERE) -> dict[str, str]:
    """The variables of a run: code from a source tree, byte code and compiled graphs in a folder of their own."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {
        "PYTHONPATH": str(tree),
        "PYTHONPYCACHEPREFIX": str(caches / "bytecode"),
        "PROTOLEAK_CACHE": str(caches / "protoleak"),
    }


def timed(command: list[str], variables: Mapping[str, str]) -> tuple[float, str]:
    """Wall seconds and standard error of one process, which must succeed."""
    started = time.perf_counter()
    elsewhere = tempfile.gettempdir()  # `python -m` looks for the package in the working folder first
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables, cwd=elsewhere)
    elapsed = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return elapsed, done.stderr


def imports(command: list[str], variables: Mapping[str, str]) -> dict[str, float]:
    """Milliseconds per package: each module's own import time, counted for the package that it belongs to."""
    _, errors = timed([command[0], "-X", "importtime", *command[1:]], variables)
    spent = dict.fromkeys((*PACKAGES, "other"), 0.0)
    for own, _, _, module in IMPORT_LINE.findall(errors):
        package = module.split(".")[0]
        spent[package if package in spent else "other"] += int(own) / 1000
    return spent


def stages(image: str, bundle: str | None, variables: Mapping[str, str]) -> dict[str, float]:
    """Milliseconds per part of the command, inside one process; medians of five."""
    names = ("imports", "bundle read and checked", "engines opened", "first verdict", "second verdict")
    runs = []
    for _ in range(5):
        command = [sys.executable, "-c", STAGES, image, *([bundle] if bundle else [])]
        spent = subprocess.check_output(command, text=True, env=variables, cwd=tempfile.gettempdir())
        runs.append([float(value) for value in spent.split()])
    return {name: 1000 * statistics.median(run[i] for run in runs) for i, name in enumerate(names)}


def compare(command: list[str], runs: int, ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, float]:
    """Both trees in turns: their medians and minima, and the median of the ratios of neighbours."""
    for variables in (ours, theirs):
        timed(command, variables)
    pairs = [(timed(command, theirs)[0], timed(command, ours)[0]) for _ in range(runs)]
    found = {
        "other_median": statistics.median(before for before, _ in pairs),
        "median": statistics.median(after for _, after in pairs),
        "other_minimum": min(before for before, _ in pairs),
        "minimum": min(after for _, after in pairs),
        "median_ratio": statistics.median(before / after for before, after in pairs),
    }
    for name, value in found.items():
        print(f"  {name.replace('_', ' '):<20} {value:6.3f}{'' if 'ratio' in name else ' s'}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("image")
    parser.add_argument("--bundle", help="left out, the one that comes with protoleak")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument(
        "--against", type=Path, help="another source tree, whose runs take turns with those of this one"
    )
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as caches:
        measure(options, Path(caches))


def measure(options: argparse.Namespace, caches: Path) -> None:
    """Prints the numbers, and writes them where that is asked for."""
    image = str(Path(options.image).resolve())
    bundle = str(Path(options.bundle).resolve()) if options.bundle else None
    chosen = ["--bundle", bundle] if bundle else []
    command = [sys.executable, "-m", "protoleak.cli.app", "screen", image, *chosen]
    variables = environment(caches)
    first, _ = timed(command, variables)
    bare = [timed([sys.executable, "-c", "pass"], variables)[0] for _ in range(options.runs)]
    runs = sorted(timed(command, variables)[0] for _ in range(options.runs))
    cuts = statistics.quantiles(runs, n=100, method="inclusive")
    result = {
        "what": "wall seconds of a new process: protoleak screen of one image",
        "first_run": first,
        "median": statistics.median(runs),
        "p95": cuts[94],
        "p99": cuts[98],
        "minimum": runs[0],
        "maximum": runs[-1],
        "runs": options.runs,
        "bare_python_median": statistics.median(bare),
        "target": TARGET_SECONDS,
        "stages_ms": stages(image, bundle, variables),
        "imports_ms": imports(command, variables),
        "load_average_1min": os.getloadavg()[0],
        "machine": f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "commit": source_commit() or "unknown",
    }
    met = "met" if result["median"] <= TARGET_SECONDS else "MISSED"
    print(f"cold protoleak screen {options.image}, {options.runs} processes on {result['machine']}")
    print(f"  load average {result['load_average_1min']:.1f} (a busy machine makes these numbers worse)")
    for name in ("first_run", "minimum", "median", "p95", "p99", "maximum", "bare_python_median"):
        print(f"  {name.replace('_', ' '):<20} {result[name]:6.3f} s")
    print(f"  target {TARGET_SECONDS} s: {met}")
    for title, parts in (("stages", result["stages_ms"]), ("imports by package", result["imports_ms"])):
        print(f"{title}:")
        for name, value in parts.items():
            print(f"  {name:<26} {value:7.1f} ms")
    if options.against:
        print(f"in turns with {options.against}:")
        other = environment(caches / "other", options.against.resolve())
        result["in_turns"] = compare(command, options.runs, variables, other)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
