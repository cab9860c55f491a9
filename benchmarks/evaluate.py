"""What a model is worth on the zoo, and whether the method's parts earn their place.

The bundle is evaluated as `protoleak evaluate` does it. With --ablations the parts are then taken away one at a time:
with "switched" from the trained network at test time (minutes), with "retrained" by short trainings of their own on
the latents of the images as deployed, all with the same settings and seed: compare these with one another only.

    python benchmarks/evaluate.py BUNDLE --model MODEL --data ZOO/known --unknown ZOO/unknown \\
        --photographs PHOTOGRAPHS --auxiliary ZOO/auxiliary --ablations switched,retrained --epochs 4 \\
        --json benchmarks/results/evaluation.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

from benchmarks.ablations.judge import Judge
from benchmarks.ablations.latents import encode
from benchmarks.ablations.results import Row
from benchmarks.ablations.run import retrained, switched
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.reader import FACE_DETECTOR
from protoleak.choices import HEAD_KINDS, HeadKind
from protoleak.dataset import read_dataset
from protoleak.environment.machine import Machine, describe_machine
from protoleak.errors import CheckpointError, DatasetError, ProtoleakError
from protoleak.evaluation.images import read_images
from protoleak.evaluation.results import Report
from protoleak.evaluation.run import evaluate_bundle
from protoleak.evaluation.settings import EvaluationSettings
from protoleak.evaluation.tables import accused_line, brief, estimate
from protoleak.export.images import in_order_of
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.files import cache_folder, write_whole
from protoleak.images.perturbations import OPERATORS
from protoleak.metrics.intervals import Resamples
from protoleak.model.checkpoint import TrainedModel, load_model
from protoleak.strict_json import json_bytes
from protoleak.training.memory import keep_freed_memory
from protoleak.training.settings import TrainingSettings

ABLATIONS = ("none", "switched", "retrained")


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What this script writes.

    Attributes:
        evaluation: of the bundle, real faces accused first; None where it was left out.
        head: of all rows that name no other.
        epochs, training: of the short trainings; None where there were none.
    """

    evaluation: Report | None
    machine: Machine
    bundle_sha256: str
    model: str
    seed: int
    alpha: float
    head: str
    ablations: list[Row]
    epochs: int | None
    training: TrainingSettings | None
    notes: list[str]


def main() -> None:
    keep_freed_memory()
    try:
        run(parse_arguments())
    except ProtoleakError as error:
        raise SystemExit(f"error: {error}") from error


def run(arguments: argparse.Namespace) -> None:
    wanted = arguments.ablations.split(",")
    strange = set(wanted) - set(ABLATIONS)
    if strange:
        raise SystemExit(f"--ablations {arguments.ablations}: choose from {', '.join(ABLATIONS)}")
    bundle = Bundle.load(arguments.bundle)
    alpha = bundle.manifest.alpha if arguments.alpha is None else arguments.alpha
    settings = EvaluationSettings(
        data=arguments.data,
        unknown=arguments.unknown,
        photographs=arguments.photographs,
        split="test",
        engine=arguments.engine,
        alpha=alpha,
        operators=() if arguments.no_operators else tuple(OPERATORS),
        images_per_class=arguments.images,
        resamples=arguments.bootstrap,
        seed=arguments.seed,
    )
    evaluation = None
    if not arguments.no_evaluation:
        evaluation = evaluate_bundle(bundle, settings, show)
        for variant in evaluation.variants:
            print(f"\nreal faces accused ({variant.variant})  {accused_line(variant)}", flush=True)
    results = Results(
        evaluation=evaluation,
        machine=describe_machine(),
        bundle_sha256=bundle.sha256,
        model=arguments.model.resolve().name if arguments.model else "none",
        seed=arguments.seed,
        alpha=alpha,
        head=bundle.manifest.head,
        ablations=[],
        epochs=None,
        training=None,
        notes=[],
    )
    write(results, arguments.json)
    if {"switched", "retrained"} & set(wanted):
        results = msgspec.structs.replace(results, notes=NOTES)
        for row, training in ablate(bundle, settings, arguments, wanted):
            print_row(row)
            results = msgspec.structs.replace(
                results,
                ablations=[*results.ablations, row],
                epochs=None if training is None else training.epochs,
                training=training,
            )
            write(results, arguments.json)


def write(results: Results, path: Path | None) -> None:
    """After every row, so that an interruption keeps those that are there."""
    if path is not None:
        write_whole(path, [json_bytes(results)])


