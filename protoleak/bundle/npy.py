"""Reads .npy and .npz files from strangers: NumPy's own parser of the header, and no size that isn't there.

`numpy.load` makes an array of the size that a header claims before it looks at the data, unpacks as much as an archive
claims, opens an archive that is named .npy, and raises a dozen kinds of exceptions.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Collection

import numpy as np

from protoleak.arrays import Array, Float32Array
from protoleak.bundle.archive import ArchiveError, open_archive, read_member
from protoleak.errors import BundleError

MAGIC = b"\x93NUMPY"
NUMERIC = "biuf"
MAXIMUM_HEADER = 4096
MAXIMUM_NPZ = 64 * 2**20  # bytes, packed or not: a million calibration images need 16 MB


def read_npy(data: bytes, where: str) -> Array:
    """The array in a .npy file: numbers or booleans, of the size that its header says.

    Raises:
        BundleError: it isn't such a file; one line.
    """
    if not data.startswith(MAGIC):
        kind = "a .npz archive" if data.startswith(b"PK") else "something else"
        raise BundleError(f"{where} is not an array file: it is {kind} by its first bytes; export the bundle again")
    stream = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python 2's headers; they are refused with the others that don't fit
            version = np.lib.format.read_magic(stream)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"version {version} of the format")
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(stream, max_header_size=MAXIMUM_HEADER)
        lengths = [int(length) for length in shape]
    except Exception as error:  # the header is Python source: parsing it can raise anything
        raise BundleError(f"{where} is not an array file: its header is none of NumPy's; export it again") from error
    begin = stream.tell()
    if dtype.kind not in NUMERIC or dtype.hasobject:
        raise BundleError(f"{where} holds {_first_line(dtype)} where numbers are needed; export the bundle again")
    claimed = math.prod(lengths) * dtype.itemsize
    if min(lengths, default=0) < 0 or len(lengths) > 32 or claimed != len(data) - begin:
        raise BundleError(
            f"{where} has {len(data) - begin} bytes of data, and its header claims {_short(claimed)}: "
            "copy or export the bundle again"
        )
    flat = np.frombuffer(data, dtype, offset=begin)
    try:
        return flat.reshape(lengths, order="F" if fortran else "C")
    except (ValueError, OverflowError):  # no elements, along axes of 2⁶³
        raise BundleError(f"{where} has the shape {_short(lengths)}, which no array has: export it again") from None


def read_float32(data: bytes, name: str, shape: tuple[int, ...]) -> Float32Array:
    """The float32 array of that shape, C-ordered.

    Raises:
        BundleError: it is another array, or holds NaN or infinite values.
    """
    array = read_npy(data, name)
    if array.dtype != np.float32 or array.shape != shape:
        raise BundleError(f"{name} is {array.dtype} {array.shape}, the manifest asks for float32 {shape}")
    if not np.isfinite(array).all():
        raise BundleError(f"{name} holds NaN or infinite values: nothing was executed; export the bundle again")
    return np.ascontiguousarray(array, np.float32)


def read_npz(data: bytes, where: str, wanted: Collection[str] | None = None) -> dict[str, Array]:
    """The arrays of a .npz file, never more bytes than MAXIMUM_NPZ, whatever the archive claims.

    Args:
        wanted: names of the arrays to be read; None for all.

    Raises:
        BundleError: it isn't such a file, or unpacks to more; one line.
    """
    arrays: dict[str, Array] = {}
    left = MAXIMUM_NPZ
    if len(data) > MAXIMUM_NPZ:
        raise BundleError(f"{where} has {len(data)} bytes, more than {MAXIMUM_NPZ}: refused")
    try:
        with open_archive(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if wanted is not None and name not in wanted:
                    continue
                if name in arrays:
                    raise BundleError(f"{where} holds two arrays of the name {_short(name)!r}: export it again")
                content = read_member(archive, entry, left)
                left -= len(content)
                arrays[name] = read_npy(content, f"{where}: {name!r}")
    except (ArchiveError, zipfile.BadZipFile) as error:
        raise BundleError(f"{where} is not an archive of arrays: {error}; export the bundle again") from error
    return arrays


def _first_line(what: object) -> str:
    return _short(next(iter(str(what).splitlines()), type(what).__name__))


def _short(what: object) -> str:
    text = str(what)
    return text if len(text) <= 120 else f"{text[:120]}…"
