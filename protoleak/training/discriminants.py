"""The weights of a `second_order` network without descent: linear discriminants of whitened statistics.

Whitened within classes, statistics are normal with the identity for their covariance as far as anything is known of
them; the log odds of two classes are then linear, and depend on where an image lies between the classes' means alone
(Fisher 1936; Fukunaga 1990, chapter 10). All of that fits into the network as it is: a pair of hidden units of opposite
signs is a linear function, each position writes into components of the embedding that are its own, the attention and
the gate are the same for all, and the classes' means are the prototypes. docs/decisions/0036-discriminants.md tells why
this is better than descent where a class has some hundred images.
"""

from __future__ import annotations

import torch
from torch import nn

from protoleak.errors import ProtoleakError
from protoleak.model.attributor import Attributor, AttributorConfig
from protoleak.model.second_order import SecondOrderEncoder
from protoleak.training.inputs import StatisticsInputs

# Of the log odds that normal distributions would give, in the class scores. They are softer than the best log
# probabilities, which a calibrated temperature makes of them: shares of sharper ones are near 1 for unknown images too.
SHARPNESS = 1 / 8
GATE = 0.5  # the sigmoid of 0


def set_discriminants(
    network: Attributor,
    inputs: StatisticsInputs,
    labels: torch.Tensor,
    shares: torch.Tensor,
) -> None:
    """Sets all weights of a network, in place, to those of the discriminants; it takes whitened statistics then.

    Class scores are −SHARPNESS/2 times the squared distance to the class's mean, averaged over looks × timesteps.

    Args:
        network: freshly made, of backbone `second_order`.
        labels: int64 [n], of the training images, auxiliary classes' behind those of the named.
        shares: float32 [n], how much each training image counts; they sum to 1.

    Raises:
        ProtoleakError: the embedding, or the encoder's hidden layer, has no room for so many classes.
    """
    config = network.config
    directions = config.generators - 1
    _check_room(directions, config)
    encoder = network.backbone.encoder
    assert isinstance(encoder, SecondOrderEncoder)
    network.eval()
    scale = (SHARPNESS / 2 / config.timesteps / (GATE if config.gate else 1.0)) ** 0.5
    with torch.no_grad():
        for parameter in network.parameters():  # the gate is 1/2 everywhere, the weights of all positions are the same
            parameter.zero_()
        for position, head in enumerate(encoder.heads):
            of_position = inputs.train[:, position]
            means = torch.stack([_mean(of_position, labels == label, shares) for label in range(config.generators)])
            centre = means.mean(dim=0)
            _, _, axes = torch.linalg.svd(means - centre, full_matrices=False)
            axes = axes[:directions]
            place = position * directions
            _set_linear(head, axes, centre, place, scale * config.timesteps)  # the pool takes the mean
            network.prototypes[:, :, place : place + directions] = scale * ((means - centre) @ axes.T)[:, None]


def _check_room(directions: int, config: AttributorConfig) -> None:
    needed = config.timesteps * directions
    if config.embedding_size < needed:
        raise ProtoleakError(
            f"embedding_size is {config.embedding_size}: solver discriminants needs {directions} components for each "
            f"of {config.timesteps} looks × timesteps, give embedding_size = {needed} or more"
        )
    if 2 * directions > config.hidden:
        raise ProtoleakError(
            f"solver discriminants has room for {config.hidden // 2 + 1} classes, auxiliary ones included, and there "
            f"are {directions + 1}: use solver descent"
        )


def _mean(statistics: torch.Tensor, of_class: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    weights = shares[of_class]
    return weights @ statistics[of_class] / weights.sum()


def _set_linear(head: nn.Module, axes: torch.Tensor, centre: torch.Tensor, place: int, scale: float) -> None:
    """Has a head write coordinates of statistics along `axes`, from `centre`, into the embedding from `place` on."""
    norm = head.get_submodule("norm")
    hidden, out = head.get_submodule("hidden"), head.get_submodule("out")
    assert isinstance(norm, nn.BatchNorm1d)
    assert isinstance(hidden, nn.Linear)
    assert isinstance(out, nn.Linear)
    assert norm.running_var is not None
    norm.running_var.fill_(1 - norm.eps)
    norm.weight.fill_(1.0)
    for index, axis in enumerate(axes):
        for unit, sign in ((2 * index, 1.0), (2 * index + 1, -1.0)):
            hidden.weight[unit] = sign * axis
            hidden.bias[unit] = -sign * (axis @ centre)
            out.weight[place + index, unit] = sign * scale
