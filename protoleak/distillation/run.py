"""Distils a light latent encoder from a large one: the student learns to give the teacher's latents.

The loss compares latents of random crops at many scales, and in all directions of the latent space alike, so that the
student keeps what is faint too (see `distillation.loss`). How well it does is reported as the correlation with the
teacher, per channel, on images that it never saw. What a student is worth is another question:
`benchmarks/encoders.py` asks how well its latents separate generators, and in what time.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import torch

from protoleak.arrays import Float32Array, UInt8Array
from protoleak.distillation.data import DistillationData
from protoleak.distillation.fit import fit_student, to_unit_range
from protoleak.distillation.loss import DistillationLoss
from protoleak.distillation.settings import DistillationSettings
from protoleak.errors import CheckpointError
from protoleak.files import why_refused
from protoleak.model.light_encoder import WEIGHTS_FILE, LightEncoder, LightEncoderConfig
from protoleak.progress import Progress, no_progress
from protoleak.strict_json import json_bytes
from protoleak.training.provenance import run_hash
from protoleak.training.state import STATE_FILE

REPORT_FILE = "distillation.json"


def distil_student(
    data: DistillationData,
    out: Path,
    settings: DistillationSettings,
    progress: Progress = no_progress,
    resume: bool = False,
) -> dict[str, object]:
    """Trains one student, writes it with its report to `out`, and returns the report.

    Deterministic given the seed, the machine and its number of threads.

    Args:
        data: from `prepare`, with the same view settings.
        resume: go on from the state that an interrupted run left in `out`.

    Raises:
        CheckpointError: `out` holds something else, cannot be written, or its state belongs to another run.
        EngineError: the loss is not finite.
    """
    check_place(out)
    run = run_hash(settings, data.data_hash, data.teacher)
    try:
        if not resume:
            (out / STATE_FILE).unlink(missing_ok=True)
        state_file = out / STATE_FILE
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            student = LightEncoder(
                LightEncoderConfig(int(data.seen.latents.shape[1]), settings.widths, settings.blocks)
            )
        loss = DistillationLoss.of(data.seen.latents, settings.whitening)
        student.latent_mean.copy_(loss.mean)
        student.latent_spread.copy_(loss.spread)
        fitted = fit_student(
            student,
            data.seen,
            loss,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            window=settings.window,
            bfloat16=settings.bfloat16,
            seed=settings.seed,
            run=run,
            state_file=state_file,
            progress=progress,
        )
        correlations = channel_correlations(_encode(student, data.unseen.images), data.unseen.latents)
        report: dict[str, object] = {
            "teacher": data.teacher,
            "settings": msgspec.to_builtins(settings),
            "data_hash": data.data_hash,
            "training_images": data.seen.sources,
            "held_out_images": data.unseen.sources,
            "skipped": data.skipped,
            "parameters": sum(parameter.numel() for parameter in student.parameters()),
            "gflop": round(student.config.flops(settings.image_size) / 1e9, 3),
            "loss_per_epoch": [record["loss"] for record in fitted.curves],
            "correlation_per_channel": [round(value, 4) for value in correlations],
            "correlation_mean": round(float(np.mean(correlations)), 4),
            "correlation_lowest": round(float(np.min(correlations)), 4),
            "seconds": round(fitted.seconds, 1),
        }
        kept = ("teacher", "settings", "data_hash", "gflop", "correlation_mean", "correlation_lowest")
        student.config = msgspec.structs.replace(student.config, provenance={key: report[key] for key in kept})
        student.save(out)
        (out / REPORT_FILE).write_bytes(json_bytes(report))
        state_file.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(f"cannot write the student {out}: {why_refused(error)}") from error
    return report


def check_place(out: Path) -> None:
    """Before any work is spent: `out` is new, empty, an unfinished run, or a student that is replaced."""
    if not out.exists():
        return
    if not out.is_dir() or (
        any(out.iterdir()) and not any((out / name).is_file() for name in (WEIGHTS_FILE, STATE_FILE))
    ):
        raise CheckpointError(f"{out} exists and is not a light encoder: choose another place, or move it away")


def channel_correlations(student: Float32Array, teacher: Float32Array) -> list[float]:
    """Pearson correlation of two latents [n, C, h, w], channel by channel over all images and positions."""
    first = student.astype(np.float64) - student.mean(axis=(0, 2, 3), keepdims=True)
    second = teacher.astype(np.float64) - teacher.mean(axis=(0, 2, 3), keepdims=True)
    covariance = (first * second).sum(axis=(0, 2, 3))
    spread = np.sqrt((first**2).sum(axis=(0, 2, 3)) * (second**2).sum(axis=(0, 2, 3)))
    return [float(value) for value in covariance / np.maximum(spread, np.finfo(np.float64).tiny)]


def _encode(student: LightEncoder, images: UInt8Array) -> Float32Array:
    with torch.no_grad():
        parts = [student(to_unit_range(images[start : start + 16])).numpy() for start in range(0, len(images), 16)]
    return np.concatenate(parts).astype(np.float32)
