"""Which latents make up each batch of an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch


def balanced_order(labels: torch.Tensor, count: int) -> torch.Tensor:
    """`count` indices in which every class comes equally often (to within one), whatever its size: int64 [count].

    Classes take turns in random order, and a class deals its latents in random order, all before any comes again.
    Drawn from torch's global generator.
    """
    classes = torch.unique(labels)
    rounds = -(-count // len(classes))
    turns = torch.cat([torch.randperm(len(classes)) for _ in range(rounds)])[:count]
    order = torch.empty(count, dtype=torch.int64)
    for position, label in enumerate(classes.tolist()):
        turn = turns == position
        order[turn] = endless(torch.nonzero(labels == label).squeeze(1), int(turn.sum()))
    return order


def endless(indices: torch.Tensor, count: int) -> torch.Tensor:
    """`count` of the indices, in random order, all before any comes again: int64 [count]."""
    if count == 0:
        return indices[:0]
    rounds = -(-count // len(indices))
    return torch.cat([indices[torch.randperm(len(indices))] for _ in range(rounds)])[:count]


def batches(order: torch.Tensor, batch_size: int) -> Iterator[torch.Tensor]:
    """Consecutive parts of `order`. A last part of a single index joins the one before it, for batch normalisation."""
    parts = list(torch.split(order, batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    yield from parts
