from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from protoleak.dataset import read_dataset
from protoleak.errors import CheckpointError, DatasetError, ProtoleakError
from protoleak.images.preprocess import preprocess
from protoleak.model.checkpoint import TrainedModel, load_model
from protoleak.model.latent_encoder import LatentEncoder, load_latent_encoder
from protoleak.training.inputs import Latents
from protoleak.training.model_directory import REPORT_FILE
from protoleak.training.settings import TrainingSettings
from protoleak.training.state import STATE_FILE
from protoleak.training.train import train
from tests.recorded_progress import RecordedProgress
from tests.training.images import IMAGE_SIZE, make_image, write_images, write_latent_encoder

SMALL: dict[str, Any] = {
    "embedding_size": 16,
    "prototypes_per_generator": 2,
    "timesteps": (0, 300),
    "low_frequency_components": 4,
    "image_size": IMAGE_SIZE,
    "epochs": 8,
    "batch_size": 16,
    "learning_rate": 3e-3,
    "views": 0,
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for kind in ("rows", "columns"):
        write_images(tmp_path / "data" / kind, kind, 24)
    return tmp_path / "data"


@pytest.fixture
def encoder_file(tmp_path: Path) -> Path:
    return write_latent_encoder(tmp_path / "encoder.onnx")


@pytest.fixture
def encoder(encoder_file: Path) -> LatentEncoder:
    return load_latent_encoder(encoder_file)


def same_weights(first: TrainedModel, second: TrainedModel) -> bool:
    one, two = first.attributor.state_dict(), second.attributor.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def report_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / REPORT_FILE).read_text()))


def test_two_synthetic_generators_are_told_apart_on_images_training_never_saw(
    tmp_path: Path, data: Path, encoder: LatentEncoder
) -> None:
    dataset = read_dataset(data)
    model = train(dataset, encoder, TrainingSettings(**{**SMALL, "views": 1}), tmp_path / "model")
    unseen = [make_image(kind, 100 + index) for kind in ("columns", "rows") for index in range(20)]
    images = np.stack([preprocess(image, IMAGE_SIZE) for image in unseen])
    z_t = torch.from_numpy(model.config.noised(encoder.encode(images)))
    with torch.no_grad():
        predicted = model.attributor(z_t).class_score.argmax(dim=1)
    assert dataset.generators == ("columns", "rows")
    assert (predicted == torch.tensor([0] * 20 + [1] * 20)).float().mean() >= 0.9


