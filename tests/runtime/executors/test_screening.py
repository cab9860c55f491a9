"""Screening with the executor on the GPU, on a played one: arrays on a GPU, and the choice of executor."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import protoleak
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import Manifest
from protoleak.errors import EngineUnavailable, MediaError
from protoleak.runtime.engines import EngineOptions
from protoleak.runtime.engines.availability import availability

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an extra")
pytest.importorskip("onnx", reason="onnx makes the graphs")

from protoleak.runtime.executors.gpu import GpuExecutor
from tests.runtime.cuda.test_arrays import InterfaceArray
from tests.runtime.executors.played_executor import aligned, make_images, open_played_engines, opened
from tests.runtime.test_pipeline import nan_for_bright_images
from tests.tiny_bundle import IMAGE_SIZE, make_image

SHAPE = (IMAGE_SIZE, IMAGE_SIZE, 3)


def screener_on(executor: GpuExecutor, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> protoleak.Screener:
    monkeypatch.setattr("protoleak.runtime.opening.open_executor", lambda *_, **__: executor)
    return protoleak.load(tiny_bundle, engine="tensorrt-rtx")


def test_verdicts_on_arrays_on_the_gpu_are_those_on_the_same_pixels_on_the_host(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, tiny_bundle: Path
) -> None:
    executor, worker = opened(monkeypatch, bundle)
    screener = screener_on(executor, tiny_bundle, monkeypatch)
    images = aligned(make_images(6))
    host = screener(images)
    before = len(worker.log)
    on_device = screener(InterfaceArray(images))
    assert worker.log[before:].count("read") == 6  # for the SHA-256, and nothing else goes between host and GPU
    assert "upload" not in worker.since(before)
    for one, other, pixels in zip(on_device, host, images, strict=True):
        assert (one.label, one.nearest, one.input) == (other.label, other.nearest, other.input)
        assert one.log_density == pytest.approx(other.log_density, rel=1e-4)
        assert one.input.sha256 == hashlib.sha256(pixels.tobytes()).hexdigest()
        assert one.engine.settings["noising"] == "on the GPU"
        assert set(one.milliseconds) == {"decode", "preprocess", "gpu", "decision"}
    assert len(screener(InterfaceArray(images[0]))) == 1


def test_arrays_on_the_gpu_keep_their_place_among_others_in_a_stream(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, tiny_bundle: Path
) -> None:
    executor, _ = opened(monkeypatch, bundle)
    screener = screener_on(executor, tiny_bundle, monkeypatch)
    images = aligned(make_images(3))
    small = InterfaceArray(np.zeros((8, 8, 3), np.uint8))
    mixed: Any = [images[0], InterfaceArray(images[1]), small, InterfaceArray(images), images[2]]
    first, second, refused, many, last = screener.each(mixed)
    expected = screener(images)
    for found, wanted in zip((first, second, last), expected, strict=True):
        assert isinstance(found, protoleak.Verdict)
        assert found.input == wanted.input
        assert found.log_density == pytest.approx(wanted.log_density, rel=1e-4)
    assert str(refused).startswith("image 2 has the shape [1, 8, 8, 3]")
    assert str(many) == "image 3: 3 images in one array: give them one by one here"


def test_one_bad_latent_in_an_array_on_the_gpu_leaves_the_others_their_verdicts(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, tiny_bundle: Path, tiny_files: tuple[Manifest, dict[str, bytes]]
) -> None:
    executor, _ = opened(monkeypatch, bundle, nan_for_bright_images(tiny_files[1]))
    screener = screener_on(executor, tiny_bundle, monkeypatch)
    images = aligned(make_images(3))
    images[1] = 255
    first, failure, last = screener.each(executor.take("images", InterfaceArray(images)))
    assert isinstance(first, protoleak.Verdict)
    assert isinstance(last, protoleak.Verdict)
    assert str(failure).startswith("image 1: the latent encoder gave 256 of 256")


def test_arrays_that_lie_apart_on_the_gpu_get_their_own_verdicts(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, tiny_bundle: Path
) -> None:
    executor, _ = opened(monkeypatch, bundle)
    screener = screener_on(executor, tiny_bundle, monkeypatch)
    images = make_images(3)
    apart = [InterfaceArray(aligned(one)) for one in images]
    for one, other in zip(screener(apart), screener(images), strict=True):
        assert one.input == other.input
        assert one.log_density == pytest.approx(other.log_density, rel=1e-4)


@pytest.mark.parametrize("fits", [True, False])
def test_tensorrt_takes_the_line_on_the_gpu_unless_the_kernel_cannot_hold_the_planes(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, tiny_bundle: Path, fits: bool
) -> None:
    told: list[str] = []
    options = EngineOptions(batch_maximum=4, notify=told.append)
    engines = open_played_engines(monkeypatch, bundle, options)
    monkeypatch.setattr("protoleak.runtime.executors.gpu_opening.open_worker_and_engines", lambda *_: engines)
    if not fits:
        monkeypatch.setattr("protoleak.runtime.cuda.noising.SHARED_BYTES", 100)
    screener = protoleak.load(tiny_bundle, engine="tensorrt-rtx", engine_options=options)
    images = [make_image(kind, 3) for kind in (0, 1, 2, None)]
    for one, other in zip(screener(images), protoleak.load(tiny_bundle, engine="onnxruntime")(images), strict=True):
        assert (one.label, one.nearest) == (other.label, other.nearest)
        assert one.log_density == pytest.approx(other.log_density, rel=1e-4)
    settings = screener.engine.settings
    if fits:
        assert (settings["noising"], told) == ("on the GPU", [])
    else:
        assert settings["noising"].startswith("on the CPU: latent planes of 8×8 with 3 low-frequency components need")
        assert told == [f"noising runs {settings['noising']}"]


def test_without_a_gpu_tensorrt_is_unavailable_and_bf16_and_threads_are_refused_as_ever(tiny_bundle: Path) -> None:
    if availability("tensorrt-rtx").runs:
        pytest.skip("there is a GPU here")
    with pytest.raises(EngineUnavailable, match=r"GPU|driver"):
        protoleak.load(tiny_bundle, engine="tensorrt-rtx")
    with pytest.raises(EngineUnavailable, match=r"tensorrt-rtx .* takes no --compute bf16"):
        protoleak.load(tiny_bundle, engine="tensorrt-rtx", engine_options=EngineOptions(compute="bf16"))
    with pytest.raises(EngineUnavailable, match="0 threads"):
        protoleak.load(tiny_bundle, engine="tensorrt-rtx", threads=0)


def test_on_the_cpu_an_array_on_the_gpu_is_a_media_error_with_the_remedy(tiny_bundle: Path) -> None:
    screener = protoleak.load(tiny_bundle, engine="onnxruntime")
    array: Any = InterfaceArray(np.zeros(SHAPE, np.uint8))
    remedy = "InterfaceArray is on a GPU, and images for the engine onnxruntime come from .* NumPy .* engine='tensorrt'"
    with pytest.raises(MediaError, match=f"images: this {remedy}"):
        screener(array)
    good, bad, last = screener.each([make_image(0, 1), array, make_image(0, 2)])
    assert isinstance(good, protoleak.Verdict)
    assert isinstance(last, protoleak.Verdict)
    assert isinstance(bad, MediaError)
    assert str(bad).startswith("image 1: this InterfaceArray is on a GPU")
