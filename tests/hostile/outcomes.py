"""What a hostile input may do: give one error line, soon and in little memory. Anything else is a finding."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protoleak.bundle.bundle import Bundle
from protoleak.errors import ProtoleakError
from protoleak.runtime.pipeline import ImagePipeline

LONGEST_LINE = 1000  # characters of an error


@dataclass(frozen=True)
class Outcome:
    """What one input did.

    Attributes:
        finding: what is wrong with how protoleak took it; None where nothing is.
        seconds: of wall time, and processor_seconds of processor time, that it took.
        error: the line that it gave; None where it was taken.
        peak_mib: how much more memory than before it took at most.
    """

    finding: str | None
    seconds: float
    processor_seconds: float
    error: str | None
    peak_mib: float


@dataclass(frozen=True)
class Tried:
    """One input and what it did.

    Attributes:
        kind: of the input; name: of this one.
    """

    kind: str
    name: str
    outcome: Outcome


def outcome_of(use: Callable[[], str | None], refusal: type[ProtoleakError] = ProtoleakError) -> Outcome:
    """What an input does.

    Args:
        use: takes it; returns what is wrong with that, or None.
        refusal: the error that it may raise.
    """
    before = _memory_begins()
    wall, processor = time.perf_counter(), time.process_time()
    error = finding = None
    try:
        finding = use()
    except refusal as caught:
        error = str(caught)
        if not error.strip() or "\n" in error or "\x1b" in error or len(error) > LONGEST_LINE:
            finding = f"an error that is not one short line: {error[:200]!r}"
    except Exception as caught:  # what this looks for
        finding = f"{type(caught).__name__}: {str(caught)[:200]}"
    spent = time.perf_counter() - wall, time.process_time() - processor
    return Outcome(finding, *spent, error, _peak_mib() - before)


def outcome_of_bundle(path: Path, must_be_refused: bool) -> Outcome:
    """Loads a bundle as `screen` does; where it is taken, judges an image with it."""

    def use() -> str | None:
        bundle = Bundle.load(path)
        for name in bundle.manifest.variants:
            bundle.variant(name)
        if must_be_refused:
            return "was taken"
        with ImagePipeline(bundle, engine="onnxruntime", threads=1) as pipeline:
            pipeline(np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8))
        return None

    return outcome_of(use)


def resident_mib() -> float:
    """What the process holds now; its largest so far where the system doesn't say."""
    return _status("VmRSS") or _largest_mib()


def _memory_begins() -> float:
    """Forgets the largest memory so far, where the system lets it, and returns what the process holds."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _largest_mib()
    return resident_mib()


def _peak_mib() -> float:
    return _status("VmHWM") or _largest_mib()


def _status(name: str) -> float | None:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), None)


def _largest_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
