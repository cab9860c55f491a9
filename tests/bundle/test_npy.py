"""Array files from strangers: what is wrong with them is one line, and nothing is made of a size that isn't there."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.bundle import npy
from protoleak.bundle.npy import read_npy, read_npz
from protoleak.errors import BundleError


def npy_bytes(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i8", "?", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 4), (2, 1, 5)])
def test_what_numpy_writes_is_read(dtype: str, order: str, shape: tuple[int, ...]) -> None:
    array = np.asarray(np.random.default_rng(0).integers(0, 2, shape), dtype=dtype, order=order)  # type: ignore[call-overload]
    read = read_npy(npy_bytes(array, version=(2, 0)), "here")
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 64), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -1), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
        b"(" * 4000,
        b"",
    ],
)
def test_header_that_lies_is_one_line(header: bytes) -> None:
    data = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(8)
    with pytest.raises(BundleError, match="here") as caught:
        read_npy(data, "here")
    assert "\n" not in str(caught.value)


def test_archive_named_npy_is_said_to_be_one() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    with pytest.raises(BundleError, match=r"it is a \.npz archive"):
        read_npy(buffer.getvalue(), "here")


def test_pickle_is_not_executed() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BundleError, match="object where numbers"):
        read_npy(buffer.getvalue(), "here")


def test_archive_that_unpacks_to_more_than_is_allowed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy, "MAXIMUM_NPZ", 10_000)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(3):
            archive.writestr(f"a{index}.npy", npy_bytes(np.zeros(500)))  # each alone is allowed, all are not
    with pytest.raises(BundleError, match="unpacks to more than"):
        read_npz(buffer.getvalue(), "here")


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_arbitrary_bytes_are_an_error_and_nothing_else(data: bytes) -> None:
    for read in (read_npy, read_npz):
        with pytest.raises(BundleError):
            read(data, "here")
        with pytest.raises(BundleError):
            read(b"\x93NUMPY\1\0" + data, "here")


@pytest.mark.parametrize(
    "shape", ["(9223372036854775808, 0)", "(0, 4611686018427387904, 4611686018427387904)", f"({'1,' * 65})"]
)
def test_a_shape_that_no_array_has_is_one_line(shape: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    data = (
        b"\x93NUMPY\1\0"
        + len(header).to_bytes(2, "little")
        + header
        + (b"" if "0)" in shape or "(0" in shape else bytes(4))
    )
    with pytest.raises(BundleError) as caught:
        read_npy(data, "x.npy")
    assert "\n" not in str(caught.value)
