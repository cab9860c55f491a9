"""How fast each way to compute a bundle is on this machine: timed once, and kept in the cache folder.

A file there says what was timed and how long it took; it may be deleted at any time. One that can't be read, or that
isn't of exactly this bundle, engine and processor, is as good as none, and one that can't be written is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from protoleak.errors import ProtoleakError
from protoleak.files import cache_folder, read_regular, replace_file
from protoleak.runtime.executors import Executor
from protoleak.strict_json import decode_json, json_bytes

WARM_UP, ROUNDS = 2, 7
MOST_BYTES = 2**16


class TimedOn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a time depends on: of another one nothing is known.

    Attributes:
        bundle: its SHA-256.
        engine, version: what executed the graphs.
        processor: its name.
        instructions: see `environment.instructions`.
        processors: that this process may use.
        threads: asked for; None for the engine's choice.
    """

    bundle: str
    engine: str
    version: str
    processor: str
    instructions: list[str]
    processors: int
    threads: int | None


class Timings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file in the cache.

    Attributes:
        milliseconds: "<variant> <compute>" → for one face, both graphs.
    """

    timed_on: TimedOn
    milliseconds: dict[str, float]


def timings_file(timed_on: TimedOn) -> Path:
    """Where the times are kept."""
    digest = hashlib.sha256(msgspec.json.encode(timed_on, order="deterministic")).hexdigest()
    return cache_folder("timings") / f"{digest[:32]}.json"


def read_timings(timed_on: TimedOn) -> dict[str, float]:
    """What was timed before; empty where nothing was, or the file is of no use."""
    try:
        found = decode_json(read_regular(timings_file(timed_on), MOST_BYTES), Timings)
    except (OSError, ValueError, msgspec.MsgspecError, RuntimeError):  # no home folder is a RuntimeError
        return {}
    usable = found.timed_on == timed_on and all(value > 0 for value in found.milliseconds.values())
    return found.milliseconds if usable else {}


def keep_timings(timed_on: TimedOn, milliseconds: Mapping[str, float]) -> dict[str, float]:
    """Writes times for the next process, whole or not at all.

    Returns:
        Those to go by: of a process that was faster, such as another worker of one server, where it timed the same, so
        that all of them choose alike.
    """
    found = read_timings(timed_on)
    if milliseconds.keys() <= found.keys():
        return {name: found[name] for name in milliseconds}
    encoded = json_bytes(Timings(timed_on, found | dict(milliseconds)))
    with contextlib.suppress(OSError, ProtoleakError, RuntimeError):
        replace_file(timings_file(timed_on), [encoded])
    return dict(milliseconds)


def time_executors(executors: Mapping[str, Executor], looks: int, size: int) -> dict[str, float]:
    """Milliseconds that both graphs take for one face. They take turns, and the shortest time of each counts: what a
    busy machine adds is not theirs.

    Args:
        looks, size: L and S of the bundle's framing.
    """
    face = np.random.default_rng(0).integers(0, 256, (looks, size, size, 3), np.uint8)
    spent: dict[str, list[float]] = {name: [] for name in executors}
    for number in range(WARM_UP + ROUNDS):
        for name, executor in executors.items():
            started = time.perf_counter()
            executor.run(face)
            if number >= WARM_UP:
                spent[name].append(1000 * (time.perf_counter() - started))
    return {name: round(min(times), 3) for name, times in spent.items()}
