"""What parts of the method give on real generators: training without each, five seeds.

    python tools/default_bundle/ablations.py --work WORK --latent-encoder ENCODER \\
        --json benchmarks/results/real_ablations.json

WORK is that of build.py, whose cached latents are used. Training is the recipe's but for VIEWS altered views of an
image in place of its eight, which take a third of the time. Every network is measured on the test split, as it is and
in two altered views (balanced accuracy and macro AUC over the known generators and `real`), and on photographs of
sources that no training saw against the known generators of that split (AUROC of the real margin). Nothing is chosen by
it. Rows that the JSON file has already are kept, and not measured again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, its own folder is there instead

from protoleak.cli.settings_file import read_settings
from protoleak.dataset import Sample, auxiliary_images, list_images, read_dataset
from protoleak.environment.machine import describe_machine
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.files import cache_folder
from protoleak.metrics.scores import macro_auc_softmax
from protoleak.model.attributor import Attributor
from protoleak.model.latent_encoder import load_latent_encoder
from protoleak.runtime.conformal import real_margin
from protoleak.training.fit import fit
from protoleak.training.inputs import Latents, Standardisation
from protoleak.training.latents import encode_images
from protoleak.training.noising import Noising
from protoleak.training.settings import TrainingSettings
from protoleak.training.train import DEFAULT_FACE_MODEL
from tools.default_bundle.sources import REAL

SEEDS = range(5)
VIEWS = 3
TEST_VIEWS, TEST_SEED = 2, 1  # another seed than that of the training views
VARIATIONS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "as it is": ({}, {}),
    "t = 0 alone": ({"timesteps": (0,)}, {}),
    "uniform pooling": ({}, {"temporal": "uniform"}),
    "face look alone": ({"looks": ("face",)}, {}),
    "native look alone": ({"looks": ("native",)}, {}),
    "image look alone": ({"looks": ("image",)}, {}),
    "with the low-frequency half": ({"low_frequency_components": 8}, {}),
}
EVALUATED_TOGETHER = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("work", "latent-encoder", "json"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    base = msgspec.structs.replace(read_settings(arguments.work / "train.toml", TrainingSettings), views=VIEWS)
    images = Images(arguments.work, arguments.latent_encoder, base)
    rows = json.loads(arguments.json.read_text())["rows"] if arguments.json.exists() else []
    measured_before = {row["variation"] for row in rows}
    for variation, (changed, network) in VARIATIONS.items():
        if variation in measured_before:
            continue
        settings = msgspec.structs.replace(base, **changed)
        measured = [images.measured(msgspec.structs.replace(settings, seed=seed), network) for seed in SEEDS]
        rows.append(row_of(variation, measured))
        print(in_words(rows[-1]), flush=True)
        record = {
            "what": f"training without parts of the method, {VIEWS} views of an image, seed by seed, on the test split",
            "seeds": len(SEEDS),
            "rows": rows,
        }
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


def row_of(variation: str, measured: Sequence[dict[str, float]]) -> dict[str, object]:
    """What was measured, seed by seed, and by which commit: rows of a file may be of several invocations."""
    return {
        "variation": variation,
        "commit": describe_machine().commit,
        **{name: [round(one[name], 4) for one in measured] for name in measured[0]},
    }


def in_words(row: dict[str, object]) -> str:
    """Mean and standard deviation over the seeds of everything in a row."""
    shown = [
        f"{name} {statistics.mean(of):.3f} ± {statistics.stdev(of):.3f}"
        for name, of in row.items()
        if isinstance(of, list)
    ]
    return f"{row['variation']}: {', '.join(shown)}"


class Images:
    """Everything encoded once, in the looks of the base settings.

    Args:
        work: of build.py.
        latent_encoder: a directory of `protoleak distill`, or an ONNX file.
        base: settings of the recipe.
        input_range: what black and white are to an ONNX file.
    """

    def __init__(
        self,
        work: Path,
        latent_encoder: Path,
        base: TrainingSettings,
        input_range: tuple[float, float] = (0.0, 255.0),
    ) -> None:
        dataset = read_dataset(work / "known", REAL)
        encoder = load_latent_encoder(latent_encoder, input_range=input_range)
        framer = Framer(base.framing, LargestFace(DEFAULT_FACE_MODEL))
        self.base, self.generators = base, dataset.generators
        self.real = dataset.generators.index(REAL)
        counts = np.bincount([sample.label for sample in dataset.train])

        def encoded(paths: Sequence[Path], labels: Sequence[int], views: int | Sequence[int], seed: int) -> Latents:
            found = encode_images(encoder, paths, views, seed, framer, cache_folder("latents"))
            folders = [path.parent.name for path in paths]
            names = sorted(set(folders))
            sources = torch.tensor([names.index(name) for name in folders])
            return Latents(found.z0, torch.tensor(labels)[found.image], sources[found.image])

        def of(samples: Sequence[Sample], views: int | Sequence[int], seed: int) -> Latents:
            return encoded([one.path for one in samples], [one.label for one in samples], views, seed)

        views = [base.views_of(int(counts[one.label]), int(counts.max())) for one in dataset.train]
        self.train = of(dataset.train, views, base.seed)
        self.validation = of(dataset.validation, base.validation_views or 0, base.seed)
        self.test = of(dataset.test, TEST_VIEWS, TEST_SEED)
        photographs = list_images(work / "photographs")
        self.photographs = encoded(photographs, [self.real] * len(photographs), TEST_VIEWS, TEST_SEED)
        parts = [
            encoded(paths, [label] * len(paths), base.views_of(len(paths), int(counts.max())), base.seed)
            for label, paths in enumerate(auxiliary_images(work / "auxiliary", dataset).values())
        ]
        self.auxiliary = Latents(
            torch.cat([part.z0 for part in parts]),
            torch.cat([part.labels for part in parts]),
            torch.cat([part.sources for part in parts if part.sources is not None]),
        )

    def measured(self, settings: TrainingSettings, network: dict[str, object]) -> dict[str, float]:
        """Trains one network, and measures it."""
        chosen = [self.base.looks.index(look) for look in settings.looks]

        def seen(latents: Latents) -> Latents:
            z0 = latents.z0 if settings.looks == self.base.looks else latents.z0[:, chosen]
            return Latents(z0, latents.labels, latents.sources)

        train = seen(self.train)
        shape = (train.z0.shape[2], train.z0.shape[3], train.z0.shape[4])
        noising = Noising.of(settings, shape)
        standardisation = Standardisation.of(train.z0)
        config = msgspec.structs.replace(settings.network(shape, len(self.generators)), **network)
        attributor = fit(
            *(config, settings, noising, train, seen(self.validation), None, "ablation"),
            auxiliary=seen(self.auxiliary),
            standardisation=standardisation,
            real=self.real,
        ).attributor
        scores, weights = outputs(attributor, noising, standardisation, seen(self.test).z0)
        labels = self.test.labels.numpy()
        photographs, _ = outputs(attributor, noising, standardisation, seen(self.photographs).z0)
        margins = real_margin(photographs, self.real), real_margin(scores[labels != self.real], self.real)
        return {
            "balanced_accuracy": float(balanced_accuracy_score(labels, scores.argmax(axis=1))),
            "macro_auc": macro_auc_softmax(labels, scores),
            "auroc_photographs": float(
                roc_auc_score(np.repeat([1, 0], [len(margins[0]), len(margins[1])]), np.concatenate(margins))
            ),
            "heaviest_position": float(weights.mean(axis=0).max()),
        }


def outputs(
    attributor: Attributor, noising: Noising, standardisation: Standardisation, z0: torch.Tensor
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float32]], np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Class scores [n, K] and weights of the positions [n, P] of latents, with the frozen noise."""
    with torch.inference_mode():
        parts = [attributor(noising.with_bank(standardisation(part))) for part in torch.split(z0, EVALUATED_TOGETHER)]
    return (
        torch.cat([part.class_score for part in parts]).numpy(),
        torch.cat([part.timestep_weight for part in parts]).numpy(),
    )


if __name__ == "__main__":
    main()
