"""What the operators do to an image."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from protoleak.errors import MediaError, ProtoleakError
from protoleak.images.perturbations import (
    OF_STILLS,
    OPERATORS,
    SEVERITIES,
    Step,
    apply,
    apply_chain,
    draw_chain,
)


def make_image(height: int = 96, width: int = 120) -> np.ndarray:
    """uint8 [height, width, 3]: smooth colours with some texture, like a photograph."""
    random = np.random.default_rng(5)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
    return np.clip(smooth + random.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def change(before: np.ndarray, after: np.ndarray) -> float:
    """Root mean square difference, after bringing the result back to the size of the original."""
    size = (before.shape[1], before.shape[0])
    back = np.asarray(Image.fromarray(after).resize(size, Image.Resampling.BICUBIC), dtype=np.float64)
    return float(np.sqrt(np.square(back - before).mean()))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_there_are_the_operators_of_wild_that_need_no_network_and_video_codecs() -> None:
    wild = {"jpeg", "webp", "crop", "resize", "rotation", "contrast", "brightness", "blur", "greyscale", "noise"}
    assert set(OF_STILLS) == wild
    assert set(OPERATORS) == wild | {"h264", "h265"}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_an_operator_gives_an_rgb_image_and_leaves_the_original_alone(name: str, severity: int) -> None:
    original = make_image()
    kept = original.copy()
    result = apply(name, severity, original, generator())
    assert result.dtype == np.uint8
    assert result.ndim == 3
    assert result.shape[2] == 3
    assert not np.shares_memory(result, original)
    np.testing.assert_array_equal(original, kept)
    assert change(original, result) > 0


@pytest.mark.parametrize("name", OPERATORS)
def test_the_same_random_state_gives_the_same_image(name: str) -> None:
    first, second = (apply(name, 4, make_image(), generator(9)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", sorted(set(OPERATORS) - {"crop"}))  # a crop is another image, whatever its size
def test_a_higher_severity_changes_more(name: str) -> None:
    # One state for all severities: darker stays darker, left stays left.
    changes = [change(make_image(), apply(name, severity, make_image(), generator(3))) for severity in SEVERITIES]
    assert changes == sorted(changes)
    assert changes[0] < changes[-1]


def test_a_crop_keeps_its_share_of_each_side_and_lies_anywhere() -> None:
    original = make_image(200, 100)
    crops = [apply("crop", 5, original, generator(seed)) for seed in range(20)]
    assert {crop.shape for crop in crops} == {(100, 50, 3)}
    assert len({crop.tobytes() for crop in crops}) > 10
    assert any(np.array_equal(original[y : y + 100, x : x + 50], crops[0]) for y in range(101) for x in range(51))


def test_a_resized_image_has_its_share_of_each_side() -> None:
    assert apply("resize", 5, make_image(400, 200), generator()).shape == (100, 50, 3)


@pytest.mark.parametrize("name", ["crop", "resize"])
def test_no_image_gets_smaller_than_a_face_that_can_be_read(name: str) -> None:
    assert apply(name, 5, make_image(40, 50), generator()).shape == (32, 32, 3)
    assert apply(name, 5, make_image(20, 200), generator())[:, :, 0].shape[0] == 20


def test_full_greyscale_has_three_equal_channels() -> None:
    grey = apply("greyscale", 5, make_image(), generator())
    assert np.ptp(grey.astype(int), axis=2).max() == 0


@pytest.mark.parametrize("name", ["contrast", "brightness"])
def test_a_factor_goes_either_way(name: str) -> None:
    measure = np.std if name == "contrast" else np.mean
    before = float(measure(make_image().astype(float)))
    after = [float(measure(apply(name, 3, make_image(), generator(seed)).astype(float))) for seed in range(12)]
    assert min(after) < before < max(after)


def test_rotation_goes_either_way_and_leaves_no_black_corner() -> None:
    white = np.full((80, 80, 3), 255, dtype=np.uint8)
    assert apply("rotation", 5, white, generator()).min() == 255
    turned = {apply("rotation", 5, make_image(), generator(seed)).tobytes() for seed in range(12)}
    assert len(turned) == 2


def test_noise_has_the_standard_deviation_that_it_says() -> None:
    grey = np.full((200, 200, 3), 128, dtype=np.uint8)
    noisy = apply("noise", 3, grey, generator()).astype(float)
    # 120,000 samples: the standard error of σ is 8/√240,000 = 0.016, and rounding adds 1/12 to the variance
    assert noisy.std() == pytest.approx(np.sqrt(64 + 1 / 12), abs=0.08)


@pytest.mark.parametrize(
    ("name", "severity", "image", "message"),
    [
        ("sharpen", 1, make_image(), "there is no operator 'sharpen': choose one of jpeg"),
        ("jpeg", 0, make_image(), "severity 0: give one from 1 to 5"),
        ("jpeg", 6, make_image(), "severity 6"),
    ],
)
def test_what_there_is_not_is_refused(name: str, severity: int, image: np.ndarray, message: str) -> None:
    with pytest.raises(ProtoleakError, match=message):
        apply(name, severity, image, generator())


@pytest.mark.parametrize(
    "image",
    [make_image().astype(np.float32), make_image()[..., 0], make_image()[..., :2], np.zeros((0, 5, 3), np.uint8)],
)
def test_anything_but_rgb_bytes_is_refused(image: np.ndarray) -> None:
    with pytest.raises(MediaError, match=r"takes uint8 \[H, W, 3\]"):
        apply("jpeg", 1, image, generator())


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), longest=st.integers(1, len(OF_STILLS)))
def test_a_drawn_chain_has_different_operators_and_no_more_than_asked(seed: int, longest: int) -> None:
    chain = draw_chain(generator(seed), longest)
    assert 1 <= len(chain) <= longest
    assert len({step.operator for step in chain}) == len(chain)
    assert all(step.severity in SEVERITIES and step.operator in OPERATORS for step in chain)
    assert chain == draw_chain(generator(seed), longest)


def test_every_length_operator_and_severity_is_drawn() -> None:
    random = generator(1)
    chains = [draw_chain(random) for _ in range(300)]
    assert {len(chain) for chain in chains} == {1, 2, 3}
    assert {step.operator for chain in chains for step in chain} == set(OF_STILLS)
    assert {step.severity for chain in chains for step in chain} == set(SEVERITIES)


def test_length_and_severities_can_be_chosen() -> None:
    random = generator(2)
    chains = [draw_chain(random, length=2, severities=(1, 3)) for _ in range(50)]
    assert {len(chain) for chain in chains} == {2}
    assert {step.severity for chain in chains for step in chain} == {1, 3}


@pytest.mark.parametrize("length", [0, 11])
def test_a_chain_of_no_or_too_many_operators_is_refused(length: int) -> None:
    with pytest.raises(ProtoleakError, match=f"a chain of {length} operators: give 1 to 10"):
        draw_chain(generator(), length)
    with pytest.raises(ProtoleakError, match="a chain of"):
        draw_chain(generator(), length=length)


def test_a_severity_that_there_is_not_is_not_drawn() -> None:
    with pytest.raises(ProtoleakError, match=r"severities \[0, 1\]"):
        draw_chain(generator(), severities=(0, 1))


def test_a_chain_is_its_operators_in_order() -> None:
    chain = (Step("crop", 3), Step("jpeg", 4))
    random = generator(6)
    expected = apply("jpeg", 4, apply("crop", 3, make_image(), random), random)
    np.testing.assert_array_equal(apply_chain(chain, make_image(), generator(6)), expected)
    np.testing.assert_array_equal(apply_chain((), make_image(), generator(6)), make_image())


def test_operators_need_neither_pytorch_nor_scikit_learn() -> None:
    program = (
        "import sys\n"
        "for name in ('torch', 'sklearn', 'scipy', 'onnx', 'diffusers'): sys.modules[name] = None\n"
        "import protoleak.images.perturbations\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
