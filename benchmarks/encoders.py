"""Which latent encoder is worth its milliseconds: attribution and open-set AUC against time per face.

How closely a student follows its teacher says little about whether its latents still tell generators apart. So every
encoder gets an attribution network of its own, trained alike on the same zoo; a bundle is exported from it, which
measures it on the zoo's test split and on the generators that it never saw; and the bundle is timed end to end. What
was measured of an encoder by an earlier run with the same options is read, so that an interrupted run goes on.

    python benchmarks/encoders.py --zoo ZOO --teacher taef2_encoder.onnx --student 1g=STUDENTS/1g \\
        --student 3g=STUDENTS/3g --out WORK --json benchmarks/results/encoders.json --html encoders.html
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

from benchmarks.encoder_page import html
from benchmarks.encoder_targets import (
    AUC_MARGIN,
    BEST_ENGINE,
    BEST_ENGINE_MS,
    OPEN_SET_MARGIN,
    RUNTIME_ENGINE,
    RUNTIME_MS,
    best_engine,
    judged,
)
from protoleak.bench.results import Report
from protoleak.bench.run import run_benchmark
from protoleak.bench.settings import BenchmarkSettings
from protoleak.bundle.bundle import Bundle
from protoleak.dataset import Dataset, Sample, read_dataset
from protoleak.environment.machine import describe_machine
from protoleak.export.export import export_bundle
from protoleak.export.settings import DEFAULT_CONTRAST, ExportSettings
from protoleak.files import cache_folder, write_whole
from protoleak.metrics.measures import ALL_UNKNOWN
from protoleak.model.checkpoint import load_model
from protoleak.model.latent_encoder import load_latent_encoder
from protoleak.model.light_encoder import LightEncoder
from protoleak.model.loading import usable_workers
from protoleak.progress import shown_progress
from protoleak.strict_json import json_bytes
from protoleak.training.memory import keep_freed_memory
from protoleak.training.settings import TrainingSettings
from protoleak.training.train import train

REFERENCE_FLOP_IMAGE = 256


@dataclass(frozen=True)
class Encoder:
    """One to be measured: its name in the table, and where it is."""

    name: str
    source: str


def measured(encoder: Encoder, options: argparse.Namespace, is_teacher: bool) -> dict[str, Any]:
    """Trains, exports and times one encoder; or reads what an earlier run measured of it with the same options."""
    place = options.out / encoder.name
    file = place / "measured.json"
    loaded = load_latent_encoder(encoder.source, input_range=tuple(options.input_range) if is_teacher else (0.0, 1.0))
    settings = TrainingSettings(
        epochs=options.epochs,
        views=options.views,
        validation_views=0,
        patience=options.epochs,
        seed=options.seed,
        timesteps=tuple(options.timesteps),
    )
    auxiliary = options.zoo / "auxiliary"
    exported = ExportSettings(
        name=encoder.name,
        head=options.head,
        bandwidth=options.density_bandwidth,
        auxiliary=auxiliary if auxiliary.is_dir() else None,
        contrast=options.contrast,
        unknown=options.zoo / "unknown",
    )
    beside = {name: options.zoo / name for name in ("negatives", "auxiliary") if (options.zoo / name).is_dir()}
    what = {
        "fingerprint": loaded.fingerprint,
        "training": msgspec.to_builtins(settings),
        "beside": sorted(beside),
        "per_class": options.per_class,
        "head": options.head,
        "bandwidth": exported.density_bandwidth,
        "contrast": options.contrast,
    }
    known = kept(file, what)
    if known is not None:
        return known
    dataset = reduced(read_dataset(options.zoo / "known", options.real_class), options.per_class, options.seed)
    with shown_progress() as progress:
        train(
            dataset,
            loaded,
            settings,
            place / "model",
            negatives=beside.get("negatives"),
            auxiliary=beside.get("auxiliary"),
            cache=cache_folder("latents"),
            overwrite=True,
            workers=usable_workers(),
            progress=progress,
        )
        export = export_bundle(
            load_model(place / "model"),
            dataset,
            place / "bundle",
            exported,
            progress,
            cache_folder("latents"),
        )
    report = export.report
    open_set = {
        name: found.open_set.auroc.value
        for name, found in report.unknown.items()
        if found.open_set is not None and name != ALL_UNKNOWN
    }
    assert report.closed_set is not None, "the data set has no test images"
    result = {
        "what": what,
        "name": encoder.name,
        "gflop": gflop(encoder.source),
        "correlation_with_teacher": loaded.provenance.get("correlation_mean"),
        "macro_auc": report.closed_set.macro_auc_softmax.value,
        "accuracy": report.closed_set.accuracy.value,
        "open_set_auroc": float(np.mean(list(open_set.values()))),
        "open_set_auroc_per_generator": open_set,
        "test_images": report.closed_set.images,
        "bundle_bytes": report.size,
    }
    file.write_text(json.dumps(result, indent=2) + "\n")
    return result


def kept(file: Path, what: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier run wrote of the same encoder with the same options; None where there is no such run."""
    if not file.is_file():
        return None
    known: dict[str, Any] = json.loads(file.read_text())
    return known if known["what"] == json.loads(json.dumps(what)) else None  # JSON has no tuples


