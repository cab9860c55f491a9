"""Two `second_order` networks in the place of one: what descent learns, and linear discriminants.

Their class scores add up. Each has hidden units and components of the embedding of its own, together as many as a
network of one solver has, so that the graph keeps its form, size and speed. Gate and attention are those of descent: at
the discriminants' components the gate is 1/2, and what they say of each look and timestep is pooled as the attention
weighs it. Their distance e is the same for all prototypes of a class, so the class score is the sum of both:
τ·logsumexp(−(d + e)/τ) = τ·logsumexp(−d/τ) − e. What descent says is brought to log probabilities (`levelled`): how
far its embedding lies from every class says little of unknown images, and how far the discriminants' lies says much.
docs/decisions/0038-both-solvers.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import torch

from protoleak.errors import ProtoleakError
from protoleak.model.attributor import Attributor, AttributorConfig

# Where a weight of both is put together along the first dimension, the last, or as blocks with nothing beside them.
UNITS = ("hidden.weight", "hidden.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")
COMPONENTS = ("out.bias", "gate.0.bias", "gate.2.bias", "proto_head.protos", "temporal_pool.query.weight")
BLOCKS = ("out.weight", "gate.0.weight", "gate.2.weight")
# Of all class scores, in the network that both make. Sums of two log odds are too sure of images of no class: shares of
# softer ones tell unknown generators better, and which class is nearest stays.
SOFTNESS = 0.5
# Weights that take distances' root along, and those that take embeddings of this size.
ROOTS, INVERSE_ROOTS = ("out.weight", "out.bias", "protos"), ("gate.0.weight", "query.weight")


@dataclass(frozen=True)
class Shares:
    """What each of the two has of a network.

    Attributes:
        whole, descent, discriminants: their shapes, with auxiliary classes among the `generators`.
    """

    whole: AttributorConfig
    descent: AttributorConfig
    discriminants: AttributorConfig

    @classmethod
    def of(cls, whole: AttributorConfig) -> Shares:
        """The discriminants get what they need, descent the rest.

        Raises:
            ProtoleakError: nothing would be left for descent.
        """
        directions = whole.generators - 1
        hidden, components = 2 * directions, directions * whole.timesteps
        if components >= whole.embedding_size:
            raise ProtoleakError(
                f"embedding_size is {whole.embedding_size}: of solver both, the discriminants alone take {directions} "
                f"components for each of {whole.timesteps} looks × timesteps, give embedding_size = {2 * components}"
            )
        if hidden >= whole.hidden:
            raise ProtoleakError(
                f"solver both has room for {whole.hidden // 2} classes, auxiliary ones included, and there are "
                f"{whole.generators}: use solver descent"
            )
        return cls(
            whole,
            _with(whole, whole.hidden - hidden, whole.embedding_size - components),
            _with(whole, hidden, components),
        )

    def join(self, descent: Mapping[str, torch.Tensor], discriminants: Mapping[str, torch.Tensor]) -> Attributor:
        """The whole network, in evaluation mode, of the weights of both, which take the same statistics."""
        weights = {name: _softened(name, _joined(name, one, discriminants[name])) for name, one in descent.items()}
        network = Attributor(self.whole)
        network.load_state_dict(weights)
        return network.eval()


def _with(config: AttributorConfig, hidden: int, components: int) -> AttributorConfig:
    return msgspec.structs.replace(config, hidden=hidden, embedding_size=components)


def _joined(name: str, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    if name.endswith(BLOCKS):
        joined = first.new_zeros(first.shape[0] + second.shape[0], first.shape[1] + second.shape[1])
        joined[: first.shape[0], : first.shape[1]] = first
        joined[first.shape[0] :, first.shape[1] :] = second
        return joined
    if name.endswith(UNITS):
        return torch.cat([first, second])
    if name.endswith(COMPONENTS):
        return torch.cat([first, second], dim=-1)
    return first  # the standardisation is the same in both; what else there is, the discriminants make no use of


def _softened(name: str, weight: torch.Tensor) -> torch.Tensor:
    """The weight of a network whose distances and class scores are SOFTNESS times those that it would have."""
    if name.endswith(ROOTS):
        return weight * math.sqrt(SOFTNESS)
    if name.endswith(INVERSE_ROOTS):
        return weight / math.sqrt(SOFTNESS)
    return weight + math.log(SOFTNESS) if name.endswith("log_tau") else weight
