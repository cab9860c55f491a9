"""Several looks at a face: the executors against a loop over looks in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.diffusion import noised_latents
from protoleak.errors import EngineError, MediaError
from protoleak.runtime.engines import open_engine
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS, Graphs, HostExecutor, open_executor
from protoleak.runtime.pipeline import FramedFace, ImagePipeline
from tests.tiny_bundle import COMPONENTS, IMAGE_SIZE, make_image

LOOKS, FACES = 3, 5


def different_looks(faces: int, first: int = 0) -> np.ndarray:
    """uint8 [faces, 3, S, S, 3]; every look differs from every other, so that a swapped one shows."""
    images = [make_image(seed % 3, first + seed, IMAGE_SIZE, IMAGE_SIZE) for seed in range(faces * LOOKS)]
    return np.stack(images).reshape(faces, LOOKS, IMAGE_SIZE, IMAGE_SIZE, 3)


def look_by_look(bundle: Bundle, looks: np.ndarray) -> dict[str, np.ndarray]:
    """What the bundle's graphs give for uint8 [N, L, S, S, 3], each look encoded and noised alone."""
    graphs = Graphs.of_variant(bundle.variant("fp32"))
    encoder, attributor = (
        open_engine("onnxruntime", graph, threads=1) for graph in (graphs.latent_encoder, graphs.attributor)
    )
    factors = bundle.manifest.coefficients()
    parts = []
    for look in range(looks.shape[1]):
        z0 = encoder.run({"image": np.ascontiguousarray(looks[:, look])})["z0"]
        parts.append(noised_latents(z0, bundle.noise_bank, *factors, COMPONENTS))
    z_t = np.concatenate(parts, axis=1)
    return {"z_t": z_t, **attributor.run({"z_t": z_t})}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name, values in expected.items():
        # The same graphs in other batches and thread counts: rounding of float32 sums.
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4, err_msg=name)


def test_the_host_gives_what_a_loop_over_looks_gives(look_bundle: Bundle) -> None:
    graphs = Graphs.of_variant(look_bundle.variant("fp32"))
    executor = open_executor("onnxruntime", graphs, look_bundle.manifest, look_bundle.noise_bank, threads=1)
    looks = different_looks(FACES)
    found = executor.run(looks.reshape(-1, *looks.shape[2:]), stages=True)
    assert found.z_t is not None
    assert found.z_t.shape[:2] == (FACES, LOOKS * 2)
    same(found.stages, look_by_look(look_bundle, looks))
    swapped = look_by_look(look_bundle, looks[:, ::-1])
    assert np.abs(swapped["z_t"] - found.z_t).max() > 0.1  # the order of the looks is part of what is compared


def test_a_look_that_faces_of_one_image_share_is_encoded_once(look_bundle: Bundle) -> None:
    graphs = Graphs.of_variant(look_bundle.variant("fp32"))
    executor = open_executor("onnxruntime", graphs, look_bundle.manifest, look_bundle.noise_bank, threads=1)
    looks = different_looks(FACES)
    looks[1:4, 2] = looks[0, 2]  # four faces of one image, and a fifth of another
    assert isinstance(executor, HostExecutor)
    encoded = []
    encoder = executor._engines[0]
    run = encoder.run
    encoder.run = lambda feeds: encoded.append(len(feeds["image"])) or run(feeds)
    found = executor.run(looks.reshape(-1, *looks.shape[2:]), stages=True)
    assert encoded == [FACES * LOOKS - 3]
    for index, face in enumerate(looks):
        alone = executor.run(face, stages=True)
        for name in ("z0", *ATTRIBUTOR_OUTPUTS):
            rows = slice(index * LOOKS, (index + 1) * LOOKS) if name == "z0" else slice(index, index + 1)
            np.testing.assert_array_equal(found.stages[name][rows], alone.stages[name], err_msg=name)


