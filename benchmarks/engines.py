"""How fast the CPU engines are with a latent encoder of Stable Diffusion 2.1's size, beside eager PyTorch.

The weights are random: this measures speed and nothing else. Whether int8 gives fp32's verdicts is what the gate of
`protoleak export` finds out, with a real model and its images.

    python benchmarks/engines.py --json benchmarks/results/engines.json

It takes ten minutes and more on two cores; --runs and --batch-sizes make it shorter.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from protoleak.bench.inputs import drawn_images
from protoleak.bench.results import Report, Row
from protoleak.bench.run import run_benchmark
from protoleak.bench.settings import BenchmarkSettings
from protoleak.bench.tables import ROW_COLUMNS, STAGE_COLUMNS, facts, row_cells, stage_cells
from protoleak.bundle import manifest as manifests
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.calibration import Calibration
from protoleak.bundle.reader import NOISE_BANK, PROTOTYPES
from protoleak.bundle.report import BundleReport
from protoleak.bundle.writer import array_bytes, write_bundle
from protoleak.calibration.density import DensityModel
from protoleak.calibration.heads import PrototypeHead
from protoleak.choices import BackboneKind
from protoleak.export.density_module import DensityModule
from protoleak.export.graphs import DeployedAttributor, export_attributor, export_latent_encoder
from protoleak.export.head_modules import HeadModule
from protoleak.export.precisions.int8 import Quantiser
from protoleak.files import write_whole
from protoleak.images.open import open_image
from protoleak.images.preprocess import preprocess
from protoleak.model.attributor import Attributor, AttributorConfig
from protoleak.model.checkpoint import TrainedModel, load_model, save_model
from protoleak.model.latent_encoder import load_latent_encoder
from protoleak.model.model_config import LatentEncoderRecord, ModelConfig
from protoleak.strict_json import json_bytes

GENERATORS = 10
EMBEDDING, PER_GENERATOR, COMPONENTS = 128, 6, 8
TIMESTEPS = (0, 100, 300, 500, 700)
REFERENCES = 2000  # training images in the density
FASTER_THAN_PYTORCH, OUTSIDE_MS, LEVEL = 4.0, 3.0, 1.05
ENCODER_MS = {"openvino int8": 450.0, "openvino fp32 in bf16": 750.0}


class Size(NamedTuple):
    """Of the made-up model; the defaults are Stable Diffusion 2.1's encoder and a ResNet-18."""

    widths: tuple[int, ...] = (128, 256, 512, 512)
    blocks: int = 2
    groups: int = 32
    image_size: int = 256
    backbone: BackboneKind = "resnet18"


