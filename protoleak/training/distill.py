"""Distils a light latent encoder from a large one: the student learns to give the teacher's latents.

The loss compares standardised latents of random crops at many scales, so that the student follows its teacher on whole
portraits and on skin texture alike. How well it does is reported as the correlation with the teacher, per channel,
on pictures that it never saw.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch
from torch.nn import functional as F

from protoleak.calibration.dataset import list_images
from protoleak.diffusion import Float32Array
from protoleak.errors import CheckpointError, DatasetError, EngineError, MediaError
from protoleak.model.latent_cache import LatentItem, cached_latents
from protoleak.model.latent_encoder import LatentEncoder, UInt8Array
from protoleak.model.light_encoder import WEIGHTS_FILE, LightEncoder, LightEncoderConfig
from protoleak.training.progress import Progress
from protoleak.training.views import view_sources

REPORT_FILE = "distillation.json"
MINIMUM_IMAGES = 10


class DistillationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a student is made.

    Attributes:
        views: random crops per picture; view 0, the whole picture, comes on top.
        held_out: share of the pictures that only measure.
        precision: of the student's arithmetic in training; "bf16" is several times faster on processors with bfloat16
            instructions and slower on others.
    """

    widths: tuple[int, int, int] = (32, 64, 96)
    blocks: tuple[int, int, int] = (1, 2, 3)
    views: int = 4
    epochs: int = 16
    batch_size: int = 16
    learning_rate: float = 2e-3
    held_out: float = 0.1
    image_size: int = 256
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0


