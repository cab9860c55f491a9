"""Kills runs at random moments with SIGKILL, continues them, and looks for what was lost, doubled or left broken.

    python benchmarks/kills.py --kills 1000 --json benchmarks/results/kills.json
    python benchmarks/kills.py --kills 18 --kinds images,video

Kinds: images, faces, video, train, distill, export. Everything is made by script and small, so that a run lasts
seconds. A run is killed again and again and continued with --resume (a video and an export begin anew) until it ends by
itself; after every kill what is on the disk is read. It exits with status 1 where anything is lost, doubled or broken.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

from benchmarks.killing.media import of_images, of_video
from benchmarks.killing.models import of_distillation, of_export, of_training
from benchmarks.killing.runs import Kind, killed
from protoleak.bundle.writer import write_bundle
from protoleak.environment.machine import describe_machine
from protoleak.files import write_whole
from protoleak.strict_json import json_bytes
from tests.tiny_bundle import tiny_bundle_files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="of all kinds together")
    parser.add_argument("--kinds", default="images,faces,video,train,distill,export")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names, chance = options.kinds.split(","), random.Random(options.seed)
    results = []
    with tempfile.TemporaryDirectory() as place:
        folder, cache = Path(place), Path(place) / "cache"
        bundle = folder / "bundle"
        write_bundle(bundle, *tiny_bundle_files())
        makers: dict[str, Callable[[], Kind]] = {
            "images": lambda: of_images(folder / "images", str(bundle), faces=False),
            "faces": lambda: of_images(folder / "faces", str(bundle), faces=True),
            "video": lambda: of_video(folder / "video", str(bundle)),
            "train": lambda: of_training(folder / "train"),
            "distill": lambda: of_distillation(folder / "distill"),
            "export": lambda: of_export(folder / "export", cache),
        }
        for name in names:
            results.append(killed(makers[name](), -(-options.kills // len(names)), chance, name, cache))
            one = results[-1]
            print(f"{name}: {one.kills} kills in {one.runs} runs, {one.lost} lost, {one.doubled} doubled", flush=True)
            for line in one.broken:
                print(f"  {line}")
            if options.json:  # after each kind: a run of hours may itself be ended
                facts = {"machine": describe_machine(), "found": results}
                write_whole(options.json, [json_bytes(facts)])
    sys.exit(any(one.lost or one.doubled or one.broken for one in results))


if __name__ == "__main__":
    main()
