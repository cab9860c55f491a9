"""The noising kernel, built for the host, against the NumPy that defines it."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.diffusion import NoiseSchedule, noise_bank
from protoleak.runtime.cuda.noising import THREADS, projection_basis, vector_width
from protoleak.runtime.noising import Noising

Array = npt.NDArray[Any]
GUARD = 64  # values behind the result that must stay as they are


def make_noising(timesteps: int, channels: int, height: int, width: int, components: int | None) -> Noising:
    """As `Noising.of`, for a latent of any shape."""
    steps = tuple(50 * t for t in range(timesteps))
    noise = noise_bank(7, steps, (channels, height, width))
    return Noising.build(noise, NoiseSchedule().coefficients(steps), components)


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Zeros that begin at a multiple of 16 bytes, as GPU memory does."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 16, np.uint8)
    start = -raw.ctypes.data % 16
    return raw[start : start + size].view(dtype).reshape(shape)


def on_host(
    library: ctypes.CDLL, noising: Noising, z0: Array, dtype: npt.DTypeLike, values: int | None = None
) -> Array:
    """What CudaNoising.enqueue launches. `values` overrules how many values a thread moves at once."""
    images, channels, height, width = z0.shape
    timesteps, out_channels = noising.noise_term.shape[:2]
    basis, projection = np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32)
    components = 0
    if noising.projections is not None:
        basis = np.ascontiguousarray(projection_basis(noising.projections[0]))
        projection = np.ascontiguousarray(noising.projections[1].T)
        components = basis.shape[1]
    source, noise = aligned(z0.shape, z0.dtype), aligned(noising.noise_term.shape, np.float32)
    source[...], noise[...] = z0, noising.noise_term
    shape = images, timesteps, out_channels, height, width
    result = aligned((int(np.prod(shape)) + GUARD,), dtype)
    result[...] = 123
    if values is None:
        values = vector_width(width, z0.dtype, dtype)
    name = f"noise_{z0.dtype.name}_{np.dtype(dtype).name}" + ("_wide" if values > 1 else "")
    factor = np.ascontiguousarray(noising.latent_factor)
    pointers = (source, noise, factor, basis, projection, result)
    sizes = channels, height, width, timesteps, components, images * channels
    per_plane = 1 if components else -(-height * width // (THREADS * values))
    getattr(library, name)(*(ctypes.c_void_p(array.ctypes.data) for array in pointers), *sizes, per_plane)
    assert library.count_misaligned_loads() == 0
    assert (result[-GUARD:] == 123).all(), "the kernel wrote behind its result"
    return result[:-GUARD].reshape(shape).copy()


def latents(seed: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


shapes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 12), st.sampled_from([1, 3, 4, 7, 8, 12, 16]))
floats = st.sampled_from([np.float32, np.float16])


@settings(max_examples=60, deadline=None)
@given(shapes, st.integers(1, 4), floats, floats)
def test_without_low_frequency_half_the_kernel_equals_numpy_to_the_last_bit(
    host_noising: ctypes.CDLL,
    shape: tuple[int, int, int, int],
    timesteps: int,
    read: type[np.floating[Any]],
    written: type[np.floating[Any]],
) -> None:
    noising = make_noising(timesteps, *shape[1:], components=None)
    z0 = latents(1, shape, read)
    expected = noising(z0.astype(np.float32)).astype(written)
    np.testing.assert_array_equal(on_host(host_noising, noising, z0, written), expected)


@settings(max_examples=60, deadline=None)
@given(shapes, st.integers(1, 4), floats, floats, st.data())
def test_with_low_frequency_half_the_kernel_agrees_with_numpy(
    host_noising: ctypes.CDLL,
    shape: tuple[int, int, int, int],
    timesteps: int,
    read: type[np.floating[Any]],
    written: type[np.floating[Any]],
    data: st.DataObject,
) -> None:
    components = data.draw(st.integers(1, min(shape[2:])))
    noising = make_noising(timesteps, *shape[1:], components=components)
    z0 = latents(2, shape, read)
    got = on_host(host_noising, noising, z0, written)
    exact = noising(z0.astype(np.float32))
    channels = shape[1]
    np.testing.assert_array_equal(got[:, :, :channels], exact[:, :, :channels].astype(written))
    # A sum of up to 16 products each way, in another order than NumPy's, of values below 5 and then times the factor:
    # some float32 roundings of the largest product; the half result adds its own rounding.
    factor = noising.latent_factor[:, None, None, None]
    tolerance = 40 * np.finfo(np.float32).eps * np.abs(z0).max() * factor + np.finfo(written).eps * np.abs(exact)
    difference = np.abs(got.astype(np.float64) - exact)
    assert (difference <= np.broadcast_to(tolerance, exact.shape) + 1e-7).all()


@pytest.mark.parametrize("components", [None, 8])
@pytest.mark.parametrize("written", [np.float32, np.float16])
def test_a_latent_of_real_size_agrees_with_numpy(
    host_noising: ctypes.CDLL, components: int | None, written: type[np.floating[Any]]
) -> None:
    noising = make_noising(5, 4, 32, 32, components)
    z0 = latents(3, (2, 4, 32, 32), np.float32)
    # 64 products per value; the largest latent factor is 34 (timestep 0)
    np.testing.assert_allclose(
        on_host(host_noising, noising, z0, written), noising(z0), rtol=np.finfo(written).eps, atol=34 * 1e-5
    )


@pytest.mark.parametrize("components", [None, 3])
@pytest.mark.parametrize("read", [np.float32, np.float16])
@pytest.mark.parametrize("written", [np.float32, np.float16])
def test_sixteen_byte_and_single_accesses_give_the_same_bits(
    host_noising: ctypes.CDLL,
    components: int | None,
    read: type[np.floating[Any]],
    written: type[np.floating[Any]],
) -> None:
    noising = make_noising(3, 2, 6, 16, components)
    z0 = latents(4, (2, 2, 6, 16), read)
    wide = on_host(host_noising, noising, z0, written)
    np.testing.assert_array_equal(wide, on_host(host_noising, noising, z0, written, values=1))


@pytest.mark.parametrize("components", [None, 5])
def test_the_order_in_which_threads_run_changes_nothing(host_noising: ctypes.CDLL, components: int | None) -> None:
    noising = make_noising(3, 2, 20, 24, components)
    z0 = latents(5, (2, 2, 20, 24), np.float32)
    forward = on_host(host_noising, noising, z0, np.float32)
    host_noising.set_reverse(1)
    try:
        backward = on_host(host_noising, noising, z0, np.float32)
    finally:
        host_noising.set_reverse(0)
    np.testing.assert_array_equal(forward, backward)


def test_an_image_gives_the_same_bits_in_any_batch(host_noising: ctypes.CDLL) -> None:
    noising = make_noising(2, 3, 8, 8, 4)
    z0 = latents(6, (4, 3, 8, 8), np.float32)
    batch = on_host(host_noising, noising, z0, np.float32)
    for image in range(4):
        np.testing.assert_array_equal(
            batch[image], on_host(host_noising, noising, z0[image : image + 1], np.float32)[0]
        )


def test_the_host_converts_every_half_as_numpy_does(host_noising: ctypes.CDLL) -> None:
    """Otherwise the agreement of float16 results would say nothing about the kernel."""
    host_noising.float_of.restype, host_noising.half_of.restype = ctypes.c_float, ctypes.c_ushort
    host_noising.half_of.argtypes = [ctypes.c_float]
    bits = np.arange(0, 2**16, 7, dtype=np.uint16)
    halves = bits.view(np.float16)
    back = np.array([host_noising.float_of(int(b)) for b in bits], np.float32)
    np.testing.assert_array_equal(back, halves.astype(np.float32))
    rng = np.random.default_rng(8)
    numbers = (rng.standard_normal(4000) * 10.0 ** rng.integers(-9, 6, 4000)).astype(np.float32)
    halfway = np.array([1 + 2**-11, 1 + 3 * 2**-11, 65519, 65520, 2**-25, 3 * 2**-25], np.float32)  # ties, the ends
    numbers = np.concatenate([numbers, halfway, -halfway])
    got = np.array([host_noising.half_of(float(number)) for number in numbers], np.uint16)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got.view(np.float16), numbers.astype(np.float16))


def test_a_matrix_that_is_no_projection_is_refused() -> None:
    with pytest.raises(ValueError, match="no orthogonal projection"):
        projection_basis(np.full((4, 4), 0.7, np.float32))
