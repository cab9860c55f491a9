"""What clients send: bodies counted while they are read, and the images in them. Nothing in them names a file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from protoleak.errors import MediaError
from protoleak.images.sources import DATA_URI, read_data_uri
from protoleak.serving.refusal import ClientLeft, Refusal
from protoleak.serving.settings import RequestLimits
from protoleak.strict_json import decode_json

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

T = TypeVar("T")

FIELD = "image"  # of a form
RAW_TYPES = ("application/octet-stream", "")
logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what is wrong with a form is told to its client
# A request has a few strings beside its images; a body of nothing but strings takes ten times its size when it is read.
MOST_STRINGS = 4096
# What is read and thrown away of a body that is refused, so that a client that is still sending sees the answer.
DRAINED_BYTES, DRAINED_SECONDS = 8 * 2**20, 2.0


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    input: list[str]


async def read_body(request: Request, limit: int) -> bytes:
    """A request's body.

    Raises:
        Refusal: it has more bytes than the limit, or is encoded.
        ClientLeft: the client has gone.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        await drain(request)
        raise Refusal(415, "content_encoding", f"Content-Encoding {encoding[:40]!r}: send the body as it is")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        await drain(request)
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                parts.clear()
                await drain(request)
                raise _too_large(limit)
            parts.append(part)
    except ClientDisconnect:
        raise ClientLeft from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def drain(request: Request) -> None:
    """Throws away what still comes of a body, for a moment. A connection that is closed with bytes unread is reset, and
    the client would not see why."""
    left = DRAINED_BYTES

    async def read() -> None:
        nonlocal left
        while left > 0:
            message = await request.receive()
            left -= len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(read(), DRAINED_SECONDS)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "too_large", f"the body has more than the {limit} bytes allowed", {"Connection": "close"})


def images_in(kind: str, body: bytes, limits: RequestLimits) -> tuple[list[bytes | MediaError], bool]:
    """The encoded images in a body, in order, and whether the body is one image as it is.

    Args:
        kind: the request's Content-Type.

    Raises:
        Refusal: it is of another type, not well formed, or holds too many images, or none.
    """
    media, options = parse_options_header(kind)
    name = media.decode("latin-1").strip().lower()
    images: list[bytes | MediaError]
    if name == "multipart/form-data":
        images = list(_form_images(body, options, limits))
    elif name == "application/json":
        images = _json_images(body, limits)
    elif name.startswith("image/") or name in RAW_TYPES:
        return [body], True
    else:
        raise Refusal(
            415,
            "media_type",
            f"Content-Type {name[:60]!r}: send an image with image/… or application/octet-stream, multipart/form-data "
            f"with fields {FIELD!r}, or application/json",
        )
    if not images:
        raise Refusal(400, "no_image", "there is no image in the request")
    return images, False


def json_of(body: bytes, kind: type[T], what: str) -> T:
    """A body as a value of that type.

    Args:
        what: it should have been, for the message.

    Raises:
        Refusal: it is not that.
    """
    try:
        if body.count(b'"') > 2 * MOST_STRINGS:
            raise msgspec.DecodeError(f"it has more than {MOST_STRINGS} strings")
        return decode_json(body, kind)
    except msgspec.DecodeError as error:
        raise Refusal(400, "bad_json", f"not {what}: {error}") from error


def check_count(images: int, limits: RequestLimits) -> None:
    """Raises Refusal where they are more than a request may hold; asked before they are read."""
    if images > limits.images:
        raise Refusal(400, "too_many_images", f"more images in one request than the {limits.images} allowed")


def _json_images(body: bytes, limits: RequestLimits) -> list[bytes | MediaError]:
    document = json_of(body, _Document, '{"input": ["data:image/…;base64,…", …]}')
    check_count(len(document.input), limits)
    images: list[bytes | MediaError] = []
    for place, text in enumerate(document.input):
        if not text.startswith(DATA_URI):  # an address would have us ask others, and a path would read our own files
            raise Refusal(400, "not_a_data_uri", f"input {place} is no data: URI; addresses and paths are refused")
        try:
            images.append(read_data_uri(text))
        except MediaError as error:
            images.append(error)
    return images


def _form_images(body: bytes, options: Mapping[bytes, bytes], limits: RequestLimits) -> list[bytes]:
    boundary = options.get(b"boundary")
    if not boundary:
        raise Refusal(400, "bad_form", "multipart/form-data without a boundary")
    # The parser takes seconds for a body of nothing but boundaries, or of what looks like one; an image holds none.
    check_count(body.count(b"--" + boundary) - 1, limits)
    reader = _FormReader(limits)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except Refusal:
        raise
    except Exception as error:  # the parser's errors share no public base class
        raise Refusal(400, "bad_form", f"not well formed multipart/form-data: {error}") from error
    if not reader.complete:
        raise Refusal(400, "bad_form", "the multipart/form-data ends before its last boundary")
    return reader.images


class _FormReader:
    """Takes what a MultipartParser finds. Nothing is written to disk: the body is bounded already.

    Attributes:
        images: of the fields so far.
        complete: whether the last boundary came.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self.images: list[bytes] = []
        self.complete = False
        self._header, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._data: list[bytes] = []

    def callbacks(self) -> MultipartCallbacks:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": lambda data, start, end: self._data.append(data[start:end]),
            "on_part_end": lambda: self.images.append(b"".join(self._data)),
            "on_end": self._end,
        }

    def _begin(self) -> None:
        check_count(len(self.images) + 1, self._limits)
        self._disposition, self._data = b"", []

    def _header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name != FIELD:
            raise Refusal(400, "unknown_field", f"a form field {name[:40]!r}: only {FIELD!r} is taken")

    def _end(self) -> None:
        self.complete = True
