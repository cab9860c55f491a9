"""Steps of a build that are done once: each leaves a record, and is skipped when its record is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

Measured = Mapping[str, float]


class Steps:
    """Runs steps and keeps what they measured, in one JSON file per step."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, name: str, step: Callable[[], Measured]) -> None:
        """Runs a step that has not been done to its end before. A step leaves files, and may return numbers."""
        path = self._folder / f"{name}.json"
        if path.exists():
            print(f"{name}: done before", flush=True)
            return
        started = time.monotonic()
        measured = step()
        seconds = round(time.monotonic() - started, 1)
        write_json(path, {"seconds": seconds, **measured})
        print(", ".join([f"{name}: {seconds:.0f} s", *(f"{k} {v:.4g}" for k, v in measured.items())]), flush=True)

    def records(self) -> dict[str, dict[str, float]]:
        """What each step measured, and its seconds, in order of name."""
        paths = sorted(self._folder.glob("*.json"))
        return {path.stem: msgspec.json.decode(path.read_bytes(), type=dict[str, float]) for path in paths}


def write_json(path: Path, content: object) -> None:
    """Whole or not at all, so that an interruption leaves no half file."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=1) + b"\n")
    part.replace(path)
