"""A light latent encoder learns to give its teacher's latents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from protoleak.distillation.data import prepare
from protoleak.distillation.fit import rate
from protoleak.distillation.run import REPORT_FILE, channel_correlations, check_place, distil_student
from protoleak.distillation.settings import DistillationSettings
from protoleak.errors import CheckpointError, DatasetError, EngineError, ProtoleakError
from protoleak.images.preprocess import preprocess
from protoleak.model.latent_encoder import LatentEncoder, load_latent_encoder
from protoleak.progress import Progress, no_progress
from protoleak.training.state import STATE_FILE
from tests.look_bundle import YUNET, face_image
from tests.recorded_progress import RecordedProgress
from tests.training.images import IMAGE_SIZE, make_image, write_images, write_latent_encoder

SMALL: dict[str, Any] = {
    "widths": (8, 8, 8),
    "blocks": (1, 1, 1),
    "views": 2,
    "epochs": 4,
    "batch_size": 8,
    "image_size": IMAGE_SIZE,
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_images(tmp_path / "data", "rows", 14)
    return tmp_path / "data"


@pytest.fixture
def teacher(tmp_path: Path) -> LatentEncoder:
    return load_latent_encoder(write_latent_encoder(tmp_path / "teacher.onnx"))


def distil(
    teacher: LatentEncoder,
    folder: Path,
    out: Path,
    settings: DistillationSettings,
    cache: Path | None = None,
    progress: Progress = no_progress,
    *,
    workers: int = 0,
    resume: bool = False,
) -> dict[str, Any]:
    """What the command does for one student."""
    check_place(out)
    return distil_student(prepare(teacher, folder, settings, cache, workers, progress), out, settings, progress, resume)


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


def test_the_student_follows_its_teacher_on_images_it_never_saw(
    tmp_path: Path, data: Path, teacher: LatentEncoder
) -> None:
    settings = DistillationSettings(**{**SMALL, "epochs": 30, "learning_rate": 5e-3})
    report = distil(teacher, data, tmp_path / "student", settings)
    student = load_latent_encoder(tmp_path / "student")
    images = np.stack([preprocess(make_image("columns", 900 + index), IMAGE_SIZE) for index in range(6)])
    found, wanted = student.encode(images), teacher.encode(images)
    assert found.shape == wanted.shape
    # Far above what an untrained student gives (about 0), and far below what this one reaches.
    assert min(channel_correlations(found, wanted)) > 0.6
    per_channel = report["correlation_per_channel"]
    assert isinstance(per_channel, list)
    assert len(per_channel) == 4
    assert report["correlation_lowest"] == min(per_channel)
    assert min(per_channel) > 0.6
    # The teacher's mean and spread are put back: a latent can stand where the teacher's did.
    assert np.abs(found.mean(axis=(0, 2, 3)) - wanted.mean(axis=(0, 2, 3))).max() < wanted.std()


def test_the_correlation_is_that_of_the_held_out_images(tmp_path: Path, data: Path, teacher: LatentEncoder) -> None:
    settings = DistillationSettings(**{**SMALL, "views": 0})
    report = distil(teacher, data, tmp_path / "student", settings)
    student = load_latent_encoder(tmp_path / "student")
    assert (report["training_images"], report["held_out_images"]) == (12, 2)
    images = [preprocess(make_image("rows", index), IMAGE_SIZE) for index in range(14)]
    pairs = [
        channel_correlations(student.encode(both), teacher.encode(both))
        for first in range(14)
        for second in range(first)
        for both in [np.stack([images[first], images[second]])]
    ]
    # To the four digits that the report has, one pair of the fourteen gives it: the two that were held out.
    per_channel = report["correlation_per_channel"]
    assert sum(np.allclose(pair, per_channel, atol=1e-4) for pair in pairs) == 1


def test_the_same_seed_gives_the_same_student_and_another_seed_another(
    tmp_path: Path, data: Path, teacher: LatentEncoder
) -> None:
    settings = DistillationSettings(**{**SMALL, "epochs": 1})
    first = distil(teacher, data, tmp_path / "a", settings, tmp_path / "cache")
    torch.rand(7)  # whatever else draws random numbers in the process must not matter
    second = distil(teacher, data, tmp_path / "b", settings)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert first | {"seconds": 0} == second | {"seconds": 0}
    distil(teacher, data, tmp_path / "c", DistillationSettings(**{**SMALL, "epochs": 1, "seed": 1}))
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_distillation_leaves_the_caller_s_random_numbers_alone(
    tmp_path: Path, data: Path, teacher: LatentEncoder
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    distil(teacher, data, tmp_path / "a", DistillationSettings(**{**SMALL, "epochs": 1}))
    assert torch.equal(torch.rand(3), expected)


def test_unreadable_images_are_skipped_counted_and_named(tmp_path: Path, data: Path, teacher: LatentEncoder) -> None:
    (data / "001.png").write_bytes(b"")
    (data / "deep").mkdir()
    (data / "deep" / "letter.png").write_text("a text file")
    report = distil(teacher, data, tmp_path / "student", DistillationSettings(**{**SMALL, "epochs": 1}))
    skipped = report["skipped"]
    assert isinstance(skipped, list)
    assert sorted(skipped) == ["001.png", "deep/letter.png"]
    counts = [report["training_images"], report["held_out_images"]]
    assert sum(int(str(count)) for count in counts) == 13
    assert json.loads((tmp_path / "student" / REPORT_FILE).read_text()) == json.loads(json.dumps(report))


@pytest.mark.parametrize("readable", [9, 0])
def test_fewer_than_ten_readable_images_are_refused_with_their_number(
    readable: int, tmp_path: Path, data: Path, teacher: LatentEncoder
) -> None:
    for path in sorted(data.iterdir())[readable:]:
        path.write_bytes(b"broken")
    with pytest.raises(DatasetError, match=f"{readable} readable images of 14"):
        distil(teacher, data, tmp_path / "student", DistillationSettings(**SMALL))
    assert not (tmp_path / "student").exists()


def test_a_folder_of_too_few_images_is_refused_before_any_work(tmp_path: Path, teacher: LatentEncoder) -> None:
    write_images(tmp_path / "few", "rows", 9)
    with pytest.raises(DatasetError, match="holds 9 images: distillation needs at least 10"):
        distil(teacher, tmp_path / "few", tmp_path / "student", DistillationSettings(**SMALL))


def test_a_place_that_holds_something_else_is_refused_before_any_work_and_a_student_is_replaced(
    tmp_path: Path, data: Path, teacher: LatentEncoder
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    seen = RecordedProgress()
    settings = DistillationSettings(**{**SMALL, "epochs": 1})
    with pytest.raises(CheckpointError, match="not a light encoder"):
        distil(teacher, data, tmp_path / "precious", settings, progress=seen)
    assert seen == []
    distil(teacher, data, tmp_path / "student", settings)
    before = weights(tmp_path / "student")
    distil(teacher, data, tmp_path / "student", DistillationSettings(**{**SMALL, "epochs": 2}))
    assert weights(tmp_path / "student") != before


def test_training_that_diverges_is_an_error_and_leaves_nothing(
    tmp_path: Path, data: Path, teacher: LatentEncoder
) -> None:
    settings = DistillationSettings(**{**SMALL, "learning_rate": 1e30})
    with pytest.raises(EngineError, match="diverged in epoch"):
        distil(teacher, data, tmp_path / "student", settings)
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize("epochs", [1, 2, 3, 6, 7, 10, 20, 21, 40])
def test_any_number_of_steps_can_be_scheduled(epochs: int, tmp_path: Path, data: Path, teacher: LatentEncoder) -> None:
    settings = DistillationSettings(
        **SMALL | {"widths": (1, 1, 1), "views": 0, "epochs": epochs, "batch_size": 64}  # one step an epoch
    )
    losses = distil(teacher, data, tmp_path / "student", settings, tmp_path / "cache")["loss_per_epoch"]
    assert isinstance(losses, list)
    assert len(losses) == epochs


def test_an_interrupted_run_goes_on_to_the_same_student_and_another_run_s_state_is_refused(
    tmp_path: Path, data: Path, teacher: LatentEncoder
) -> None:
    settings = DistillationSettings(**{**SMALL, "window": 32})
    distil(teacher, data, tmp_path / "whole", settings)

    def interrupt(stage: str, done: int, _total: int, _note: str = "", /) -> None:
        if stage == "epoch 3 of 4" and done == 2:  # of five steps
            raise KeyboardInterrupt

    out = tmp_path / "student"
    with pytest.raises(KeyboardInterrupt):
        distil(teacher, data, out, settings, progress=interrupt)
    assert sorted(path.name for path in out.iterdir()) == [STATE_FILE]
    other = DistillationSettings(**{**SMALL, "window": 32, "learning_rate": 1e-3})
    with pytest.raises(CheckpointError, match="other settings"):
        distil(teacher, data, out, other, resume=True)
    steps = RecordedProgress()
    distil(teacher, data, out, settings, progress=steps, resume=True)
    assert [stage for stage in steps.stages if stage.startswith("epoch")] == ["epoch 3 of 4", "epoch 4 of 4"]
    assert [call.done for call in steps if call.stage == "epoch 3 of 4"] == [1, 2, 3, 4, 5]
    assert weights(out) == weights(tmp_path / "whole")
    assert sorted(path.name for path in out.iterdir()) == ["config.json", REPORT_FILE, "weights.safetensors"]


def test_students_of_one_family_learn_from_the_same_views_made_once(
    tmp_path: Path, data: Path, teacher: LatentEncoder
) -> None:
    small, large = (DistillationSettings(**{**SMALL, "widths": widths}) for widths in ((8, 8, 8), (8, 8, 12)))
    prepared = prepare(teacher, data, small, workers=2)
    reports = [distil_student(prepared, tmp_path / str(n), settings) for n, settings in enumerate((small, large))]
    assert reports[0]["data_hash"] == reports[1]["data_hash"]
    assert float(str(reports[0]["gflop"])) < float(str(reports[1]["gflop"]))
    distil(teacher, data, tmp_path / "alone", small)  # by itself, and without workers
    assert weights(tmp_path / "0") == weights(tmp_path / "alone")


def test_the_learning_rate_rises_once_and_falls_to_nearly_nothing() -> None:
    rates = [rate(step, 100) for step in range(100)]
    assert max(rates) == 1.0
    top = rates.index(1.0)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 <= rates[-1] < 0.01
    assert rate(0, 1) == 1.0


def test_a_window_that_is_off_the_latent_s_grid_is_refused() -> None:
    with pytest.raises(ProtoleakError, match="window is 100"):
        DistillationSettings(window=100)


def test_progress_has_stages_and_the_error(tmp_path: Path, data: Path, teacher: LatentEncoder) -> None:
    seen = RecordedProgress()
    settings = DistillationSettings(**{**SMALL, "epochs": 2})
    distil(teacher, data, tmp_path / "student", settings, progress=seen)
    assert seen.stages == [
        *("views to learn from", "the teacher's latents to learn from"),
        *("views to measure with", "the teacher's latents to measure with"),
        *("epoch 1 of 2", "epoch 2 of 2"),
    ]
    assert seen[-1].done == seen[-1].total == 5  # 12 images in 3 views each, by 8
    assert seen[-1].note.startswith("error 0.") or seen[-1].note.startswith("error 1.")


def test_channel_correlations_are_those_of_numpy() -> None:
    random = np.random.default_rng(0)
    student, teacher = random.normal(size=(2, 3, 2, 4, 4)).astype(np.float32)
    teacher += student
    expected = [np.corrcoef(student[:, c].ravel(), teacher[:, c].ravel())[0, 1] for c in range(2)]
    np.testing.assert_allclose(channel_correlations(student, teacher), expected, rtol=1e-5)  # float32 means
    assert channel_correlations(student, np.zeros_like(teacher)) == [0.0, 0.0]


def test_every_look_at_a_face_is_learnt_from(tmp_path: Path, teacher: LatentEncoder) -> None:
    for number in range(10):
        face_image("none", number).save(tmp_path / f"{number}.png")
    make_image("rows", 3).save(tmp_path / "faceless.png")
    settings = DistillationSettings(**{**SMALL, "views": 1, "image_size": 64, "looks": ("face", "image")})
    found = prepare(teacher, tmp_path, settings, face_model=YUNET)
    assert found.skipped == ["faceless.png"]
    assert found.seen.sources + found.unseen.sources == 10
    for part in (found.seen, found.unseen):
        assert part.images.shape == (4 * part.sources, 64, 64, 3)  # two views in two looks
        np.testing.assert_allclose(part.latents, teacher.encode(np.asarray(part.images)), atol=1e-5)
        assert not np.array_equal(part.images[0], part.images[1])  # the face is not the whole image


@pytest.mark.parametrize("looks", [(), ("face", "face"), ("nose",)])
def test_looks_that_say_nothing_are_refused(looks: tuple[str, ...]) -> None:
    with pytest.raises(ProtoleakError, match="look"):
        DistillationSettings(**{**SMALL, "looks": looks})
