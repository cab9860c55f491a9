"""Parts of the method taken away, on a small model."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from benchmarks import evaluate
from benchmarks.ablations.judge import AT_ALPHA, NOT_ASKED, UNLIKE_CAMERAS
from benchmarks.ablations.latents import Part
from benchmarks.ablations.network import Embedded, Switches, embed
from benchmarks.ablations.openness import DEFAULT_RULE, RULES, Fitted
from benchmarks.ablations.retrain import variations
from protoleak.bundle.manifest import Density
from protoleak.calibration.density import fit_density
from protoleak.choices import HEAD_KINDS
from protoleak.dataset import read_dataset
from protoleak.errors import CheckpointError
from protoleak.export.export import export_bundle
from protoleak.export.settings import ExportSettings
from protoleak.model.checkpoint import TrainedModel, load_model, save_model
from protoleak.model.latent_encoder import load_latent_encoder
from protoleak.training.noising import Noising
from protoleak.training.settings import TrainingSettings
from protoleak.training.train import train
from tests.export.conftest import write_data
from tests.training.images import IMAGE_SIZE, write_images, write_latent_encoder

DEPLOYED = Density("whitened", 0.5, 1.3, 40, 10, 0.25)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/, unknown/, real/, model/ and bundle/ of two generators and a camera class."""
    place = tmp_path_factory.mktemp("ablations")
    write_data(place / "data", {"camera": "none", "columns": "columns", "rows": "rows"}, (12, 8, 12, 4))
    write_images(place / "unknown" / "crossed", "crossed", 4, 300)
    write_images(place / "real", "none", 4, 700)
    settings = TrainingSettings(
        embedding_size=16, prototypes_per_generator=2, timesteps=(0, 300), low_frequency_components=4,
        image_size=IMAGE_SIZE, epochs=6, batch_size=16, learning_rate=3e-3, compute="exact",
    )  # fmt: skip
    dataset = read_dataset(place / "data", "camera")
    encoder = load_latent_encoder(write_latent_encoder(place / "encoder.onnx"))
    train(dataset, encoder, settings, place / "model")
    write_images(place / "auxiliary" / "other", "other", 6, 900)
    exported = ExportSettings(name="small", bandwidth=1.5, auxiliary=place / "auxiliary", computes=())
    export_bundle(load_model(place / "model"), dataset, place / "bundle", exported)
    return place


@pytest.fixture(scope="module")
def model(folder: Path) -> TrainedModel:
    return load_model(folder / "model")


@pytest.fixture(scope="module")
def results(folder: Path) -> evaluate.Results:
    """Of the script, with everything."""
    options = [
        "--data",
        "data",
        "--unknown",
        "unknown",
        "--photographs",
        "real",
        "--model",
        "model",
        "--cache",
        "latents",
    ]
    given = [str(folder / value) if index % 2 else value for index, value in enumerate(options)]
    more = [
        "--auxiliary",
        str(folder / "auxiliary"),
        "--ablations",
        "switched,retrained",
        "--epochs",
        "2",
        "--bootstrap",
        "20",
        "--no-operators",
    ]
    out = folder / "results.json"
    evaluate.run(evaluate.parse_arguments([str(folder / "bundle"), *given, *more, "--json", str(out)]))
    return msgspec.json.decode(out.read_bytes(), type=evaluate.Results)


def noising_of(model: TrainedModel) -> Noising:
    config = model.config
    return Noising.build(
        tuple(config.timesteps), config.latent_shape, config.noise_seed, config.low_frequency_components
    )