def distil(
    teacher: LatentEncoder,
    folder: Path,
    out: Path,
    settings: DistillationSettings,
    cache: Path | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> dict[str, object]:
    """Trains a LightEncoder against `teacher` on all pictures below `folder`, writes it to `out`, returns the report.

    Deterministic given the seed, the machine and its number of threads. The teacher's latents are cached.

    Raises:
        DatasetError: fewer than ten readable pictures.
        CheckpointError: `out` holds something else, or cannot be written.
        EngineError: the loss is not finite.
    """
    paths = list_images(folder)
    if len(paths) < MINIMUM_IMAGES:
        raise DatasetError(f"{folder} holds {len(paths)} images: distillation needs at least {MINIMUM_IMAGES}")
    _check_place(out)
    order = np.random.Generator(np.random.Philox(settings.seed)).permutation(len(paths))
    held = set(order[: max(2, round(settings.held_out * len(paths)))].tolist())
    training = [path for index, path in enumerate(paths) if index not in held]
    unseen = [path for index, path in enumerate(paths) if index in held]

    seen_images, seen_latents, skipped = _views_and_latents(teacher, training, settings, cache, progress)
    unseen_images, unseen_latents, more_skipped = _views_and_latents(teacher, unseen, settings, cache, progress)
    readable = len(paths) - len(skipped) - len(more_skipped)
    if readable < MINIMUM_IMAGES or len(seen_images) == 0 or len(unseen_images) == 0:
        raise DatasetError(
            f"{folder} holds {readable} readable images of {len(paths)}: distillation needs at least {MINIMUM_IMAGES}, "
            "some of them to train with and some to measure with"
        )

    started = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        student = LightEncoder(LightEncoderConfig(int(seen_latents.shape[1]), settings.widths, settings.blocks))
    student.latent_mean.copy_(torch.from_numpy(seen_latents.mean(axis=(0, 2, 3))))
    student.latent_spread.copy_(torch.from_numpy(seen_latents.std(axis=(0, 2, 3)) + 1e-6))
    losses = _fit(student, seen_images, seen_latents, settings, progress)
    correlations = channel_correlations(_encode(student, unseen_images), unseen_latents)
    report: dict[str, object] = {
        "teacher": teacher.fingerprint,
        "settings": msgspec.to_builtins(settings),
        "training_images": len(training) - len(skipped),
        "held_out_images": len(unseen) - len(more_skipped),
        "skipped": [path.relative_to(folder).as_posix() for path in skipped + more_skipped],
        "parameters": sum(parameter.numel() for parameter in student.parameters()),
        "loss_per_epoch": losses,
        "correlation_per_channel": [round(value, 4) for value in correlations],
        "correlation_mean": round(float(np.mean(correlations)), 4),
        "correlation_lowest": round(float(np.min(correlations)), 4),
        "seconds": round(time.monotonic() - started, 1),
    }
    provenance = {key: report[key] for key in ("teacher", "settings", "correlation_mean", "correlation_lowest")}
    student.config = msgspec.structs.replace(student.config, provenance=provenance)
    try:
        student.save(out)
        (out / REPORT_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    except OSError as error:
        raise CheckpointError(f"cannot write the student {out}: {error.strerror or error}") from error
    return report


def _check_place(out: Path) -> None:
    """Before any work is spent: `out` is new, empty, or a student that is replaced."""
    if out.exists() and not (out.is_dir() and ((out / WEIGHTS_FILE).is_file() or not any(out.iterdir()))):
        raise CheckpointError(f"{out} exists and is not a light encoder: choose another place, or move it away")


def channel_correlations(student: Float32Array, teacher: Float32Array) -> list[float]:
    """Pearson correlation of two latents [n, C, h, w], channel by channel over all pictures and positions."""
    first = student.astype(np.float64) - student.mean(axis=(0, 2, 3), keepdims=True)
    second = teacher.astype(np.float64) - teacher.mean(axis=(0, 2, 3), keepdims=True)
    covariance = (first * second).sum(axis=(0, 2, 3))
    spread = np.sqrt((first**2).sum(axis=(0, 2, 3)) * (second**2).sum(axis=(0, 2, 3)))
    return [float(value) for value in covariance / np.maximum(spread, np.finfo(np.float64).tiny)]


def _fit(
    student: LightEncoder,
    images: UInt8Array,
    latents: Float32Array,
    settings: DistillationSettings,
    progress: Callable[[Progress], None],
) -> list[float]:
    """Minimises the error at the latent's own resolution and, averaged over 2×2 and 4×4 positions, at coarser ones."""
    student = student.train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(student.parameters(), lr=settings.learning_rate, weight_decay=1e-4)
    batches = math.ceil(len(images) / settings.batch_size)
    steps = batches * settings.epochs
    # 5 % of 20 steps is a warm-up of exactly one, by whose length OneCycleLR would divide.
    warm_up = 0.05 if steps > 20 else 0.15
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=steps, pct_start=warm_up
    )
    random = np.random.Generator(np.random.Philox(settings.seed + 1))
    mean, spread = student.latent_mean[:, None, None], student.latent_spread[:, None, None]
    losses: list[float] = []
    for epoch in range(settings.epochs):
        order, total = random.permutation(len(images)), 0.0
        for batch in range(batches):
            chosen = order[batch * settings.batch_size : (batch + 1) * settings.batch_size]
            target = (torch.from_numpy(latents[chosen]) - mean) / spread
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
                predicted = student.standardised(_to_unit_range(images[chosen]))
            error = predicted.float() - target
            loss = error.square().mean()
            loss = loss + F.avg_pool2d(error, 2).square().mean() + F.avg_pool2d(error, 4).square().mean()
            if not torch.isfinite(loss):
                raise EngineError(f"distillation diverged in epoch {epoch + 1}: give a lower learning rate")
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(error.detach().square().mean())
            done = epoch * batches + batch + 1
            progress(Progress("distil", done, steps, loss=total / (batch + 1)))
        losses.append(round(total / batches, 5))
    student.eval()
    return losses


def _to_unit_range(images: UInt8Array) -> torch.Tensor:
    """uint8 [n, S, S, 3] → float32 [n, 3, S, S] in [-1, 1], channels last in memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def _encode(student: LightEncoder, images: UInt8Array) -> Float32Array:
    with torch.no_grad():
        parts = [student(_to_unit_range(images[start : start + 16])).numpy() for start in range(0, len(images), 16)]
    return np.concatenate(parts).astype(np.float32)


def _same(view: UInt8Array) -> UInt8Array:
    return view


def _views_and_latents(
    teacher: LatentEncoder,
    paths: list[Path],
    settings: DistillationSettings,
    cache: Path | None,
    progress: Callable[[Progress], None],
) -> tuple[UInt8Array, Float32Array, list[Path]]:
    """All views of the pictures uint8 [n, S, S, 3], the teacher's latents of them, and the files that can't be read."""
    items: list[LatentItem] = []
    images: list[UInt8Array] = []
    skipped: list[Path] = []
    for path in paths:
        try:
            sources = view_sources(path, settings.views, settings.seed, settings.image_size, 0.0)
            views = [source() for source in sources]
        except MediaError:
            skipped.append(path)
            continue
        items += [LatentItem(source.key, partial(_same, view)) for source, view in zip(sources, views, strict=True)]
        images += views
    total = len(items)
    encoded = cached_latents(teacher, items, cache, progress=lambda done: progress(Progress("teacher", done, total)))
    size = settings.image_size
    pixels = np.stack(images) if images else np.zeros((0, size, size, 3), dtype=np.uint8)
    return pixels, encoded.latents, skipped
