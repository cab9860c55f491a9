from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from protoleak.errors import MediaError
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.images.framing import Framing
from protoleak.images.perturbations import OF_STILLS, SEVERITIES, Step, apply_chain
from protoleak.images.preprocess import preprocess
from protoleak.training.views import View, draw_view, view_sources
from tests.training.images import make_image

FRAMER = Framer(Framing(image_size=64))


def pixels_of(view: View, image: Image.Image) -> np.ndarray:
    """uint8 [64, 64, 3]."""
    return FRAMER.frame(view.made(image), None)[0]


def test_view_zero_is_the_deployed_preprocessing(tmp_path: Path) -> None:
    image = make_image("rows", 1, (90, 70))
    image.save(tmp_path / "a.png")
    deployed = view_sources(tmp_path / "a.png", 2, seed=0, framer=FRAMER, operator_share=0.5)[0]
    np.testing.assert_array_equal(deployed(), preprocess(image, 64)[None])


@pytest.mark.parametrize("operator_share", [0.0, 1.0])
def test_views_depend_on_content_seed_and_number_only(operator_share: float, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        make_image("rows", 1).save(tmp_path / name)
    make_image("rows", 2).save(tmp_path / "c.png")
    a, b, c = ([s.view for s in view_sources(tmp_path / f"{name}.png", 3, 0, FRAMER, operator_share)] for name in "abc")
    assert a == b
    assert a[1:] != c[1:]
    assert a[1:] != [s.view for s in view_sources(tmp_path / "a.png", 3, 1, FRAMER, operator_share)][1:]
    assert len(set(a)) == 4


def test_keys_differ_between_views_contents_and_sizes(tmp_path: Path) -> None:
    make_image("rows", 1).save(tmp_path / "a.png")
    make_image("rows", 2).save(tmp_path / "b.png")
    sources = [
        source
        for name in "ab"
        for size in (64, 128)
        for share in (0.0, 1.0)
        for source in view_sources(tmp_path / f"{name}.png", 2, 0, Framer(Framing(image_size=size)), share)
    ]
    # Of two names, two sizes: two views of each kind, and the deployed one, which is the same for both kinds.
    assert len({source.key for source in sources}) == 2 * 2 * (2 * 2 + 1)


def test_another_face_model_makes_other_keys_where_a_look_needs_a_face(tmp_path: Path) -> None:
    make_image("rows", 1).save(tmp_path / "a.png")
    for name in ("first", "second"):
        (tmp_path / f"{name}.onnx").write_bytes(name.encode())
    keys = [
        source.key
        for name in ("first", "second")
        for source in view_sources(
            tmp_path / "a.png", 1, 0, Framer(Framing(("face",), 64), LargestFace(tmp_path / f"{name}.onnx")), 0.0
        )
    ]
    assert len(set(keys)) == 4


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    index=st.integers(1, 50),
    width=st.integers(32, 300),
    height=st.integers(32, 300),
    operator_share=st.sampled_from([0.0, 1.0]),
)
def test_any_view_of_any_image_has_the_deployed_size(
    seed: int, index: int, width: int, height: int, operator_share: float
) -> None:
    view = draw_view(seed, "0" * 64, index, operator_share)
    pixels = pixels_of(view, Image.new("RGB", (width, height), (9, 99, 199)))
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8


def test_views_cover_crops_flips_sizes_and_both_codecs() -> None:
    views = [draw_view(0, f"{index:064d}", 1, 0.0) for index in range(300)]
    sides = [view.crop[0] for view in views if view.crop is not None]
    assert min(sides) < 0.4
    assert max(sides) > 0.95
    assert 0.4 < np.mean([view.flip for view in views]) < 0.6  # 300 draws: standard error 0.03
    assert {view.codec for view in views} == {None, "JPEG", "WEBP"}
    assert {view.filter for view in views} == {None, "bilinear", "bicubic", "lanczos", "box"}
    sizes = [view.size for view in views if view.size is not None]
    assert min(sizes) < 120
    assert max(sizes) > 480


def test_compression_and_cropping_change_the_pixels() -> None:
    image = make_image("rows", 1)
    plain = pixels_of(View(), image)
    assert not np.array_equal(pixels_of(View(codec="JPEG", quality=50), image), plain)
    assert not np.array_equal(pixels_of(View(crop=(0.5, 0.0, 0.0)), image), plain)
    np.testing.assert_array_equal(
        pixels_of(View(flip=True), make_image("rows", 1, (64, 64)))[:, ::-1],
        pixels_of(View(), make_image("rows", 1, (64, 64))),
    )


def test_views_are_chains_of_operators_as_often_as_asked_and_nothing_else_then() -> None:
    views = [draw_view(0, f"{index:064d}", 1, 0.3) for index in range(400)]
    chains = [view for view in views if view.chain]
    assert 0.2 < len(chains) / len(views) < 0.4  # 400 draws: standard error 0.023
    assert all(view.crop is None and view.size is None and view.codec is None for view in chains)
    assert {len(view.chain) for view in chains} == {1, 2, 3}
    assert {step.operator for view in chains for step in view.chain} == set(OF_STILLS)
    assert {step.severity for view in chains for step in view.chain} == set(SEVERITIES)
    assert not any(draw_view(0, f"{index:064d}", 1, 0.0).chain for index in range(50))


def test_a_chain_of_operators_is_applied_to_the_whole_image_before_the_deployed_preprocessing() -> None:
    image = make_image("rows", 1, (90, 70))
    chain = (Step("noise", 4), Step("crop", 3))
    expected = apply_chain(chain, np.asarray(image), np.random.Generator(np.random.Philox(key=7)))
    pixels = pixels_of(View(chain=chain, chain_seed=7), image)
    np.testing.assert_array_equal(pixels, preprocess(Image.fromarray(expected), 64))
    np.testing.assert_array_equal(pixels, pixels_of(View(chain=chain, chain_seed=7), image))
    assert not np.array_equal(pixels, pixels_of(View(chain=chain, chain_seed=8), image))


def test_a_file_that_changed_since_it_was_listed_is_refused(tmp_path: Path) -> None:
    make_image("rows", 1).save(tmp_path / "a.png")
    source = view_sources(tmp_path / "a.png", 0, 0, FRAMER, 0.5)[0]
    make_image("rows", 2).save(tmp_path / "a.png")
    with pytest.raises(MediaError, match="was changed"):
        source()


def test_processes_that_make_views_do_without_pytorch() -> None:
    code = "import sys, protoleak.training.views; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"absent\.png: cannot be read"):
        view_sources(tmp_path / "absent.png", 1, 0, FRAMER, 0.5)
