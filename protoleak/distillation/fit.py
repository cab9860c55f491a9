"""The loop in which a student learns its teacher's latents."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch

from protoleak.arrays import UInt8Array
from protoleak.distillation.data import Views
from protoleak.distillation.loss import DistillationLoss
from protoleak.errors import EngineError
from protoleak.model.light_encoder import LightEncoder
from protoleak.progress import Progress, no_progress
from protoleak.training.state import TrainingState, load_state, save_state

WARM_UP = 0.05  # share of the steps in which the learning rate rises
LARGEST_GRADIENT_NORM = 1.0


def fit_student(
    student: LightEncoder,
    views: Views,
    loss_of: DistillationLoss,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    window: int | None,
    bfloat16: bool,
    seed: int,
    run: str,
    state_file: Path | None = None,
    progress: Progress = no_progress,
) -> TrainingState:
    """Minimises a distillation loss.

    Args:
        student: trained in place, and left in evaluation mode.
        views: what it sees, and the latents that its teacher gave.
        loss_of: the loss, with the teacher's statistics.
        window: side in pixels, a multiple of 8, of the square of each view that a step is taken on, anywhere on the
            latent's grid; None for the whole view.
        seed: of order and windows.
        run: hash that a state must carry to be gone on from.
        state_file: written after every epoch, and gone on from if it is there. None for no state.

    Returns:
        The state after the last epoch, with the mean standardised error of each in its curves.

    Raises:
        CheckpointError: the state belongs to another run.
        EngineError: the loss is no longer finite.
    """
    student = student.train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(student.parameters(), lr=learning_rate, weight_decay=1e-4)
    # The last weights are the ones that count: there is no validation, so no best epoch and no weights of it.
    state = TrainingState(run, 0, student.state_dict(), optimiser.state_dict(), {}, 0, [], 0.0)
    if state_file is not None and state_file.exists():
        state = load_state(state_file, run)
        student.load_state_dict(state.network)
        optimiser.load_state_dict(state.optimizer)
    batches = math.ceil(len(views.images) / batch_size)
    steps = batches * epochs
    while state.epoch < epochs:
        started = time.monotonic()
        # An epoch's random numbers don't depend on those before it, so that there are none to resume.
        random = np.random.Generator(np.random.Philox(key=np.array([seed, state.epoch], dtype=np.uint64)))
        order, total = random.permutation(len(views.images)), 0.0
        for batch in range(batches):
            chosen = np.sort(order[batch * batch_size : (batch + 1) * batch_size])  # the views lie in a file
            step = state.epoch * batches + batch
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * rate(step, steps)
            images, latents = _windows(views, chosen, window, random)
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                predicted = student.standardised(to_unit_range(images))
            loss, error = loss_of(predicted.float(), latents)
            if not torch.isfinite(loss):
                raise EngineError(f"distillation diverged in epoch {state.epoch + 1}: give a lower learning rate")
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(student.parameters(), LARGEST_GRADIENT_NORM)
            optimiser.step()
            total += float(error)
            progress(f"epoch {state.epoch + 1} of {epochs}", batch + 1, batches, f"error {total / (batch + 1):.4f}")
        state.epoch += 1
        state.curves.append({"epoch": state.epoch, "loss": round(total / batches, 5)})
        state.network, state.optimizer = student.state_dict(), optimiser.state_dict()
        state.seconds += time.monotonic() - started
        if state_file is not None:
            state_file.parent.mkdir(parents=True, exist_ok=True)
            save_state(state_file, state)
    student.eval().to(memory_format=torch.contiguous_format)
    return state


def rate(step: int, steps: int) -> float:
    """The learning rate of a step, from 0, as a share of the highest: a linear rise, then down to 0 along a cosine."""
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def to_unit_range(images: UInt8Array) -> torch.Tensor:
    """uint8 [n, S, S, 3] → float32 [n, 3, S, S] in [-1, 1], channels last in memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def _windows(
    views: Views, chosen: np.ndarray, window: int | None, random: np.random.Generator
) -> tuple[UInt8Array, torch.Tensor]:
    """A square of each chosen view: its pixels uint8 [n, W, W, 3], and its latents float32 [n, C, W/8, W/8]."""
    side = views.latents.shape[-1]
    scale = views.images.shape[1] // side
    if window is None or window >= views.images.shape[1]:
        return np.ascontiguousarray(views.images[chosen]), torch.from_numpy(views.latents[chosen])
    cells = window // scale
    corners = random.integers(side - cells + 1, size=(len(chosen), 2))
    images = np.stack(
        [
            views.images[index, scale * y : scale * y + window, scale * x : scale * x + window]
            for index, (y, x) in zip(chosen, corners, strict=True)
        ]
    )
    latents = np.stack(
        [views.latents[index, :, y : y + cells, x : x + cells] for index, (y, x) in zip(chosen, corners, strict=True)]
    )
    return images, torch.from_numpy(latents)
