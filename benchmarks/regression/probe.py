"""What runs in a process of its own, with one commit's package on PYTHONPATH: measures once for every line it reads.

    PYTHONPATH=CHECKOUT python benchmarks/regression/probe.py images --engine openvino --compute exact IMAGE …

It imports nothing but the package that is measured, and of that only what commits have in common.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != Path(__file__).resolve().parent]

# Of one turn, which is one call at least: a round's ratio rests on four turns, and its interval on all rounds, so that
# more rounds say more than longer turns. A batch of 16 takes a turn by itself, and so does a new process.
TURN_SECONDS = 0.5

Work = Callable[[], dict[str, float]]


def images(options: argparse.Namespace) -> Work:
    """Milliseconds per image from its file's bytes to the verdict, and of its stages."""
    import protoleak
    from protoleak.runtime.engines import EngineOptions

    contents = [Path(name).read_bytes() for name in options.media]
    screener = protoleak.load(
        options.bundle, engine=options.engine, engine_options=EngineOptions(compute=options.compute)
    )
    batch = [contents[index % len(contents)] for index in range(options.batch)]

    def work() -> dict[str, float]:
        started = time.perf_counter()
        verdicts = list(screener.each(batch, batch_size=options.batch))
        total = 1000 * (time.perf_counter() - started) / len(batch)
        stages: dict[str, float] = {}
        for verdict in verdicts:
            if isinstance(verdict, Exception):
                raise verdict
            for stage, spent in verdict.milliseconds.items():
                stages[stage] = stages.get(stage, 0.0) + spent / len(batch)
        return {"total": total, **stages}

    return lambda: repeated(work)


def video(options: argparse.Namespace) -> Work:
    """Milliseconds per frame of a clip that is read as a file."""
    import protoleak
    from protoleak.video.sources.file import FileSource
    from protoleak.video.stream import stream

    screener = protoleak.load(options.bundle, engine=options.engine)

    class Counting:
        """A source that counts its frames."""

        def __init__(self) -> None:
            self.source, self.frames = FileSource(options.media[0]), 0
            self.info, self.close = self.source.info, self.source.close

        def __iter__(self):  # type: ignore[no-untyped-def]
            for item in self.source:
                self.frames += hasattr(item, "image")
                yield item

    def work() -> dict[str, float]:
        source, started = Counting(), time.perf_counter()
        for _ in stream(screener, source):
            pass
        return {"total": 1000 * (time.perf_counter() - started) / max(1, source.frames)}

    return work


def cold_start(options: argparse.Namespace) -> Work:
    """Milliseconds of a new process that screens one image, as a user starts it."""
    command = [sys.executable, "-m", "protoleak.cli.app", "screen", options.media[0]]
    command += ["--bundle", options.bundle] if options.bundle else []

    def work() -> dict[str, float]:
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"protoleak screen ended with status {done.returncode}: {done.stderr.strip()[-300:]}")
        return {"total": 1000 * (time.perf_counter() - started)}

    return work


KINDS: dict[str, Callable[[argparse.Namespace], Work]] = {"images": images, "video": video, "cold_start": cold_start}


def repeated(work: Work) -> dict[str, float]:
    """The medians over as many calls as fit into a turn."""
    until = time.perf_counter() + TURN_SECONDS
    found: list[dict[str, float]] = []
    while not found or time.perf_counter() < until:
        found.append(work())
    return {part: statistics.median(turn[part] for turn in found) for part in found[0]}


def check_origin() -> None:
    """Raises RuntimeError unless the package is the one in this folder: an installed one would be measured twice."""
    import protoleak

    origin = Path(protoleak.__file__).resolve()
    if not origin.is_relative_to(Path.cwd().resolve()):
        raise RuntimeError(f"the package that was imported lies at {origin}, not in {Path.cwd()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("media", nargs="+")
    parser.add_argument("--bundle")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--compute", default="auto")
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    # Answers go where the parent reads; whatever else is printed goes to standard error.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        check_origin()
        work = KINDS[options.kind](options)
        print(json.dumps({}), file=answers)
        for _ in sys.stdin:
            print(json.dumps(work()), file=answers)
    except Exception as error:  # whatever a commit raises is the answer
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"}), file=answers)


if __name__ == "__main__":
    main()
