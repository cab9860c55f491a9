"""Short trainings without a part of the method, all alike but for that part."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import torch

from benchmarks.ablations.latents import Encoded, Part
from protoleak.model.attributor import Attributor
from protoleak.progress import Progress
from protoleak.training.fit import fit
from protoleak.training.inputs import Latents
from protoleak.training.noising import Noising
from protoleak.training.settings import TrainingSettings

NONE_AUXILIARY = "neither learnt nor contrasted"


@dataclass(frozen=True)
class Variation:
    """One training that leaves a part out or has another number of something.

    Attributes:
        settings: changed fields of TrainingSettings.
        network: changed fields of AttributorConfig.
        auxiliary: whether auxiliary generators are learnt, where there are any.
    """

    part: str
    change: str
    settings: dict[str, object]
    network: dict[str, object]
    auxiliary: bool = True


def variations(base: TrainingSettings, auxiliary: bool) -> list[Variation]:
    """The whole method first, then one change each.

    Args:
        auxiliary: whether there are auxiliary generators; all but the last learn them.
    """
    timesteps = base.timesteps
    found = [Variation("everything", "as it is", {}, {})]
    found += [
        Variation("number of timesteps", f"{count} of {len(timesteps)}", {"timesteps": timesteps[:count]}, {})
        for count in range(1, len(timesteps))
    ]
    if len(timesteps) > 1:
        found.append(Variation("temporal pooling", "uniform", {}, {"temporal": "uniform"}))
    found.append(Variation("gate", "off", {}, {"gate": False}))
    if base.low_frequency_components is not None:
        found.append(Variation("low-frequency channels", "off", {"low_frequency_components": None}, {}))
    found += [
        Variation("prototypes per class", str(count), {"prototypes_per_generator": count}, {})
        for count in (1, 3, 6, 12)
        if count != base.prototypes_per_generator
    ]
    if base.mixed_negatives:
        found.append(Variation("mixed negatives", "off", {"mixed_negatives": False}, {}))
    if auxiliary:
        found.append(Variation("auxiliary generators", NONE_AUXILIARY, {}, {}, auxiliary=False))
    return found


def train_variation(
    variation: Variation,
    base: TrainingSettings,
    encoded: Encoded,
    classes: int,
    progress: Progress,
) -> tuple[Attributor, Noising]:
    """Trains one on the latents of the images as deployed: no views and no negatives from a folder."""
    settings = msgspec.structs.replace(base, **variation.settings)
    train, validation = encoded.splits["train"], encoded.splits["validation"]
    latent_shape = (train.z0.shape[2], train.z0.shape[3], train.z0.shape[4])
    config = msgspec.structs.replace(settings.network(latent_shape, classes), **variation.network)
    noising = Noising.of(settings, latent_shape)
    result = fit(
        config,
        settings,
        noising,
        _latents(train),
        _latents(validation),
        negatives=None,
        run="ablation",
        progress=progress,
        auxiliary=_latents(encoded.auxiliary) if variation.auxiliary and encoded.auxiliary is not None else None,
    )
    return result.attributor, noising


def _latents(part: Part) -> Latents:
    return Latents(torch.from_numpy(part.z0), torch.from_numpy(part.labels))