def test_an_incomplete_set_of_looks_is_refused_with_the_number_that_a_face_has(look_bundle: Bundle) -> None:
    graphs = Graphs.of_variant(look_bundle.variant("fp32"))
    executor = open_executor("onnxruntime", graphs, look_bundle.manifest, look_bundle.noise_bank, threads=1)
    with pytest.raises(EngineError, match="4 images for a bundle with 3 looks"):
        executor.run(np.zeros((4, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8))


def test_a_face_framed_for_another_bundle_is_an_error_in_its_place(tiny_look_bundle: Path) -> None:
    looks = different_looks(2)
    with ImagePipeline(tiny_look_bundle, engine="onnxruntime", threads=1) as pipeline:
        first, second, third = pipeline.each([FramedFace(looks[0]), FramedFace(looks[1, :1]), FramedFace(looks[1])])
    assert isinstance(second, MediaError)
    assert "image 1: framed as uint8 [1, 64, 64, 3], and the bundle's looks face, native, image" in str(second)
    for verdict in (first, third):
        assert not isinstance(verdict, Exception)
        assert sum(verdict.why.look_weights.values()) == pytest.approx(1)
        assert list(verdict.why.look_weights) == ["face", "native", "image"]
        assert list(verdict.why.timestep_weights) == [0, 200]


def test_weights_of_looks_and_timesteps_are_sums_of_the_networks_own(tiny_look_bundle: Path) -> None:
    bundle = Bundle.load(tiny_look_bundle)
    looks = different_looks(1)
    (weights,) = look_by_look(bundle, looks)["timestep_weight"]  # look by look, each with its timesteps
    with ImagePipeline(bundle, engine="onnxruntime", threads=1) as pipeline:
        why = pipeline(FramedFace(looks[0]))[0].why
    assert list(why.look_weights.values()) == pytest.approx(
        [weights[0:2].sum(), weights[2:4].sum(), weights[4:6].sum()], rel=1e-4
    )
    assert list(why.timestep_weights.values()) == pytest.approx([weights[::2].sum(), weights[1::2].sum()], rel=1e-4)


def test_a_gpu_gives_what_a_loop_over_looks_gives_in_parts_and_replayed(
    monkeypatch: pytest.MonkeyPatch, look_bundle: Bundle
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an extra")
    from tests.runtime.executors.played_executor import opened

    executor, _ = opened(monkeypatch, look_bundle)
    assert executor.batch_maximum == 4  # faces, not looks
    for run in range(3):  # plain, captured, replayed; five faces are more than the plan takes at once
        looks = different_looks(FACES, 100 * run)
        found = executor.run(looks.reshape(-1, *looks.shape[2:]), stages=True)
        same(found.stages, look_by_look(look_bundle, looks))
    assert executor.captured == (4, 1)


def test_a_callers_looks_on_the_gpu_are_taken_face_by_face_and_judged_as_on_the_host(
    monkeypatch: pytest.MonkeyPatch, look_bundle: Bundle, tiny_look_bundle: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an extra")
    from tests.runtime.cuda.test_arrays import InterfaceArray
    from tests.runtime.executors.played_executor import aligned, opened

    executor, _ = opened(monkeypatch, look_bundle)
    monkeypatch.setattr("protoleak.runtime.opening.open_executor", lambda *_, **__: executor)
    pipeline = ImagePipeline(tiny_look_bundle, engine="tensorrt-rtx")
    looks = different_looks(2)
    flat = aligned(looks.reshape(-1, *looks.shape[2:]))
    on_device = pipeline(InterfaceArray(flat))
    on_host = pipeline([FramedFace(face) for face in looks])
    assert [one.input for one in on_device] == [one.input for one in on_host]
    for one, other in zip(on_device, on_host, strict=True):
        assert one.log_density == pytest.approx(other.log_density, rel=1e-4)
    with pytest.raises(MediaError, match="4 images for a bundle with 3 looks"):
        pipeline(InterfaceArray(flat[:4]))
