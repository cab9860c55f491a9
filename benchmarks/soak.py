"""Long runs: whether memory, file handles and threads stay level, and whether a camera that fails is found again.

    python benchmarks/soak.py verdicts --count 100000 --json benchmarks/results/soak_verdicts.json
    python benchmarks/soak.py images --count 10000
    python benchmarks/soak.py rtsp CLIP --seconds 3600

verdicts: in one process, through the engines. images: through the command line, as a folder. rtsp: a camera on loopback
whose connection is cut, stalls and comes back; after each the stream is to go on, with the stretch on record as a gap.
Each exits with status 1 where a promise does not hold: memory grows by more than 5 %, handles or threads are left,
a verdict or a reconnection is missing. Without --bundle it is the small bundle of the tests, whose network takes
milliseconds.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

import protoleak
from benchmarks.rtsp_camera import RtspCamera
from benchmarks.videos.soak import entries
from protoleak.bundle.writer import write_bundle
from protoleak.environment.machine import describe_machine
from protoleak.environment.memory import resident_mib
from protoleak.errors import ProtoleakError
from protoleak.files import write_whole
from protoleak.isolation.limits import resident_bytes
from protoleak.strict_json import json_bytes
from protoleak.video.events import FaceEvent, FailureEvent, GapEvent
from protoleak.video.settings import StreamSettings
from protoleak.video.sources.network import NetworkSource
from protoleak.video.sources.network_settings import NetworkSettings

ROOT = Path(__file__).resolve().parents[1]
SAMPLES, WARM_UP, GROWTH = 100, 0.25, 0.05
DISTINCT = 64  # images; more say nothing about memory
SHORTEST, LONGEST = 20.0, 90.0  # seconds between two faults of the camera
STALL, RECONNECT = 2.0, 30.0  # seconds without a frame that count as a stall, and within which it must be back
UNNOTICED = 60.0  # seconds after which nobody will notice a stall any more


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """What a long run left behind.

    Attributes:
        resident_mib: after a quarter of the run, and the highest after that.
        growth: share of the first by which the second exceeds it.
        threads, handles: before and after.
    """

    count: int
    seconds: float
    resident_mib: tuple[float, float]
    growth: float
    threads: tuple[int | None, int | None] = (None, None)
    handles: tuple[int | None, int | None] = (None, None)

    @property
    def level(self) -> bool:
        return self.growth <= GROWTH and all(
            before is None or after is None or after <= before for before, after in (self.threads, self.handles)
        )


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a camera that fails.

    Attributes:
        cuts, stalls: that were made.
        gaps: that were reported.
        reconnections: connections after the first.
        longest_gap: in seconds.
    """

    seconds: float
    cuts: int
    stalls: int
    gaps: int
    reconnections: int
    longest_gap: float
    verdicts: int
    failures: list[str]
    memory: Level


def verdicts(bundle: str, count: int) -> Level:
    """So many verdicts in one process."""
    images = [np.random.default_rng(seed).integers(0, 256, (96, 96, 3), np.uint8) for seed in range(DISTINCT)]
    with protoleak.load(bundle, engine="onnxruntime") as screener:
        list(screener.each(images))
        gc.collect()
        threads, handles = entries("task"), entries("fd")
        resident: list[float] = []
        begun = time.monotonic()
        for number, outcome in enumerate(screener.each(_again(images, count)), start=1):
            if isinstance(outcome, ProtoleakError):
                raise outcome
            if number % max(1, count // SAMPLES) == 0:
                resident.append(resident_mib())
        gc.collect()
        return _level(count, begun, resident, (threads, entries("task")), (handles, entries("fd")))


def _again(images: list[np.ndarray], count: int) -> Iterator[np.ndarray]:
    for number in range(count):
        yield images[number % len(images)]


def images(bundle: str, count: int) -> Level:
    """A folder of so many images, through the command line."""
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place) / "images", Path(place) / "verdicts.jsonl"
        folder.mkdir()
        for number in range(count):
            noise = np.random.default_rng(number).integers(0, 256, (96, 96, 3), np.uint8)
            Image.fromarray(noise).save(folder / f"{number:05d}.png", compress_level=1)
        command = [sys.executable, "-m", "protoleak", "screen", str(folder), "--bundle", bundle, "--out", str(out)]
        begun, resident = time.monotonic(), list[float]()
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                time.sleep(0.5)
                if out.exists() and (held := resident_bytes(process.pid)) is not None:
                    resident.append(held / 2**20)
        found = [json.loads(line)["source"] for line in out.read_text().splitlines()]
        if process.returncode or len(found) != count or len(set(found)) != count:
            sys.exit(f"status {process.returncode}, {len(found)} lines of {len(set(found))} images instead of {count}")
        return _level(count, begun, resident)