def test_with_nothing_switched_off_it_is_the_network_itself(model: TrainedModel) -> None:
    z0 = np.random.default_rng(0).normal(size=(5, 1, *model.config.latent_shape)).astype(np.float32)
    found = embed(model.attributor, noising_of(model), Part(z0, np.zeros(5, dtype=np.int64)), Switches())
    with torch.inference_mode():
        expected = model.attributor(torch.from_numpy(model.config.noised(z0[:, 0])))
    # the same float32 sums in another order
    np.testing.assert_allclose(found.embedding, expected.embedding, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.gate, expected.gate, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.class_score, expected.class_score, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "switches",
    [
        Switches(timesteps=1),
        Switches(uniform=True),
        Switches(gate=False),
        Switches(low_frequency=False),
        Switches(prototypes=1),
    ],
    ids=str,
)
def test_each_switch_changes_the_outputs(model: TrainedModel, switches: Switches) -> None:
    z0 = np.random.default_rng(0).normal(size=(5, 1, *model.config.latent_shape)).astype(np.float32)
    part = Part(z0, np.zeros(5, dtype=np.int64))
    whole, other = (embed(model.attributor, noising_of(model), part, each) for each in (Switches(), switches))
    assert not np.allclose(whole.class_score, other.class_score)
    assert np.allclose(other.gate, 1) == (not switches.gate)


def embedded(seed: int, count: int) -> Embedded:
    """Embeddings about (4, 4, …), so that they have a direction in common too."""
    random = np.random.default_rng(seed)
    values = (random.normal(4, 1, size=(count, 6)), random.uniform(0.2, 1, (count, 6)), random.normal(size=(count, 2)))
    return Embedded(*(value.astype(np.float32) for value in values))


@pytest.mark.parametrize("rule", RULES)
def test_an_open_set_rule_gives_distant_images_less(rule: str) -> None:
    labels = np.arange(40) % 2
    openness = RULES[rule](Fitted(embedded(0, 40), labels, embedded(1, 20), embedded(3, 10), DEPLOYED))
    near = embedded(2, 30)
    far = Embedded(near.embedding - 8.0, near.gate, near.class_score)
    assert np.median(openness(far)) < np.median(openness(near))


def test_the_default_rule_is_the_bundles_density() -> None:
    labels = np.arange(40) % 2
    train_images, validation, images, others = (embedded(seed, 40 - 5 * seed) for seed in range(4))
    expected = fit_density(
        *(train_images.embedding, train_images.gate, labels),
        *(validation.embedding, validation.gate),
        bandwidth=DEPLOYED.bandwidth_in_neighbour_distances,
        auxiliary=(others.embedding, others.gate),
        contrast=DEPLOYED.contrast,
    ).log_density(images.embedding, images.gate)
    fitted = Fitted(train_images, labels, validation, others, DEPLOYED)
    np.testing.assert_array_equal(RULES[DEFAULT_RULE](fitted)(images), expected)


def test_the_rules_of_exact_densities_all_differ() -> None:
    fitted = Fitted(embedded(0, 40), np.arange(40) % 2, embedded(1, 20), embedded(3, 10), DEPLOYED)
    found = [rule(fitted)(embedded(2, 30)) for name, rule in RULES.items() if name.startswith("exact")]
    for index, one in enumerate(found):
        assert not any(np.allclose(one, other) for other in found[:index])


