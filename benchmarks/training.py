"""How long training takes once the latents are there: epochs of the attribution network on random latents.

Every epoch does the same work whatever the latents say, so a few are measured and the rest reckoned from their median.
The latents have the shape of the default bundle's. With `--both` the epochs are measured a second time in a process
whose C library gives freed memory back as it does by default: what `protoleak.training.memory` spares.

    python benchmarks/training.py --json benchmarks/results/training.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import msgspec
import torch

from protoleak.bundle.bundle import Bundle
from protoleak.choices import COMPUTES
from protoleak.environment.machine import describe_machine
from protoleak.files import write_whole
from protoleak.strict_json import json_bytes
from protoleak.training.fit import fit
from protoleak.training.inputs import Latents
from protoleak.training.memory import keep_freed_memory
from protoleak.training.noising import Noising
from protoleak.training.settings import TrainingSettings

TARGET_SECONDS = 600.0
GENERATORS = 8
VALIDATION_SHARE = 0.15


def epoch_seconds(settings: TrainingSettings, images: int, latent_shape: tuple[int, int, int]) -> list[float]:
    """Seconds of each epoch with its validation; the first epoch warms up and is left out."""
    random = torch.Generator().manual_seed(settings.seed)

    def latents(count: int) -> Latents:
        z0 = torch.randn(count, len(settings.looks), *latent_shape, generator=random)
        return Latents(z0, torch.arange(count) % GENERATORS)

    config = settings.network(latent_shape, GENERATORS)
    noising = Noising.of(settings, latent_shape)
    train, validation = latents(images), latents(round(VALIDATION_SHARE * images))

    ends: list[float] = []

    def watch(stage: str, done: int, total: int, _: str = "", /) -> None:
        print(f"\r  {stage}, step {done} of {total}", end="", file=sys.stderr, flush=True)
        if done == total:
            ends.append(time.monotonic())

    fit(config, settings, noising, train, validation, None, "benchmark", progress=watch)
    print(file=sys.stderr)
    return [after - before for before, after in pairwise(ends)]


def in_another_process(options: argparse.Namespace) -> list[float]:
    """Seconds of one epoch with the C library's allocator as it is: it cannot be set back in this process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plain.json"
        command = [sys.executable, __file__, "--plain-malloc", "--measured", "1", "--json", str(file)]
        command += ["--images", str(options.images), "--compute", options.compute]
        subprocess.run(command, check=True)
        return list(json.loads(file.read_text())["epoch_seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=4000, help="training latents")
    parser.add_argument("--epochs", type=int, default=20, help="of the training whose time is reckoned")
    parser.add_argument("--measured", type=int, default=3, help="epochs that are really run, after one to warm up")
    parser.add_argument("--compute", default="auto", choices=COMPUTES)
    parser.add_argument("--plain-malloc", action="store_true", help="leave the C library's allocator as it is")
    parser.add_argument("--both", action="store_true", help="and once more with --plain-malloc")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()

    kept = not options.plain_malloc and keep_freed_memory()
    shape = Bundle.load().manifest.latent_shape
    settings = TrainingSettings(epochs=options.measured + 1, patience=options.measured + 1, compute=options.compute)
    seconds = epoch_seconds(settings, options.images, (shape[0], shape[1], shape[2]))
    whole = statistics.median(seconds) * options.epochs
    result: dict[str, object] = {
        "what": "seconds of training the attribution network on latents that are there already",
        "images": options.images,
        "latent_shape": list(shape),
        "settings": msgspec.to_builtins(settings),
        "arithmetic": "bf16" if settings.bfloat16 else "fp32",
        "threads": torch.get_num_threads(),
        "freed_memory_kept": kept,
        "epoch_seconds": [round(value, 2) for value in seconds],
        "epochs": options.epochs,
        "seconds": round(whole, 1),
        "target": TARGET_SECONDS,
        "machine": describe_machine(),
    }
    met = "met" if whole <= TARGET_SECONDS else "MISSED"
    print(f"{options.images} images, backbone {settings.backbone}, {result['arithmetic']}, freed memory kept: {kept}")
    print(f"  an epoch: {', '.join(f'{value:.1f}' for value in seconds)} s")
    print(f"  {options.epochs} epochs: {whole:.0f} s; target {TARGET_SECONDS:.0f} s: {met}")
    if options.both:
        result["epoch_seconds_plain_malloc"] = in_another_process(options)
    if options.json:
        write_whole(options.json, [json_bytes(result)])


if __name__ == "__main__":
    main()
