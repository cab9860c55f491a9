"""One epoch of descent: every training image that the epoch deals, through the network and into its weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from protoleak.errors import EngineError
from protoleak.model.attributor import Attributor
from protoleak.training.batches import endless
from protoleak.training.inputs import Inputs
from protoleak.training.losses import class_loss, entropy_loss, mixed_negatives, uniform_loss
from protoleak.training.settings import TrainingSettings

LARGEST_GRADIENT_NORM = 5.0  # as published


def train_epoch(
    network: Attributor,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    inputs: Inputs,
    labels: torch.Tensor,
    parts: list[torch.Tensor],
    epoch: int,
    report: Callable[[int, int, str], None],
) -> dict[str, float]:
    """Trains on the images of each part, in turn.

    Args:
        labels: int64 [n], of all training images.
        parts: the batches, each int64 indices of training images.
        epoch: how many epochs are done already, of `settings.epochs`; the learning rate falls with them.
        report: called after every step with its number from 1, of one step more than there are (the last is
            validation's), and the mean loss so far.

    Returns:
        "epoch", from 1, and "training_loss", the mean over the steps.

    Raises:
        EngineError: the loss or its gradient is no longer finite.
    """
    network.train()
    share = settings.negatives_share if len(inputs.negatives) else 0.0
    counts = [math.ceil(share * len(part)) for part in parts]
    negative_order = endless(torch.arange(len(inputs.negatives)), sum(counts))
    total = 0.0
    for step, (part, chosen) in enumerate(zip(parts, torch.split(negative_order, counts), strict=True)):
        done = (epoch + step / len(parts)) / settings.epochs
        for group in optimizer.param_groups:  # a function of the step alone, so that there is no schedule to resume
            group["lr"] = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        loss = _loss(network, settings, inputs, inputs.drawn(part), labels[part], inputs.given(chosen))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT_NORM)
        if not bool(torch.isfinite(loss)) or not bool(torch.isfinite(norm)):
            raise EngineError(
                f"training diverged in epoch {epoch + 1} (loss {float(loss.detach())}, gradient norm "
                f"{float(norm)}): lower the learning rate, now {settings.learning_rate}"
            )
        optimizer.step()
        total += float(loss.detach())
        mean = total / (step + 1)
        report(step + 1, len(parts) + 1, f"loss {mean:.3f}")
    return {"epoch": epoch + 1, "training_loss": total / len(parts)}


def _loss(
    network: Attributor,
    settings: TrainingSettings,
    inputs: Inputs,
    drawn: torch.Tensor,
    labels: torch.Tensor,
    given: torch.Tensor,
) -> torch.Tensor:
    """Everything goes through the network as one batch, so that batch normalisation sees what it will see deployed."""
    count = math.ceil(settings.mixed_share * len(drawn)) if settings.mixed_negatives else 0
    mixed = mixed_negatives(drawn, labels, count)
    images = torch.cat([drawn, mixed, given])
    dropped = dropped_positions(len(images), network.config.timesteps, settings.timestep_dropout)
    h, g = inputs.embedded(network, images, dropped)
    embedding, gate, timestep_weight = network.pool(h, g, dropped)
    class_score = network.class_score(network.prototype_distance(embedding, gate))
    of_class, of_mixed, of_given = torch.split(class_score, [len(drawn), len(mixed), len(given)])
    loss = class_loss(of_class, labels, settings.label_smoothing) + settings.entropy_weight * entropy_loss(
        timestep_weight[: len(drawn)]
    )
    for scores in (of_mixed, of_given):
        if len(scores):
            loss = loss + settings.negatives_weight * uniform_loss(scores)
    return loss


def dropped_positions(images: int, positions: int, share: float) -> torch.Tensor:
    """bool [N, L·T]: the same number of positions, the share of them but never all, for every image.

    The same number, because a library that prepares each convolution for its shape does so anew for every other shape,
    which takes longer than the convolution.
    """
    count = min(round(share * positions), positions - 1)
    ranks = torch.rand(images, positions).argsort(dim=1)
    return ranks < count
