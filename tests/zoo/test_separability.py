"""The upper bound that the zoo's own classes set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.zoo.generators import GENERATORS
from benchmarks.zoo.separability import class_scores, classes_of, pairs, read_latents, train_on_all
from protoleak.model.latent_encoder import load_latent_encoder
from protoleak.training.settings import TrainingSettings


def test_known_classes_come_first_and_auxiliary_ones_are_left_out(zoo: Path) -> None:
    classes = classes_of(zoo)
    assert list(classes.values()) == sorted(classes.values(), reverse=True)
    assert set(classes) == {generator.name for generator in GENERATORS if generator.part != "auxiliary"}


def test_scores_that_tell_a_pair_apart_have_an_area_of_one_and_equal_ones_a_half() -> None:
    classes = {"dawn": True, "moss": True, "new": False}
    labels = np.array([0, 0, 1, 1, 2, 2])
    scores = np.array(
        [[3, 0, 1], [3, 0, 1], [0, 2, 2], [0, 2, 2], [0, 2, 2], [0, 2, 2]], dtype=np.float32
    )  # the second and third classes look alike
    assert pairs(scores, labels, classes) == {"new": {"dawn": 1.0, "moss": 0.5}}


def test_a_network_is_trained_on_every_class_of_a_zoo(zoo: Path, material: object) -> None:
    encoder = load_latent_encoder(material.encoder, input_range=(0.0, 1.0))  # type: ignore[attr-defined]
    settings = TrainingSettings(
        timesteps=(0, 300), epochs=1, embedding_size=8, prototypes_per_generator=1, low_frequency_components=4
    )
    splits = {split: read_latents(zoo, encoder, split, settings) for split in ("train", "val", "test")}
    assert {len(np.unique(latents.labels)) for latents in splits.values()} == {12}
    network, noising = train_on_all(encoder, splits, settings)
    found = pairs(class_scores(network, noising, splits["test"].z0), splits["test"].labels.numpy(), classes_of(zoo))
    assert len(found) == 4
    assert all(len(against) == 8 and all(0 <= area <= 1 for area in against.values()) for against in found.values())
