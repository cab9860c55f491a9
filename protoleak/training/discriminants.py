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
from protoleak.model.attributor import Attributor
from protoleak.model.second_order import HIDDEN, SecondOrderEncoder
from protoleak.training.inputs import StatisticsInputs
from protoleak.training.losses import class_loss

LOWEST_SCALE, HIGHEST_SCALE, SCALES = 1e-4, 10.0, 101


def set_discriminants(
    network: Attributor,
    inputs: StatisticsInputs,
    labels: torch.Tensor,
    shares: torch.Tensor,
    validation_labels: torch.Tensor,
    named: int,
) -> None:
    """Sets all weights of a network, in place, to those of the discriminants; it takes whitened statistics then.

    How far apart the classes lie is known too well from the images that the means were taken of: the scores' common
    scale is the one with the least cross entropy of the validation images.

    Args:
        network: freshly made, of backbone `second_order`.
        labels: int64 [n], of the training images, auxiliary classes' behind those of the named.
        shares: float32 [n], how much each training image counts; they sum to 1.
        validation_labels: int64 [v].
        named: how many of the network's classes the validation images are of.

    Raises:
        ProtoleakError: the embedding, or the encoder's hidden layer, has no room for so many classes.
    """
    config = network.config
    directions = config.generators - 1
    _check_room(directions, config.timesteps, config.embedding_size)
    encoder = network.backbone.encoder
    assert isinstance(encoder, SecondOrderEncoder)
    network.eval()
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
            _set_linear(head, axes, centre, place, config.timesteps)
            network.prototypes[:, :, place : place + directions] = ((means - centre) @ axes.T)[:, None]
        _scale(network, _best_scale(inputs.validation_scores(network)[:, :named], validation_labels))


def _check_room(directions: int, positions: int, embedding_size: int) -> None:
    needed = positions * directions
    if embedding_size < needed:
        raise ProtoleakError(
            f"embedding_size is {embedding_size}: solver discriminants needs {directions} components for each of "
            f"{positions} looks × timesteps, give embedding_size = {needed} or more"
        )
    if 2 * directions > HIDDEN:
        raise ProtoleakError(
            f"solver discriminants has room for {HIDDEN // 2 + 1} classes, auxiliary ones included, and there are "
            f"{directions + 1}: use solver descent"
        )


def _mean(statistics: torch.Tensor, of_class: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    weights = shares[of_class]
    return weights @ statistics[of_class] / weights.sum()


def _set_linear(head: nn.Module, axes: torch.Tensor, centre: torch.Tensor, place: int, positions: int) -> None:
    """Has a head write the coordinates of statistics along `axes`, from `centre`, into the embedding from `place` on,
    times the number of positions, over which the pool takes the mean."""
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
            out.weight[place + index, unit] = sign * positions


def _best_scale(class_score: torch.Tensor, labels: torch.Tensor) -> float:
    """The factor on scores [v, K] with which they are the best log probabilities."""
    scales = torch.logspace(*torch.tensor([LOWEST_SCALE, HIGHEST_SCALE]).log10().tolist(), SCALES).tolist()
    return min(scales, key=lambda scale: float(class_loss(scale * class_score, labels)))


def _scale(network: Attributor, scale: float) -> None:
    """Multiplies the distances of the prototypes."""
    root = scale**0.5
    network.prototypes.mul_(root)
    encoder = network.backbone.encoder
    assert isinstance(encoder, SecondOrderEncoder)
    for head in encoder.heads:
        out = head.get_submodule("out")
        assert isinstance(out, nn.Linear)
        out.weight.mul_(root)
