"""From what the user gives to encoded bytes or pixels: paths, file objects, buffers, `data:` URIs, arrays, tensors."""

from __future__ import annotations

import base64
import binascii
import errno
import os
import re
import stat
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError, shortened
from protoleak.files import read_regular
from protoleak.images.formats.base import MAXIMUM_BYTES

MAXIMUM_FILE_BYTES = MAXIMUM_BYTES // 2  # 25 megapixels of 16-bit RGBA are 0.2 GB uncompressed
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
NO_ADDRESS = "an address that is not read, only rtsp:// and http(s):// of videos are: download it, and give the file"
LONGEST_NAME = 255  # bytes, of most file systems
DATA_URI = "data:"
HEXADECIMAL = np.array(
    [int(chr(code), 16) if chr(code) in "0123456789abcdefABCDEF" else -1 for code in range(256)], np.int16
)
BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_\r\n")


@runtime_checkable
class Readable(Protocol):
    """A file that is open for reading in binary mode, such as io.BytesIO."""

    def read(self, size: int, /) -> bytes: ...


@runtime_checkable
class ArrayLike(Protocol):
    """What NumPy can look at, such as a PyTorch tensor in the processor's memory."""

    def __array__(self) -> npt.NDArray[Any]: ...


ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | Readable | Image.Image | UInt8Array | ArrayLike"
)
WHAT_TO_GIVE = (
    "give a path, a data: URI, encoded bytes, a file opened in binary mode, a Pillow image, or a uint8 array or CPU "
    "tensor [H, W, 3]"
)


def printable(path: str) -> str:
    """A path as valid one-line Unicode: bytes that are not UTF-8, and control characters, are written as escapes."""
    try:
        text = os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character, which no file name can hold
        text = path.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def name_in_messages(path: str) -> str:
    """What messages call a file: its path in one line, or the ends of it where it is longer than a path should be, such
    as an image in base64 that was given for a path."""
    return shortened(printable(path))


def read_file(path: str) -> bytes:
    """The bytes of a regular file.

    Raises:
        MediaError: it cannot be read, or is larger than any image; without its name.
    """
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise MediaError("a directory, not an image")
        if not stat.S_ISREG(status.st_mode):
            raise MediaError("not a regular file")
        check_bytes(status.st_size)
        data = read_regular(path, MAXIMUM_FILE_BYTES)
        check_bytes(len(data))
        return data
    except FileNotFoundError:
        raise MediaError(NO_ADDRESS if ADDRESS.match(path) else "no such file") from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise MediaError(f"cannot be read: {(error.strerror or str(error)).lower()}") from error
        if len(path) > LONGEST_NAME and BASE64.issuperset(path):
            raise MediaError("the name is too long; if it is base64, give the decoded bytes or a data: URI") from None
        raise MediaError("cannot be read: the name is too long") from error
    except ValueError as error:  # a NUL byte in the name
        raise MediaError(f"not a file name: {error}") from error


def read_stream(stream: Readable) -> bytes:
    """All that is left in an open file.

    Raises:
        MediaError: it isn't open in binary mode, holds nothing more, or more than any image.
    """
    try:
        data: object = stream.read(MAXIMUM_FILE_BYTES + 1)  # whatever somebody's own class gives
    except (OSError, ValueError, TypeError) as error:  # ValueError: it is closed
        raise MediaError(f"cannot be read: {str(error).lower()}") from error
    if isinstance(data, str):
        raise MediaError('opened as text: open it with mode "rb"')
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise MediaError(f"its read() gave {type(data).__name__} and not bytes")
    if not data:
        raise MediaError("empty, 0 bytes from where it stands: seek(0) goes to its beginning")
    check_bytes(len(data))
    return bytes(data)


def read_data_uri(text: str) -> bytes:
    """The bytes of a `data:` URI (RFC 2397).

    Raises:
        MediaError: it is not well formed, or holds more than any image.
    """
    head, comma, payload = text[len(DATA_URI) :].partition(",")
    if not comma:
        raise MediaError("a data: URI without a comma before its data")
    check_bytes(len(payload) * 3 // 4)
    raw = _unquoted(payload)
    if not head.lower().endswith(";base64"):
        return raw
    try:
        return base64.b64decode(raw.translate(None, b" \t\r\n"), validate=True)
    except binascii.Error as error:
        raise MediaError(f"a data: URI whose base64 is damaged: {str(error).lower()}") from None


def _unquoted(text: str) -> bytes:
    """The bytes of percent-encoded text, as `urllib.parse.unquote_to_bytes` gives them. That cuts the text at every
    percent sign into a list, which takes a hundred times the memory."""
    data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)  # surrogates: no image, and no traceback
    signs = np.flatnonzero(data == ord("%"))
    signs = signs[signs < len(data) - 2]
    high, low = HEXADECIMAL[data[signs + 1]], HEXADECIMAL[data[signs + 2]]
    escapes = (high >= 0) & (low >= 0)
    signs, values = signs[escapes], (16 * high + low)[escapes]
    result, kept = data.copy(), np.ones(len(data), np.bool_)
    result[signs] = values
    kept[signs + 1] = kept[signs + 2] = False
    unquoted: bytes = result[kept].tobytes()
    return unquoted


def from_array(array: npt.NDArray[Any] | ArrayLike) -> UInt8Array:
    """The pixels of uint8 [H, W, 3], where they lie if rows follow one another; tensors may also be [3, H, W], as
    torchvision decodes them.

    Raises:
        MediaError: it has another type or shape.
    """
    if isinstance(array, np.ndarray):
        pixels = array
    else:
        try:
            pixels = np.asarray(array)
        except (TypeError, ValueError, RuntimeError) as error:  # a tensor elsewhere, or one that needs its gradient
            raise MediaError(f"cannot be read as an array: {shortened(' '.join(str(error).split()))}") from None
        if pixels.ndim == 3 and pixels.shape[0] == 3 and pixels.shape[2] != 3:
            pixels = np.moveaxis(pixels, 0, -1)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise MediaError(f"{pixels.dtype} {list(pixels.shape)}, but an array must be uint8 [H, W, 3] in RGB order")
    if 0 in pixels.shape:
        raise MediaError(f"{pixels.shape[1]}×{pixels.shape[0]} pixels: there is no pixel in it")
    return np.ascontiguousarray(pixels)


def check_bytes(count: int) -> None:
    """Raises MediaError where an encoded image is larger than any may be."""
    if count > MAXIMUM_FILE_BYTES:
        raise MediaError(f"{count} bytes, more than the {MAXIMUM_FILE_BYTES} allowed")
