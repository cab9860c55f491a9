"""The upper bound that the zoo's own classes set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from protoleak.model.latent_encoder import load_latent_encoder
from protoleak.training.settings import TrainingSettings
from zoo.inputs import Inputs
from zoo.separability import SPLITS, class_scores, pairs, read_latents, read_zoo, train_on_all


def test_scores_that_tell_a_pair_apart_have_an_area_of_one_and_equal_ones_a_half() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    scores = np.float32([[3, 0, 1], [3, 0, 1], [0, 2, 2], [0, 2, 2], [0, 2, 2], [0, 2, 2]])  # the last two look alike
    assert pairs(scores, labels, ["dawn", "moss"], ["new"]) == {"new": {"dawn": 1.0, "moss": 0.5}}


def test_a_network_is_trained_on_every_class_of_a_zoo_but_the_auxiliary(zoo: Path, material: Inputs) -> None:
    encoder = load_latent_encoder(str(material.encoder), input_range=(0.0, 1.0))
    settings = TrainingSettings(
        timesteps=(0, 300), epochs=1, embedding_size=8, prototypes_per_generator=1, low_frequency_components=4
    )
    known, unknown = read_zoo(zoo)
    assert (len(known.generators), len(unknown.generators)) == (8, 4)
    splits = {split: read_latents((known, unknown), encoder, split, settings) for split in SPLITS}
    assert {len(np.unique(latents.labels)) for latents in splits.values()} == {12}
    network, noising = train_on_all(encoder, splits, 12, settings)
    scores = class_scores(network, noising, splits["test"].z0)
    assert scores.shape == (len(splits["test"].labels), 12)
    found = pairs(scores, splits["test"].labels.numpy(), known.generators, unknown.generators)
    assert set(found) == set(unknown.generators)
    assert all(set(against) == set(known.generators) for against in found.values())