def reduced(dataset: Dataset, per_class: int | None, seed: int) -> Dataset:
    """At most `per_class` training images of each generator; the other splits stay whole."""
    if per_class is None:
        return dataset
    random = np.random.Generator(np.random.Philox(seed))
    kept: list[Sample] = []
    for label in range(len(dataset.generators)):
        of_class = [sample for sample in dataset.train if sample.label == label]
        kept += [of_class[index] for index in sorted(random.permutation(len(of_class))[:per_class])]
    return replace(dataset, train=tuple(kept))


def gflop(source: str) -> float | None:
    """Thousands of millions of floating-point operations of an image of 256×256; None for what is no light encoder."""
    if not (Path(source) / "weights.safetensors").is_file():
        return None
    return LightEncoder.load(Path(source)).config.flops(REFERENCE_FLOP_IMAGE) / 1e9


def timed(bundle: Path, runs: int) -> dict[str, dict[str, float]]:
    """Milliseconds per face, end to end and of the latent encoder alone, per engine; batches of one."""
    report: Report = run_benchmark(
        Bundle.load(bundle),
        BenchmarkSettings(
            engines=(BEST_ENGINE, RUNTIME_ENGINE), computes=("exact", "bf16"), batch_sizes=(1,), runs=runs
        ),
    )
    return {
        row.name: {
            "end_to_end": row.timing.per_face,
            "minimum": row.timing.end_to_end.minimum,
            "latent_encoder": row.timing.stages["latent_encoder"],
        }
        for row in report.rows
        if row.timing is not None
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--zoo", type=Path, required=True, help="folder with known/ and unknown/, negatives/ and auxiliary/"
    )
    parser.add_argument("--real-class", default="real", help="the folder of known/ with camera originals")
    parser.add_argument("--teacher", required=True, help="a latent encoder: the point of reference")
    parser.add_argument(
        "--input-range", type=float, nargs=2, default=(0.0, 1.0), help="of a teacher that is an ONNX file"
    )
    parser.add_argument("--student", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--views", type=int, default=0, help="altered ones of each training image")
    parser.add_argument("--timesteps", type=int, nargs="+", default=[0, 100, 300])
    parser.add_argument("--per-class", type=int, help="training images of each generator at most; left out, all")
    parser.add_argument("--head", default="tied_gaussian")
    parser.add_argument("--density-bandwidth", type=float, help="left out, as protoleak export has it")
    parser.add_argument("--contrast", type=float, default=DEFAULT_CONTRAST, help="with the auxiliary generators")
    parser.add_argument("--runs", type=int, default=30, help="timed faces per engine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="models and bundles")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--html", type=Path, help="write the curves here")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    keep_freed_memory()
    named = [item.split("=", 1) for item in options.student]
    if any(len(item) != 2 for item in named):
        sys.exit("--student: give NAME=DIR, such as 3g=students/3g")
    encoders = [Encoder("teacher", options.teacher), *(Encoder(*item) for item in named)]
    results = [measured(encoder, options, index == 0) for index, encoder in enumerate(encoders)]
    for result in results:  # one after the other, close together: a machine's speed changes with what else it does
        result["milliseconds"] = timed(options.out / result["name"] / "bundle", options.runs)
    machine = describe_machine()
    for result in results:
        engine, best = best_engine(result)
        runtime = result["milliseconds"][f"{RUNTIME_ENGINE} fp32"]["end_to_end"]
        result["targets_met"] = judged(result, results[0])
        print(
            f"{result['name']:>10}: macro AUC {result['macro_auc']:.4f}, open-set {result['open_set_auroc']:.4f}; "
            f"{best:.1f} ms with {engine}, {runtime:.1f} ms with {RUNTIME_ENGINE} fp32; "
            + ", ".join(f"{name} {'met' if met else 'MISSED'}" for name, met in result["targets_met"].items())
        )
    record: dict[str, Any] = {
        "what": "attribution and open-set AUC of each encoder's latents, and milliseconds per face end to end",
        "zoo": options.zoo.name,
        "commit": machine.commit,
        "processor": f"{machine.processor}, {machine.cores} cores",
        "threads": torch.get_num_threads(),
        "machine": machine,
        "targets": {
            "macro_auc_below_teacher": AUC_MARGIN,
            "open_set_auroc_below_teacher": OPEN_SET_MARGIN,
            "best_engine_ms": BEST_ENGINE_MS,
            "onnxruntime_fp32_ms": RUNTIME_MS,
        },
        "notes": [
            f"load average {machine.load_average}: a busy machine makes times worse",
            "open-set AUROC: mean over the generators that no network has seen",
            "end to end: an encoded image in memory to its verdict, one at a time",
        ],
        "encoders": results,
    }
    if options.json:
        write_whole(options.json, [json_bytes(record)])
    if options.html:
        options.html.write_text(html(results, record), encoding="utf-8")


if __name__ == "__main__":
    main()
