"""Power mode and clocks of an NVIDIA Jetson: without them its timings cannot be compared."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

TIMEOUT_SECONDS = 5
KILOHERTZ, HERTZ = 1_000, 1


def nvpmodel() -> str | None:
    """What `nvpmodel -q` prints, or None where it cannot be run."""
    try:
        done = subprocess.run(
            ["nvpmodel", "-q"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def read_jetson(root: Path = Path("/"), query: Callable[[], str | None] = nvpmodel) -> dict[str, str] | None:
    """Model, power mode and clocks as they are right now, by name; None where this is no Jetson.

    What cannot be read (clocks of the memory need root) is left out, the power mode says so.

    Args:
        root: of the file system, for tests.
        query: gives `nvpmodel -q`'s output.
    """
    model = _text(root / "proc/device-tree/model")
    release = _text(root / "etc/nv_tegra_release")
    if release is None and not (model and ("Jetson" in model or "Tegra" in model)):
        return None
    facts = {"model": model or "a Tegra"}
    if release:
        facts["release"] = release.lstrip("# ").split(", GCID")[0]
    facts["power mode"] = _power_mode(query(), root)
    for name, path, unit in _clocks(root):
        value = _text(path)
        if value and value.isdigit():
            facts[name] = f"{int(value) * unit / 1e6:.0f} MHz"
    return facts


def _power_mode(output: str | None, root: Path) -> str:
    for line in (output or "").splitlines():
        if line.startswith("NV Power Mode:"):
            return line.split(":", 1)[1].strip()
    status = _text(root / "var/lib/nvpmodel/status")  # "pmode:0002"
    if status and ":" in status:
        return f"number {status.rsplit(':', 1)[1].lstrip('0') or '0'}"
    return "not readable: run `sudo nvpmodel -q`"


def _clocks(root: Path) -> list[tuple[str, Path, int]]:
    processors = sorted(
        (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"),
        key=lambda path: int(path.parents[1].name[3:]),
    )
    devices = sorted((root / "sys/class/devfreq").glob("*/cur_freq"))
    memory = root / "sys/kernel/debug/bpmp/debug/clk/emc/rate"
    return [
        *((path.parents[1].name, path, KILOHERTZ) for path in processors),
        *((_device(path.parent.name), path, HERTZ) for path in devices),
        ("memory (emc)", memory, HERTZ),
    ]


def _device(name: str) -> str:
    """17000000.gpu, 57000000.gpu or 17000000.gv11b, by the generation."""
    kind = name.split(".", 1)[-1]
    return f"GPU ({name})" if kind in ("gpu", "ga10b", "gv11b", "gp10b") else name


def _text(path: Path) -> str | None:
    """A small file's text without the NUL that ends strings of the device tree; None where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return None