def test_the_folder_below_a_generator_is_the_source_that_takes_turns(
    tmp_path: Path, encoder: LatentEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source, count in (("film", 12), ("phone", 6)):
        write_images(tmp_path / "data" / "rows" / source, "rows", count, first_seed=50 * count)
    write_images(tmp_path / "data" / "columns", "columns", 12)
    given: list[Latents] = []

    def stop(_network: object, _settings: object, _noising: object, train: Latents, *_: object, **__: object) -> None:
        given.append(train)
        raise KeyboardInterrupt

    monkeypatch.setattr("protoleak.training.train.fit", stop)
    settings = TrainingSettings(**{**SMALL, "views": 1})
    dataset = read_dataset(tmp_path / "data")
    with pytest.raises(KeyboardInterrupt):
        train(dataset, encoder, settings, tmp_path / "model")
    (latents,) = given
    assert latents.sources is not None
    found = {(label, source) for label, source in zip(latents.labels.tolist(), latents.sources.tolist(), strict=True)}
    assert len(found) == 3
    assert len({source for label, source in found if dataset.generators[label] == "rows"}) == 2
    views = dict.fromkeys(found, 0)
    for pair in zip(latents.labels.tolist(), latents.sources.tolist(), strict=True):
        views[pair] += 1
    of_phone = sum("phone" in sample.path.parts for sample in dataset.train)
    assert 2 * of_phone in views.values()  # each view counts for the source of its image


def test_a_model_loads_with_its_provenance(tmp_path: Path, data: Path, encoder: LatentEncoder) -> None:
    out = tmp_path / "model"
    train(read_dataset(data, "rows"), encoder, TrainingSettings(**SMALL), out, cache=tmp_path / "cache")
    model = load_model(out)
    assert model.config.real_class == "rows"
    assert model.config.generators == ["columns", "rows"]
    assert model.config.latent_shape == (4, 8, 8)
    provenance = model.config.provenance
    assert provenance["data"] == "data"
    assert provenance["settings"]["timesteps"] == [0, 300]
    assert str(tmp_path) not in json.dumps(provenance)
    assert provenance["images"]["train"] == {"columns": 17, "rows": 17}
    report = report_of(out)
    assert report["epochs"][report["best_epoch"] - 1] == provenance["best"]
    assert sorted(path.name for path in out.iterdir()) == [
        "attributor.safetensors",
        "latent_encoder",
        "model.json",
        "training.html",
        "training.json",
    ]


def test_the_same_seed_gives_the_same_weights_with_and_without_the_cache(
    tmp_path: Path, data: Path, encoder: LatentEncoder
) -> None:
    dataset, settings = read_dataset(data), TrainingSettings(**{**SMALL, "epochs": 2, "views": 1})
    models = [
        train(dataset, encoder, settings, tmp_path / name, cache=cache)
        for name, cache in (("a", None), ("b", tmp_path / "cache"), ("c", tmp_path / "cache"))
    ]
    assert same_weights(models[0], models[1])
    assert same_weights(models[1], models[2])


def test_the_number_of_workers_does_not_change_the_weights(tmp_path: Path, data: Path, encoder: LatentEncoder) -> None:
    dataset = read_dataset(data)
    settings = TrainingSettings(**{**SMALL, "epochs": 1, "views": 1, "operator_share": 1.0, "validation_views": 0})
    alone = train(dataset, encoder, settings, tmp_path / "a")
    assert same_weights(alone, train(dataset, encoder, settings, tmp_path / "b", workers=2))
    without = TrainingSettings(**{**SMALL, "epochs": 1, "views": 1, "operator_share": 0.0, "validation_views": 0})
    assert not same_weights(alone, train(dataset, encoder, without, tmp_path / "c"))


def test_an_interrupted_run_goes_on_to_the_same_model(tmp_path: Path, data: Path, encoder: LatentEncoder) -> None:
    dataset, settings = read_dataset(data), TrainingSettings(**{**SMALL, "epochs": 4})
    whole = train(dataset, encoder, settings, tmp_path / "whole")

    def interrupt(stage: str, done: int, _total: int, _note: str = "", /) -> None:
        if stage == "epoch 3 of 4" and done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt):
        train(dataset, encoder, settings, out, progress=interrupt)
    assert (out / STATE_FILE).is_file()
    resumed = train(dataset, encoder, settings, out, resume=True)
    assert same_weights(whole, resumed)
    assert not (out / STATE_FILE).exists()
    assert same_weights(train(dataset, encoder, settings, out, resume=True), whole)  # finished: given back as it is


def test_resuming_with_other_settings_or_data_is_refused(tmp_path: Path, data: Path, encoder: LatentEncoder) -> None:
    out = tmp_path / "model"
    settings = TrainingSettings(**{**SMALL, "epochs": 1})
    train(read_dataset(data), encoder, settings, out)
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train(read_dataset(data), encoder, TrainingSettings(**{**SMALL, "epochs": 2}), out, resume=True)
    make_image("rows", 999).save(data / "rows" / "000.png")
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train(read_dataset(data), encoder, settings, out, resume=True)


def test_unreadable_images_are_skipped_and_listed_once_with_the_reason(
    tmp_path: Path, data: Path, encoder: LatentEncoder
) -> None:
    (data / "rows" / "001.png").write_bytes(b"")
    (data / "columns" / "002.png").write_text("a text file")
    settings = TrainingSettings(**{**SMALL, "epochs": 1, "views": 2})
    model = train(read_dataset(data), encoder, settings, tmp_path / "model")
    report = report_of(tmp_path / "model")
    assert [Path(item["path"]).name for item in report["skipped"]] == ["002.png", "001.png"]
    assert "empty" in report["skipped"][1]["reason"]
    assert report["images"]["train"] == {"columns": 16, "rows": 16}
    assert model.config.provenance["skipped_images"] == 2


def test_a_class_without_a_readable_training_image_is_refused_by_name(
    tmp_path: Path, data: Path, encoder: LatentEncoder
) -> None:
    for sample in read_dataset(data).train:
        if sample.path.parent.name == "rows":
            sample.path.write_bytes(b"broken")
    with pytest.raises(DatasetError, match=r"train is left of rows \(17 files skipped"):
        train(read_dataset(data), encoder, TrainingSettings(**SMALL), tmp_path / "model")