def random_model(folder: Path, size: Size) -> Path:
    """Writes a model directory with random weights and returns its path."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    made_with: Any = AutoencoderKL  # diffusers has no types
    autoencoder = made_with(
        down_block_types=["DownEncoderBlock2D"] * len(size.widths),
        up_block_types=["UpDecoderBlock2D"] * len(size.widths),
        block_out_channels=list(size.widths),
        layers_per_block=size.blocks,
        norm_num_groups=size.groups,
        latent_channels=4,
    )
    autoencoder.save_pretrained(folder / "autoencoder")
    encoder = load_latent_encoder(str(folder / "autoencoder"))
    shape = encoder.latent_shape(size.image_size)
    attributor = AttributorConfig(
        backbone=size.backbone,
        in_channels=2 * shape[0],
        embedding_size=EMBEDDING,
        generators=GENERATORS,
        prototypes_per_generator=PER_GENERATOR,
        timesteps=len(TIMESTEPS),
    )
    config = ModelConfig(
        generators=[f"generator {index}" for index in range(GENERATORS)],
        image_size=size.image_size,
        timesteps=list(TIMESTEPS),
        latent_shape=shape,
        attributor=attributor,
        latent_encoder=LatentEncoderRecord(encoder.kind, encoder.fingerprint),
        low_frequency_components=min(COMPONENTS, *shape[1:]),
    )
    save_model(folder / "model", TrainedModel(config, Attributor(attributor).eval(), encoder))
    return folder / "model"


def random_bundle(folder: Path, model: TrainedModel) -> Path:
    """Writes the bundle of such a model, fp32 and int8, with a density and a calibration that mean nothing."""
    config = model.config
    generator = np.random.default_rng(0)
    references = generator.standard_normal((REFERENCES, EMBEDDING))
    density = DensityModel("whitened", np.zeros(EMBEDDING), np.eye(EMBEDDING), references, 1.0, 1.0)
    deployed = DeployedAttributor(model.attributor, HeadModule(PrototypeHead()), DensityModule(density)).eval()
    example = torch.zeros(2, len(TIMESTEPS), model.attributor.config.in_channels, *config.latent_shape[1:])
    encoder = export_latent_encoder(model.latent_encoder, config.image_size)
    attributor = export_attributor(deployed, example)
    pixels = [preprocess(open_image(image).image, config.image_size) for image in drawn_images(2)]
    quantiser = Quantiser(encoder, "latent_encoder", ({"image": each[None]} for each in pixels), "minmax")
    calibration = Calibration(np.linspace(-500, 0, 100), tuple(np.zeros(0) for _ in range(GENERATORS)), 1.0).to_bytes()
    manifest = manifests.Manifest(
        schema_version=manifests.SCHEMA_VERSION,
        name="random weights, for speed only",
        created="2025-01-01T00:00:00Z",
        generators=config.generators,
        real_class=None,
        preprocessing=manifests.Preprocessing(config.image_size),
        schedule=config.schedule,
        timesteps=config.timesteps,
        noise_seed=config.noise_seed,
        low_frequency=manifests.LowFrequency(config.low_frequency_components or 1),
        latent_shape=config.latent_shape,
        embedding_size=EMBEDDING,
        prototypes_per_generator=PER_GENERATOR,
        head="prototype",
        density=manifests.Density("whitened", 1.0, 1.0, REFERENCES),
        provenance={"latent_encoder": msgspec.to_builtins(config.latent_encoder)},
        variants=["fp32", "int8"],
        files={},
    )
    prototypes = model.attributor.prototypes.detach().numpy()
    files = {NOISE_BANK: array_bytes(config.noise_bank()), PROTOTYPES: array_bytes(prototypes)}
    for name, graph in (("fp32", encoder), ("int8", quantiser.quantised(quantiser.layers))):
        files |= {
            f"variants/{name}/latent_encoder.onnx": graph,
            f"variants/{name}/attributor.onnx": attributor,
            f"variants/{name}/calibration.npz": calibration,
            f"variants/{name}/report.json": BundleReport(variant=name, alpha=0.05).to_json(),
        }
    write_bundle(folder / "bundle", manifest, files)
    return folder / "bundle"


def measured(folder: Path, size: Size, settings: BenchmarkSettings) -> Report:
    """Makes the model and its bundle in `folder` and measures both: PyTorch at batch 1 alone, which is what the target
    is about, and larger batches without it and with a third of the runs, or it would take an hour."""
    model = random_model(folder, size)
    bundle = Bundle.load(random_bundle(folder, load_model(model)))
    first = run_benchmark(bundle, replace(settings, batch_sizes=(1,), baseline_model=model), show)
    larger = tuple(batch for batch in settings.batch_sizes if batch > 1)
    if not larger:
        return first
    rest = run_benchmark(bundle, replace(settings, batch_sizes=larger, runs=max(2, settings.runs // 3)), show)
    return msgspec.structs.replace(first, rows=first.rows + rest.rows)


def show(name: str, done: int, total: int, _: str = "", /) -> None:
    if done < total:
        print(f"{done + 1} of {total}: {name}", file=sys.stderr)


def targets(rows: Sequence[Row]) -> list[tuple[str, float, str, bool]]:
    """Each target: what, the number, the limit in words, whether it is met."""
    timed = {(row.name, row.batch): row for row in rows if row.timing is not None}
    found = []
    ratios = {
        name: row.baseline.end_to_end_ratio for (name, batch), row in timed.items() if batch == 1 and row.baseline
    }
    if ratios:
        best = max(ratios, key=lambda name: ratios[name])
        what = f"times faster than eager PyTorch end to end: {best}"
        found.append((what, ratios[best], f"≥ {FASTER_THAN_PYTORCH:g}", ratios[best] >= FASTER_THAN_PYTORCH))
    for (name, batch), row in timed.items():
        if row.timing is None or not name.startswith(("openvino", "onnxruntime")):
            continue
        if batch == 1:
            outside = row.timing.outside_engines
            found.append((f"ms outside the engines: {name}", outside, f"≤ {OUTSIDE_MS:g}", outside <= OUTSIDE_MS))
            if name in ENCODER_MS:
                spent, limit = row.timing.stages["latent_encoder"], ENCODER_MS[name]
                found.append((f"ms in the latent encoder: {name}", spent, f"≤ {limit:g}", spent <= limit))
        alone = timed.get((name, 1))
        if batch > 1 and alone is not None and alone.timing is not None:
            share = row.timing.per_face / alone.timing.per_face
            found.append(
                (f"cost per face in a batch of {batch} over one: {name}", share, f"≤ {LEVEL:g}", share <= LEVEL)
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch-sizes", default="1,4,16")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    settings = BenchmarkSettings(
        computes=("exact", "bf16"),
        batch_sizes=tuple(int(part) for part in options.batch_sizes.split(",")),
        runs=options.runs,
        warm_up=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        report = measured(Path(folder), Size(), settings)
    console = Console(highlight=False, width=max(170, int(os.environ.get("COLUMNS", "0"))))
    for name, value in facts(report):
        console.print(f"{name}: {value}", markup=False, soft_wrap=True)
    whole, stages = Table(*ROW_COLUMNS, box=None), Table("ms per face", "batch", *STAGE_COLUMNS, box=None)
    for row in report.rows:
        if row.error is None:
            whole.add_row(*row_cells(row))
            stages.add_row(row.name, str(row.batch), *stage_cells(row))
        else:
            console.print(f"failed: {row.name}, batch {row.batch}: {row.error}", markup=False, soft_wrap=True)
    console.print(whole, stages, sep="\n")
    console.print("targets (random weights: speed only; whether int8 keeps the verdicts is the export's gate)")
    for what, number, limit, met in targets(report.rows):
        console.print(f"  {'met   ' if met else 'MISSED'} {what}: {number:.2f} ({limit})", markup=False, soft_wrap=True)
    if options.json:
        write_whole(options.json, [json_bytes(report)])


if __name__ == "__main__":
    main()