NOTES = [
    "rows are measured on the PyTorch network's embeddings of the test split, unknown generators and real photographs, "
    "with head, open-set rule and conformal thresholds fitted anew for each",
    "what is switched at test time was there in training, so the loss shows what the trained weights lean on, not what "
    "a network would be that never had it; rows that are trained again show that",
    "short trainings see the images as deployed only, without views and without a folder of negatives: compare them "
    "with one another, not with the trained model",
]


def ablate(
    bundle: Bundle, settings: EvaluationSettings, arguments: argparse.Namespace, wanted: Sequence[str]
) -> Iterator[tuple[Row, TrainingSettings | None]]:
    """All rows that are wanted, each with the settings of the short training that it is from."""
    if arguments.model is None:
        raise SystemExit("--ablations needs --model, the directory that the bundle was exported from")
    model = load_model(arguments.model)
    manifest = bundle.manifest
    if manifest.provenance.get("model") != model.config.provenance:
        raise CheckpointError(f"{arguments.model} is another model than the bundle's: give the one it came from")
    if manifest.density.contrast > 0 and arguments.auxiliary is None:
        raise SystemExit("--ablations needs --auxiliary, the generators that the bundle's density is contrasted with")
    head = known_head(manifest.head)
    dataset = in_order_of(manifest.generators, read_dataset(arguments.data, manifest.real_class))
    images = read_images(manifest, settings).all
    framing = model.config.framing
    find = LargestFace(arguments.bundle / FACE_DETECTOR) if framing.needs_face else None
    encoded = encode(
        model,
        dataset,
        images,
        Framer(framing, find),
        arguments.cache,
        show,
        arguments.auxiliary,
    )
    if not len(encoded.splits["calibration"].labels):
        raise DatasetError(f"{settings.data} has no calibration image: thresholds cannot be fitted")
    resamples = Resamples([image.source for image in encoded.images], settings.resamples, settings.seed)
    judge = Judge(manifest, encoded, resamples, manifest.alpha if settings.alpha is None else settings.alpha)
    if "switched" in wanted:
        for row in switched(model, judge, encoded, head):
            yield row, None
    if "retrained" in wanted:
        training = short_training(model, arguments.epochs, arguments.seed)
        for row in retrained(training, judge, encoded, head, show):
            yield row, training


def known_head(name: str) -> HeadKind:
    for kind in HEAD_KINDS:
        if kind == name:
            return kind
    raise CheckpointError(f"the bundle has the head {name!r}, which is none of {', '.join(HEAD_KINDS)}")


def short_training(model: TrainedModel, epochs: int, seed: int) -> TrainingSettings:
    """The model's own shape with so many epochs, and no early end."""
    network, config = model.attributor.config, model.config
    return TrainingSettings(
        backbone=network.backbone,
        embedding_size=network.embedding_size,
        prototypes_per_generator=network.prototypes_per_generator,
        timesteps=tuple(config.timesteps),
        low_frequency_components=config.low_frequency_components,
        image_size=config.image_size,
        looks=config.looks,
        face_margin=config.face_margin,
        equal_amplitudes=config.amplitudes is not None,
        views=0,
        epochs=epochs,
        patience=epochs,
        seed=seed,
        noise_seed=config.noise_seed,
    )


def show(name: str, done: int, total: int, _: str = "", /) -> None:
    if sys.stderr.isatty():
        print(f"\r{name} {done}/{total}\033[K", end="\n" if done == total else "", file=sys.stderr, flush=True)


def print_row(row: Row) -> None:
    what = f"{row.part}: {row.change} ({row.how})"
    if row.error is not None or row.macro_auc_softmax is None or row.accuracy is None:
        print(f"{what:<80} failed: {row.error}", flush=True)
        return
    numbers = [f"AUC {estimate(row.macro_auc_softmax)}", f"top-1 {estimate(row.accuracy)}"]
    if row.auroc_unknown is not None:
        numbers.append(f"unknown {estimate(row.auroc_unknown)}")
    if row.real_accused is not None:
        numbers.append(f"real accused {brief(row.real_accused)}")
    print(f"{what:<80} {'  '.join(numbers)}", flush=True)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--model", type=Path, help="the model directory that the bundle was exported from")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--unknown", type=Path)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--auxiliary", type=Path, help="generators that the model learnt and never names")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--alpha", type=float, help="left out, the bundle's")
    parser.add_argument("--images", type=int, default=20, help="per class, through every operator")
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-evaluation", action="store_true", help="ablations alone")
    parser.add_argument("--no-operators", action="store_true", help="without robustness")
    parser.add_argument("--ablations", default="switched", help=f"some of {', '.join(ABLATIONS)}, with commas between")
    parser.add_argument("--epochs", type=int, default=4, help="of each short training")
    parser.add_argument("--cache", type=Path, default=cache_folder("latents"), help="of latents")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