def rtsp(bundle: str, clip: Path, seconds: float) -> Faults:
    """A camera that is cut and stalls, in turn, at random moments."""
    cuts = stalls = found = 0
    gaps: list[float] = []
    failures: list[str] = []
    resident: list[float] = []
    done = threading.Event()

    def trouble(camera: RtspCamera) -> None:
        nonlocal cuts, stalls
        chance = np.random.default_rng(0)
        shortest, longest = (min(limit, seconds / 6) for limit in (SHORTEST, LONGEST))
        until = time.monotonic() + seconds - longest  # the last fault has time to be overcome
        while not done.wait(chance.uniform(shortest, longest)) and time.monotonic() < until:
            if (cuts + stalls) % 2:
                stalls += 1
                camera.stall(True)
                # On a busy machine there is more on its way than the stall is long, so it lasts until it is noticed.
                noticed = time.monotonic() + UNNOTICED
                while not camera.left and time.monotonic() < noticed and not done.wait(0.1):
                    pass
                if not (camera.left or done.is_set()):
                    failures.append(f"a stall of {UNNOTICED:g} s was not noticed")
                camera.stall(False)
            else:
                cuts += 1
                camera.cut()
            while len(gaps) < cuts + stalls - len(failures) and not done.wait(0.1):
                pass  # a fault while there is nothing to see would be none

    begun = time.monotonic()
    network = NetworkSettings(open_timeout=10.0, stall_timeout=STALL, first_delay=0.2, longest_delay=1.0)
    with RtspCamera(clip) as camera, protoleak.load(bundle, engine="onnxruntime") as screener:
        # Engines and OpenCV make threads with the first images, and keep them.
        for _ in screener.streams([camera.address], StreamSettings(faces="none", max_seconds=1.0)):
            pass
        time.sleep(2 * STALL)
        source = NetworkSource(camera.address, network)
        threads, handles = entries("task"), entries("fd")
        troubling = threading.Thread(target=trouble, args=(camera,), daemon=True)
        troubling.start()
        settings = StreamSettings(faces="none", max_seconds=seconds)
        for event in screener.streams([source], settings):
            found += isinstance(event, FaceEvent)
            if isinstance(event, GapEvent):
                gaps.append(event.seconds or 0.0)
            elif isinstance(event, FailureEvent):
                failures.append(event.message)
            resident.append(resident_mib())
        done.set()
        troubling.join()
        time.sleep(2 * STALL + 1)  # for a read that waits
        gc.collect()
        memory = _level(found, begun, resident, (threads, entries("task")), (handles, entries("fd")))
        return Faults(
            seconds=time.monotonic() - begun,
            cuts=cuts,
            stalls=stalls,
            gaps=len(gaps),
            reconnections=camera.connections - 2,  # the second began it
            longest_gap=max(gaps, default=0.0),
            verdicts=found,
            failures=failures,
            memory=memory,
        )


def _level(
    count: int,
    begun: float,
    resident: list[float],
    threads: tuple[int | None, int | None] = (None, None),
    handles: tuple[int | None, int | None] = (None, None),
) -> Level:
    warm = resident[int(WARM_UP * len(resident)) :] or [resident_mib()]
    early, highest = warm[0], max(warm)
    return Level(
        count=count,
        seconds=time.monotonic() - begun,
        resident_mib=(early, highest),
        growth=highest / early - 1,
        threads=threads,
        handles=handles,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("verdicts", "images", "rtsp"))
    parser.add_argument("clip", type=Path, nargs="?", help="of rtsp: an H.264 video")
    parser.add_argument("--count", type=int, help="100,000 verdicts, 10,000 images")
    parser.add_argument("--seconds", type=float, default=3600.0, help="of rtsp")
    parser.add_argument("--bundle")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle
        if bundle is None:
            from tests.tiny_bundle import tiny_bundle_files

            bundle = str(Path(folder) / "bundle")
            write_bundle(Path(bundle), *tiny_bundle_files())
        result: Level | Faults
        if options.what == "rtsp":
            if options.clip is None:
                parser.error("rtsp needs a clip")
            result = rtsp(bundle, options.clip, options.seconds)
            lost = result.cuts + result.stalls - result.gaps
            holds = not (result.failures or lost or result.longest_gap > STALL + RECONNECT) and result.memory.level
        else:
            count = options.count or (100_000 if options.what == "verdicts" else 10_000)
            result = (verdicts if options.what == "verdicts" else images)(bundle, count)
            holds = result.level
    facts = msgspec.to_builtins(result)
    print(json.dumps(facts, indent=1))
    print("as promised" if holds else "NOT as promised")
    if options.json:
        write_whole(options.json, [json_bytes({"machine": describe_machine()} | facts)])
    sys.exit(not holds)


if __name__ == "__main__":
    main()
