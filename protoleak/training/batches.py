"""Which latents make up each batch of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch


def balanced_order(
    labels: torch.Tensor, count: int, sources: torch.Tensor | None = None, turns_of: Mapping[int, int] | None = None
) -> torch.Tensor:
    """`count` indices in which every class comes equally often (to within one), whatever its size: int64 [count].

    Classes take turns in random order; within a class its sources do; and a source deals its latents in random order,
    all before any comes again. Drawn from torch's global generator.

    Args:
        labels: int64 [n].
        sources: int64 [n], the collection that each latent comes from; None for one per class.
        turns_of: label → how many turns that class has in each round, where it isn't one.
    """
    classes = torch.unique(labels)
    turns_each = torch.tensor([(turns_of or {}).get(label, 1) for label in classes.tolist()])
    per_round = torch.repeat_interleave(torch.arange(len(classes)), turns_each)
    rounds = -(-count // len(per_round))
    turns = torch.cat([per_round[torch.randperm(len(per_round))] for _ in range(rounds)])[:count]
    order = torch.empty(count, dtype=torch.int64)
    for position, label in enumerate(classes.tolist()):
        turn, of_class = turns == position, torch.nonzero(labels == label).squeeze(1)
        wanted = int(turn.sum())
        if sources is None:
            order[turn] = endless(of_class, wanted)
        elif wanted:
            inner = balanced_order(sources[of_class], wanted)
            order[turn] = of_class[inner]
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
