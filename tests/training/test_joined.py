from __future__ import annotations

import msgspec
import pytest
import torch

from protoleak.errors import ProtoleakError
from protoleak.model.attributor import Attributor, AttributorConfig
from protoleak.training.fit import fit
from protoleak.training.inputs import Latents
from protoleak.training.joined import SOFTNESS, Shares
from protoleak.training.noising import Noising
from tests.training.test_discriminants import SETTINGS as DISCRIMINANTS
from tests.training.test_discriminants import SHAPE, latents

WHOLE = AttributorConfig(
    backbone="second_order",
    in_channels=4,
    embedding_size=24,
    generators=4,
    prototypes_per_generator=3,
    timesteps=2,
    hidden=20,
)
SETTINGS = msgspec.structs.replace(
    DISCRIMINANTS, solver="both", embedding_size=24, epochs=3, batch_size=64, learning_rate=3e-3, keep="last", seed=3
)


def drawn(config: AttributorConfig, seed: int) -> Attributor:
    """A network whose every weight is random, in evaluation mode."""
    torch.manual_seed(seed)
    network = Attributor(config)
    for tensor in (*network.parameters(), *(one for name, one in network.named_buffers() if "running_mean" in name)):
        torch.nn.init.normal_(tensor.data, std=0.4)
    return network.eval()


def test_the_parts_fill_the_network() -> None:
    shares = Shares.of(WHOLE)
    assert (shares.discriminants.hidden, shares.discriminants.embedding_size) == (6, 6)
    assert (shares.descent.hidden, shares.descent.embedding_size) == (14, 18)


def test_class_scores_of_both_add_up_where_the_attention_is_even() -> None:
    shares = Shares.of(WHOLE)
    first, second = drawn(shares.descent, 1), drawn(shares.discriminants, 2)
    with torch.no_grad():
        for one in (first, second):
            one.temporal_pool.query.weight.zero_()
            one.lse_agg.log_tau.fill_(0.5)  # such that the clamp of τ stays out of it
        second.prototypes[:] = second.prototypes[:, :1]  # as discriminants are: a class has one place
        second.backbone.att.gate[2].weight.zero_()
        second.backbone.att.gate[2].bias.zero_()
        whole = shares.join(first.state_dict(), second.state_dict())
        z_t = torch.randn(5, 2, *SHAPE)
        alone, beside, together = first(z_t), second(z_t), whole(z_t)
    distance = beside.prototype_distance[:, :, 0]
    expected = SOFTNESS * (alone.class_score - distance)
    torch.testing.assert_close(together.class_score, expected, rtol=1e-4, atol=1e-4)
    embedding = SOFTNESS**0.5 * torch.cat([alone.embedding, beside.embedding], dim=1)
    torch.testing.assert_close(together.embedding, embedding)
    torch.testing.assert_close(together.gate[:, :18], alone.gate)
    torch.testing.assert_close(together.gate[:, 18:], torch.full((5, 6), 0.5))


def test_discriminants_are_pooled_as_the_attention_of_descent_weighs() -> None:
    shares = Shares.of(WHOLE)
    first, second = drawn(shares.descent, 1), drawn(shares.discriminants, 2)
    with torch.no_grad():
        second.temporal_pool.query.weight.zero_()  # as of discriminants
        whole = shares.join(first.state_dict(), second.state_dict())
        z_t = torch.randn(5, 2, *SHAPE)
        weight = whole(z_t).timestep_weight
        torch.testing.assert_close(weight, first(z_t).timestep_weight)
        h, _ = second.embed_timesteps(z_t)
        pooled = SOFTNESS**0.5 * (weight[..., None] * h).sum(dim=1)
        torch.testing.assert_close(whole(z_t).embedding[:, 18:], pooled, rtol=1e-4, atol=1e-5)
    assert float((weight - 0.5).abs().max()) > 0.01


@pytest.mark.parametrize(
    ("change", "remedy"),
    [({"embedding_size": 6}, "give embedding_size = 12"), ({"hidden": 6}, "room for 3 classes")],
)
def test_a_network_without_room_for_both_is_refused(change: dict[str, int], remedy: str) -> None:
    with pytest.raises(ProtoleakError, match=remedy):
        Shares.of(msgspec.structs.replace(WHOLE, **change))


def test_a_network_of_both_is_trained_and_its_record_is_of_what_is_deployed() -> None:
    config, noising = SETTINGS.network(SHAPE, 2), Noising.of(SETTINGS, SHAPE)
    auxiliary = Latents(latents(100, 2, (2,)).z0, torch.zeros(100, dtype=torch.int64))
    validation = latents(60, 1, (0, 1))
    result = fit(*(config, SETTINGS, noising, latents(300, 0, (0, 1)), validation, None, "run"), auxiliary=auxiliary)
    network = result.attributor
    assert network.config.levelled == 24 - 2 * 2  # what is descent's
    assert network.prototypes.shape == (2, 2, 24)
    assert network.auxiliary_prototypes.shape == (1, 2, 24)
    assert [head.hidden.out_features for head in network.backbone.encoder.heads] == [96, 96]
    assert len(result.curves) == result.best_epoch == 3
    with torch.no_grad():
        scores = network(noising.with_bank(validation.z0)).class_score
    loss = float(torch.nn.functional.cross_entropy(scores, validation.labels))
    assert result.curves[-1]["validation_loss"] == pytest.approx(loss, rel=1e-4)
    assert result.curves[-1]["validation_macro_auc"] > 0.9
