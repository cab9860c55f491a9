"""The terms that training minimises."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

LOWEST_MIX, HIGHEST_MIX = 0.3, 0.7


def class_loss(class_score: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Cross entropy of the class scores [N, K] as logits; the real class counts as any other.

    Args:
        smoothing: share of the target that is spread over all classes.
    """
    return F.cross_entropy(class_score, labels, label_smoothing=smoothing)


def entropy_loss(timestep_weight: torch.Tensor) -> torch.Tensor:
    """mean(log T − H(w)) of weights [N, T]: 0 for equal weights, log T for a single timestep. As published."""
    timesteps = timestep_weight.shape[1]
    entropy = -torch.xlogy(timestep_weight, timestep_weight.clamp_min(1e-12)).sum(dim=1)
    return (math.log(timesteps) - entropy).mean()


def uniform_loss(class_score: torch.Tensor) -> torch.Tensor:
    """Cross entropy to the uniform target, of scores [N, K] of images that belong to no class (outlier exposure)."""
    return -F.log_softmax(class_score, dim=1).mean()


def mixed_negatives(z0: torch.Tensor, labels: torch.Tensor, count: int) -> torch.Tensor:
    """Latents, or statistics, that belong to no class: interpolations of two images of different classes of a batch.

    Args:
        z0: float32 [N, …].
        labels: int64 [N].
        count: how many to make.

    Returns:
        float32 [count, …], the share of the first image being uniform in 0.3…0.7; empty where the batch has
        one class only. Drawn from torch's global generator.
    """
    if count == 0 or bool((labels == labels[0]).all()):
        return z0[:0]
    first = torch.randint(len(z0), (count,))
    same_class = labels[first][:, None] == labels[None, :]
    second = torch.rand(same_class.shape).masked_fill(same_class, -1.0).argmax(dim=1)
    share = torch.empty(count, *[1] * (z0.dim() - 1)).uniform_(LOWEST_MIX, HIGHEST_MIX)
    return torch.lerp(z0[second], z0[first], share)