def test_images_of_no_class_take_part_and_are_counted(tmp_path: Path, data: Path, encoder: LatentEncoder) -> None:
    write_images(tmp_path / "negatives", "none", 12, first_seed=500)
    (tmp_path / "negatives" / "broken.png").write_bytes(b"")
    settings = TrainingSettings(**{**SMALL, "mixed_negatives": False})
    with_them = train(read_dataset(data), encoder, settings, tmp_path / "a", negatives=tmp_path / "negatives")
    without = train(read_dataset(data), encoder, settings, tmp_path / "b")
    assert with_them.config.provenance["negative_images"] == 12
    images = np.stack([preprocess(make_image("none", 900 + index), IMAGE_SIZE) for index in range(20)])

    def confidence(model: TrainedModel) -> float:
        z_t = torch.from_numpy(model.config.noised(encoder.encode(images)))
        with torch.no_grad():
            return float(model.attributor(z_t).class_score.softmax(dim=1).max(dim=1).values.mean())

    assert confidence(with_them) < confidence(without)


def test_what_is_in_the_folder_is_replaced_only_when_that_was_asked_for(
    tmp_path: Path, data: Path, encoder: LatentEncoder
) -> None:
    dataset, out, settings = read_dataset(data), tmp_path / "model", TrainingSettings(**{**SMALL, "epochs": 1})
    first = train(dataset, encoder, settings, out)
    other = TrainingSettings(**{**SMALL, "epochs": 1, "seed": 1})
    seen = RecordedProgress()
    with pytest.raises(CheckpointError, match="holds a finished model: replace it with --overwrite"):
        train(dataset, encoder, other, out, progress=seen)
    assert seen == []  # before any work
    assert same_weights(first, load_model(out))
    with pytest.raises(ProtoleakError, match="give one of them"):
        train(dataset, encoder, other, out, resume=True, overwrite=True)
    (out / "model.json").unlink()
    (out / STATE_FILE).write_bytes(b"of an unfinished run")
    with pytest.raises(CheckpointError, match="holds an unfinished run: go on with --resume"):
        train(dataset, encoder, other, out)
    assert not same_weights(first, train(dataset, encoder, other, out, overwrite=True))
    assert not (out / STATE_FILE).exists()


def test_a_folder_that_is_no_model_is_refused_before_any_work(
    tmp_path: Path, data: Path, encoder: LatentEncoder
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="not a model"):
        train(read_dataset(data), encoder, TrainingSettings(**SMALL), tmp_path / "precious")


def test_progress_has_a_stage_per_encoding_and_epoch_with_its_numbers(
    tmp_path: Path, data: Path, encoder: LatentEncoder
) -> None:
    seen = RecordedProgress()
    settings = TrainingSettings(**{**SMALL, "epochs": 2})
    train(read_dataset(data), encoder, settings, tmp_path / "model", progress=seen)
    assert seen.stages == ["encode train", "encode validation", "epoch 1 of 2", "epoch 2 of 2"]
    assert seen[-1].done == seen[-1].total
    assert re.fullmatch(r"loss \d\.\d{3}, validation AUC [01]\.\d{4}", seen[-1].note)


def test_auxiliary_generators_change_the_network_and_are_counted_but_never_named(
    tmp_path: Path, data: Path, encoder: LatentEncoder
) -> None:
    write_images(tmp_path / "auxiliary" / "blank", "none", 12, first_seed=700)
    settings = TrainingSettings(**{**SMALL, "epochs": 2})
    model = train(read_dataset(data), encoder, settings, tmp_path / "a", auxiliary=tmp_path / "auxiliary")
    assert model.config.generators == ["columns", "rows"]
    assert model.attributor.config.generators == 2
    assert model.config.provenance["auxiliary_images"] == 12
    assert not same_weights(model, train(read_dataset(data), encoder, settings, tmp_path / "b"))
    assert same_weights(model, load_model(tmp_path / "a"))


def test_an_auxiliary_folder_without_generators_or_with_a_class_is_refused(
    tmp_path: Path, data: Path, encoder: LatentEncoder
) -> None:
    settings, dataset = TrainingSettings(**SMALL), read_dataset(data)
    (tmp_path / "empty").mkdir()
    seen = RecordedProgress()
    with pytest.raises(DatasetError, match=r"--auxiliary .*nowhere is not a folder"):
        train(dataset, encoder, settings, tmp_path / "out", auxiliary=tmp_path / "nowhere", progress=seen)
    assert seen == []  # before any work
    with pytest.raises(DatasetError, match="holds no folder"):
        train(dataset, encoder, settings, tmp_path / "out", auxiliary=tmp_path / "empty")
    with pytest.raises(DatasetError, match="name of a class"):
        train(dataset, encoder, settings, tmp_path / "out", auxiliary=data)
