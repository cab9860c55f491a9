"""The network's outputs with parts of it switched off at test time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.ablations.latents import Encoded, Part
from protoleak.arrays import Float32Array
from protoleak.model.attributor import Attributor
from protoleak.training.noising import Noising

BATCH = 64


@dataclass(frozen=True)
class Switches:
    """What is left of the network; the default is all of it.

    Attributes:
        timesteps: only the first so many of the network's inputs (timesteps of the first look, then of the next); None
            for all. The weights of the temporal pool are renormalised over them.
        uniform: the mean over timesteps in place of the learnt weights.
        gate: whether features are weighted.
        low_frequency: whether the low-frequency half of the input is there; else it is zero.
        prototypes: only the first so many per class; None for all.
    """

    timesteps: int | None = None
    uniform: bool = False
    gate: bool = True
    low_frequency: bool = True
    prototypes: int | None = None


@dataclass(frozen=True)
class Embedded:
    """float32 [n, D], [n, D] and [n, K]."""

    embedding: Float32Array
    gate: Float32Array
    class_score: Float32Array


def embed_all(
    network: Attributor, noising: Noising, encoded: Encoded, switches: Switches
) -> tuple[dict[str, Embedded], Embedded]:
    """Of every split (and of "auxiliary" where there are such generators), and of the images to measure on."""
    parts = encoded.splits if encoded.auxiliary is None else encoded.splits | {"auxiliary": encoded.auxiliary}
    splits = {name: embed(network, noising, part, switches) for name, part in parts.items()}
    return splits, embed(network, noising, encoded.measured, switches)


@torch.inference_mode()
def embed(network: Attributor, noising: Noising, part: Part, switches: Switches) -> Embedded:
    """The network's outputs with the frozen noise bank."""
    found = [_batch(network, noising, z0, switches) for z0 in torch.split(torch.from_numpy(part.z0), BATCH)]
    arrays = [np.concatenate([batch[index].numpy() for batch in found]) for index in range(3)]
    return Embedded(*arrays)


def _batch(
    network: Attributor, noising: Noising, z0: torch.Tensor, switches: Switches
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    z_t = noising.with_bank(z0)
    if not switches.low_frequency:
        z_t[:, :, z0.shape[2] :] = 0
    h, g = network.embed_timesteps(z_t)
    if switches.timesteps is not None:
        h, g = h[:, : switches.timesteps], g[:, : switches.timesteps]
    if not switches.gate:
        g = torch.ones_like(g)
    if network.config.temporal_attention and not switches.uniform:
        weight = torch.softmax(network.temporal_pool.query(h).squeeze(-1), dim=1)
    else:
        weight = torch.full_like(h[:, :, 0], 1.0 / h.shape[1])
    embedding, gate = ((weight.unsqueeze(-1) * values).sum(dim=1) for values in (h, g))
    distance = network.prototype_distance(embedding, gate)[:, :, : switches.prototypes]
    return embedding, gate, network.class_score(distance)
