from __future__ import annotations

import math

import numpy as np
import pytest

from protoleak.calibration.posterior import FLOOR_QUANTILE, PosteriorDensity
from protoleak.errors import CalibrationError, ProtoleakError
from protoleak.export.settings import ExportSettings
from tests.calibration.conftest import Embedded

PROTOTYPES = np.random.default_rng(3).normal(size=(3, 2, 8)) + 3.0
AUXILIARY = np.random.default_rng(4).normal(size=(2, 2, 8)) + 3.0


def test_the_log_density_is_that_of_its_formula(train: Embedded) -> None:
    tau = 0.7
    model = PosteriorDensity.fit(PROTOTYPES, AUXILIARY, tau, train.embedding, train.gate)
    found = model.log_density(train.embedding[:4], train.gate[:4])
    for image in range(4):
        scores = []
        for of_class in (*PROTOTYPES, *AUXILIARY):
            distance = [(train.gate[image] * (train.embedding[image] - one) ** 2).sum() for one in of_class]
            scores.append(tau * math.log(sum(math.exp(-each / tau) for each in distance)))
        share = math.exp(max(scores[:3])) / sum(math.exp(score) for score in scores)
        assert found[image] == pytest.approx(math.log(share) + min(0.0, max(scores[:3]) - model.floor), rel=1e-6)


def test_an_image_far_from_everything_is_less_likely_than_nearly_all_that_were_learnt_from(train: Embedded) -> None:
    model = PosteriorDensity.fit(PROTOTYPES, AUXILIARY, 1.0, train.embedding, train.gate)
    best = model.scores(train.embedding, train.gate)[:, :3].max(axis=1)
    assert (best < model.floor).mean() <= FLOOR_QUANTILE + 1 / len(best)
    far = PROTOTYPES[:1, 0] + 50.0 * (PROTOTYPES[:1, 0] - PROTOTYPES.mean(axis=(0, 1)))
    gate = np.ones_like(far)
    assert model.log_density(far, gate)[0] < model.log_density(train.embedding, train.gate).min()


def test_with_the_highest_floor_distance_counts_for_every_image(train: Embedded) -> None:
    model = PosteriorDensity.fit(PROTOTYPES, AUXILIARY, 1.0, train.embedding, train.gate, floor_quantile=1.0)
    scores = model.scores(train.embedding, train.gate)
    best = scores[:, :3].max(axis=1)
    assert model.floor == best.max()
    share = best - np.log(np.exp(scores).sum(axis=1))
    np.testing.assert_allclose(model.log_density(train.embedding, train.gate), share + best - best.max(), rtol=1e-6)


@pytest.mark.parametrize("floor", [-0.1, 1.1])
def test_a_floor_that_is_no_quantile_is_refused(floor: float) -> None:
    with pytest.raises(ProtoleakError, match="give a quantile from 0 to 1"):
        ExportSettings(density_floor=floor)


def test_the_floor_is_the_same_where_none_is_asked_for() -> None:
    assert ExportSettings().density_floor == FLOOR_QUANTILE


def test_auxiliary_classes_take_their_share(train: Embedded) -> None:
    without = PosteriorDensity.fit(PROTOTYPES, AUXILIARY[:0], 1.0, train.embedding, train.gate)
    with_them = PosteriorDensity.fit(PROTOTYPES, AUXILIARY, 1.0, train.embedding, train.gate)
    theirs = AUXILIARY[:, 0]
    gate = np.ones_like(theirs)
    assert (with_them.log_density(theirs, gate) < without.log_density(theirs, gate)).all()


def test_a_network_without_a_temperature_and_embeddings_that_are_not_finite_are_refused(train: Embedded) -> None:
    with pytest.raises(CalibrationError, match="density space whitened or gated"):
        PosteriorDensity.fit(PROTOTYPES, AUXILIARY, None, train.embedding, train.gate)
    with pytest.raises(CalibrationError, match="not finite"):
        PosteriorDensity.fit(PROTOTYPES, AUXILIARY, 1.0, train.embedding * np.nan, train.gate)


def test_of_levelled_components_only_differences_between_classes_count(train: Embedded) -> None:
    """Far from every class in those components alone, an image is as near to its class as before."""
    model = PosteriorDensity.fit(PROTOTYPES, AUXILIARY, 1.0, train.embedding, train.gate, 1.0, levelled=3)
    alike = np.repeat(PROTOTYPES[:1, :1, :3], 3, axis=0).repeat(2, axis=1)  # no differences there
    named = np.concatenate([alike, PROTOTYPES[..., 3:]], axis=2)
    others = np.concatenate([alike[:2], AUXILIARY[..., 3:]], axis=2)
    model = PosteriorDensity(named, others, 1.0, model.floor, levelled=3)
    near, gate = named[:, 0], np.ones((3, 8))
    far = near + np.array([40.0] * 3 + [0.0] * 5)
    np.testing.assert_allclose(model.log_density(far, gate), model.log_density(near, gate), rtol=1e-9)
    plain = PosteriorDensity(named, others, 1.0, model.floor)
    assert (plain.log_density(far, gate) < plain.log_density(near, gate) - 100).all()
