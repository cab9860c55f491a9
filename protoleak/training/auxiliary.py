"""Auxiliary generators: trained on as classes of their own, then taken out of what the network names."""

from __future__ import annotations

import msgspec
import torch

from protoleak.model.attributor import Attributor, AttributorConfig
from protoleak.training.inputs import Latents

PROTOTYPES, AUXILIARY_PROTOTYPES = "proto_head.protos", "proto_head.auxiliary"  # in a network's weights


def latents_with_auxiliary(train: Latents, auxiliary: Latents, generators: int) -> Latents:
    """Both sets of latents as one, the auxiliary generators' labels behind those of the classes.

    Args:
        generators: K, how many classes `train` has.
    """
    sources = None
    if train.sources is not None:
        of_auxiliary = torch.zeros_like(auxiliary.labels) if auxiliary.sources is None else auxiliary.sources
        sources = torch.cat([train.sources, of_auxiliary])
    z0 = torch.cat([train.z0, auxiliary.z0])
    return Latents(z0, torch.cat([train.labels, auxiliary.labels + generators]), sources)


def config_with_auxiliary(config: AttributorConfig, auxiliary: Latents) -> AttributorConfig:
    """The network's shape with a class more for each auxiliary generator."""
    return msgspec.structs.replace(config, generators=config.generators + int(auxiliary.labels.max()) + 1)


def named_network(config: AttributorConfig, weights: dict[str, torch.Tensor]) -> Attributor:
    """The network whose classes are those that it names, the prototypes of auxiliary generators kept beside theirs; in
    evaluation mode.

    Args:
        config: of the named classes.
        weights: of a network with the auxiliary generators' classes behind them, if there were any.
    """
    prototypes = weights[PROTOTYPES]
    named, auxiliary = prototypes[: config.generators], prototypes[config.generators :]
    with torch.random.fork_rng(devices=[]):
        network = Attributor(msgspec.structs.replace(config, auxiliary=len(auxiliary)))
    beside = {AUXILIARY_PROTOTYPES: auxiliary} if len(auxiliary) else {}
    network.load_state_dict({**weights, PROTOTYPES: named, **beside})
    return network.eval()
