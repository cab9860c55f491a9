"""`protoleak train`: plain options in, a model directory out, with a progress bar on standard error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from protoleak.dataset import read_dataset
from protoleak.files import cache_folder
from protoleak.model.latent_encoder import load_latent_encoder
from protoleak.progress import progress_bar
from protoleak.training.fit import keep_freed_memory
from protoleak.training.settings import TrainingSettings
from protoleak.training.train import REPORT_FILE, train


@dataclass(frozen=True)
class TrainingSummary:
    """What the command prints at the end.

    Attributes:
        epochs: that were trained; best_epoch (from 1) is the one whose weights were kept.
        validation_macro_auc: of that epoch, softmax over generators.
        images: readable ones per split and generator.
        skipped: a line per file that could not be read, with the reason.
    """

    out: Path
    epochs: int
    best_epoch: int
    validation_macro_auc: float
    validation_loss: float
    images: dict[str, dict[str, int]]
    skipped: list[str]
    seconds: float


class _Epoch(msgspec.Struct):
    validation_macro_auc: float
    validation_loss: float


class _Skipped(msgspec.Struct):
    path: str
    reason: str


class _Report(msgspec.Struct):
    images: dict[str, dict[str, int]]
    best_epoch: int
    epochs: list[_Epoch]
    skipped: list[_Skipped]
    seconds: float


def run(
    data: Path,
    latent_encoder: str,
    out: Path,
    settings: TrainingSettings,
    *,
    input_range: tuple[float, float] = (0.0, 1.0),
    scaling: float = 1.0,
    real: str | None = None,
    negatives: Path | None = None,
    auxiliary: Path | None = None,
    cache: Path | None = None,
    resume: bool = False,
    workers: int = 0,
    quiet: bool = False,
) -> TrainingSummary:
    """Reads data and latent encoder, trains, and writes a model.

    Args:
        data: a folder per generator, or WILD's layout.
        latent_encoder: an .onnx file, a directory, or a hub id.
        input_range, scaling: of an .onnx file only.
        real: the folder of camera originals.
        negatives: a folder of images of no class.
        auxiliary: a folder with a folder per generator that is learnt and never named.
        cache: folder of cached latents; None for the user's own.
        resume: go on from an interrupted run in `out`.
        workers: processes that make views of images; 0 for threads.
        quiet: no progress bar.

    Raises:
        ProtoleakError: see `train`.
    """
    keep_freed_memory()
    dataset = read_dataset(data, real)
    encoder = load_latent_encoder(latent_encoder, input_range=input_range, scaling=scaling)
    with progress_bar(hidden=quiet) as progress:
        train(
            dataset,
            encoder,
            settings,
            out,
            negatives=negatives,
            auxiliary=auxiliary,
            cache=cache or cache_folder("latents"),
            resume=resume,
            workers=workers,
            progress=progress,
        )
    report = msgspec.json.decode((out / REPORT_FILE).read_bytes(), type=_Report)
    best = report.epochs[report.best_epoch - 1]
    return TrainingSummary(
        out=out,
        epochs=len(report.epochs),
        best_epoch=report.best_epoch,
        validation_macro_auc=best.validation_macro_auc,
        validation_loss=best.validation_loss,
        images=report.images,
        skipped=[f"{item.path}: {item.reason}" for item in report.skipped],
        seconds=report.seconds,
    )