def test_in_few_dimensions_the_tree_and_the_exact_sum_agree() -> None:
    labels = np.arange(40) % 2
    names = ("exact density, gated, published bandwidths", "scikit-learn's tree, gated, published bandwidths")
    one, other = (
        RULES[name](Fitted(embedded(0, 40), labels, embedded(1, 20), None, DEPLOYED))(embedded(2, 30)) for name in names
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_first_row_is_what_the_bundle_itself_was_measured_to_do(results: evaluate.Results) -> None:
    row = results.ablations[0]
    assert (row.part, row.how, row.error) == ("everything", "as trained", None)
    assert results.evaluation is not None
    bundle = results.evaluation.variants[0]
    assert bundle.closed_set is not None
    assert row.macro_auc_softmax is not None
    assert row.accuracy is not None
    assert row.auroc_unknown is not None
    assert row.accuracy.value == bundle.closed_set.accuracy.value
    # Graphs and PyTorch differ in the last digits, which can swap two images of a rank.
    assert row.macro_auc_softmax.value == pytest.approx(bundle.closed_set.macro_auc_softmax.value, abs=0.02)
    open_set = bundle.unknown["crossed"].open_set
    assert open_set is not None
    assert row.auroc_unknown.value == pytest.approx(open_set.auroc.value, abs=0.05)
    assert bundle.real_faces is not None
    assert row.real_accused == bundle.real_faces.accused


def test_every_part_has_its_rows_and_says_how_it_was_taken_away(results: evaluate.Results) -> None:
    found = {(row.part, row.how) for row in results.ablations}
    parts = ("number of timesteps", "temporal pooling", "gate", "low-frequency channels", "prototypes per class")
    assert {(part, how) for part in parts for how in ("switched at test time", "trained again")} <= found
    assert {("mixed negatives", "trained again"), ("auxiliary generators", "trained again")} <= found
    assert [row.change for row in results.ablations if row.part == "head"] == list(HEAD_KINDS)
    assert [row.change for row in results.ablations if row.part == "open-set rule"] == list(RULES)
    first, *levels = [row for row in results.ablations if row.part in ("everything", UNLIKE_CAMERAS)][:3]
    assert [row.change for row in levels] == [AT_ALPHA, NOT_ASKED]
    accused = [row.real_accused.count for row in (first, *levels) if row.real_accused is not None]
    assert len(accused) == 3
    assert accused == sorted(accused)  # the less is asked for, the more are accused
    for row in results.ablations:
        assert row.error is None, row
        assert row.macro_auc_softmax is not None
        assert row.macro_auc_softmax.value is not None
        assert math.isfinite(row.macro_auc_softmax.value)
        assert list(row.auroc_per_unknown) == ["crossed"]


def test_the_results_name_machine_commit_seed_and_epochs(results: evaluate.Results) -> None:
    assert results.machine.processor
    assert results.seed == 0
    assert results.epochs == 2
    assert results.training is not None
    assert results.training.timesteps == (0, 300)
    assert any("switched at test time" in note for note in results.notes)


def test_each_variation_changes_one_thing() -> None:
    base = TrainingSettings()
    first, *others = variations(base, auxiliary=True)
    assert (first.settings, first.network, first.auxiliary) == ({}, {}, True)
    for variation in others:
        assert len(variation.settings) + len(variation.network) + (not variation.auxiliary) == 1
    assert len({(one.part, one.change) for one in others}) == len(others)


def test_ablations_without_a_model_are_refused(folder: Path) -> None:
    arguments = evaluate.parse_arguments(
        [str(folder / "bundle"), "--data", str(folder / "data"), "--no-evaluation", "--ablations", "switched"]
    )
    with pytest.raises(SystemExit, match="needs --model"):
        evaluate.run(arguments)
    assert "benchmarks.evaluate" in sys.modules


def test_ablations_without_the_contrasted_generators_are_refused(folder: Path) -> None:
    given = ["--data", str(folder / "data"), "--no-evaluation", "--model", str(folder / "model")]
    with pytest.raises(SystemExit, match="needs --auxiliary"):
        evaluate.run(evaluate.parse_arguments([str(folder / "bundle"), *given]))


def test_another_model_than_the_bundles_is_refused(folder: Path, tmp_path: Path, model: TrainedModel) -> None:
    config = msgspec.structs.replace(model.config, provenance={"made_by": "somebody else"})
    save_model(tmp_path / "other", TrainedModel(config, model.attributor, model.latent_encoder))
    arguments = evaluate.parse_arguments(
        [str(folder / "bundle"), "--data", str(folder / "data"), "--no-evaluation", "--model", str(tmp_path / "other")]
    )
    with pytest.raises(CheckpointError, match="is another model than the bundle's"):
        evaluate.run(arguments)
