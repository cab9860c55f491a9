"""What is sent to a server, when it is asked again, and what its answers mean, whoever carries them."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from protoleak.client.uploads import Upload
from protoleak.errors import (
    EngineError,
    MediaError,
    MissingExtra,
    NoFaceError,
    ProtoleakError,
    ServerError,
    shortened,
)
from protoleak.faces.still_images import FaceVerdict
from protoleak.images.sources import printable
from protoleak.runtime.verdict import InputRecord, Verdict
from protoleak.strict_json import decode_json

if TYPE_CHECKING:
    import httpx2

DEFAULT_URL = "http://127.0.0.1:8000"
BUNDLE, SCREEN = "/v1/bundle", "/v1/screen"
DEFAULT_BATCH_SIZE = 8  # as of `Screener.each`
TIMEOUT, PATIENCE = 60.0, 60.0  # seconds
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # seconds between two tries
OK, UNAUTHORIZED, BUSY = 200, 401, 503
ABOUT_THE_IMAGE = (413, 415, 422)
ENGINE_ERROR, NO_FACE = "engine_error", "no_face"

Outcome: TypeAlias = "Verdict | MediaError | EngineError"
FaceOutcome: TypeAlias = "FaceVerdict | MediaError | EngineError"
T = TypeVar("T")


class Refusal(msgspec.Struct, frozen=True):
    """Why there is no verdict, as a server says it."""

    code: str
    message: str


class _Refused(msgspec.Struct, frozen=True):
    error: Refusal


class _FaceEntries(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]


class _Within(msgspec.Struct, frozen=True):
    """The image that the judged face is in. A server's record has it beside the face's own pixels, in `input`; a
    Screener's verdict on an image has it in `input` alone."""

    image: InputRecord | None = None


@dataclass(frozen=True)
class Answer:
    """A server's answer, read to its end.

    Attributes:
        retry_after: seconds to wait before the next try, as the server asks; None where it doesn't.
    """

    status: int
    body: bytes
    retry_after: float | None = None

    @classmethod
    def of(cls, response: httpx2.Response) -> Answer:
        try:
            asked = float(response.headers.get("retry-after", ""))
        except ValueError:  # none, or a date, which no protoleak server gives
            asked = None
        return cls(response.status_code, response.content, asked)


@dataclass(frozen=True)
class Address:
    """Where a server is, and who asks.

    Attributes:
        source: what the server is told that images are from; None for nothing.

    Raises:
        ServerError: it is no http or https address.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    source: str | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            usable = False
        if not usable:
            raise ServerError(f"{shortened(printable(self.url))!r} is no address of a server: give http://HOST:PORT")

    def headers(self, data: bytes | None) -> dict[str, str]:
        """Of a request with this body."""
        kind = {} if data is None else {"Content-Type": "application/octet-stream"}
        return kind if self.token is None else kind | {"Authorization": f"Bearer {self.token}"}

    def screening(self, *, every_face: bool) -> str:
        """The path that an image is posted to."""
        asked = {"faces": "1"} if every_face else {}
        if self.source is not None:
            asked["source"] = self.source
        return SCREEN + ("?" + urlencode(asked) if asked else "")

    @property
    def shown(self) -> str:
        """The address in messages, without user, password, path and query."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class Patience:
    """When one request is sent again.

    Args:
        seconds: for which a busy server is asked again, in all.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._delay = FIRST_DELAY
        self._lost = False

    def after(self, answer: Answer) -> float | None:
        """Seconds until the request is sent again; None where the answer is the last word."""
        if answer.status != BUSY:
            return None
        asked = self._delay if answer.retry_after is None else max(answer.retry_after, 0.05)
        self._delay = min(2 * self._delay, LONGEST_DELAY)
        seconds = min(asked, LONGEST_DELAY)
        return seconds if time.monotonic() + seconds <= self._until else None

    def after_loss(self, address: Address, error: httpx2.HTTPError) -> float:
        """0 for a connection that was lost once: one that was kept open may have been closed by the server meanwhile,
        and to judge an image twice does no harm.

        Raises:
            ServerError: the server cannot be reached, doesn't answer, or hangs up again.
        """
        import httpx2

        first, self._lost = not self._lost, True
        if first and isinstance(error, (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)):
            return 0.0
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ServerError(
            f"{address.shown}: no answer: {reason}: is `protoleak serve` running there, and is the address right?"
        ) from error


def need_http() -> None:
    """Raises MissingExtra where the package that speaks HTTP isn't installed."""
    try:
        importlib.import_module("httpx2")
    except ImportError:
        raise MissingExtra("httpx2", "client") from None


def check_batch_size(batch_size: int) -> None:
    """Raises ProtoleakError where nothing could be on its way."""
    if batch_size < 1:
        raise ProtoleakError(f"batch size {batch_size}: give 1 or more")


def all_of(outcomes: Iterable[T | MediaError | EngineError]) -> list[T]:
    """The verdicts. Raises the first error that stands in the place of one."""
    verdicts = []
    for outcome in outcomes:
        if isinstance(outcome, ProtoleakError):
            raise outcome
        verdicts.append(outcome)
    return verdicts


def verdict_of(address: Address, answer: Answer, image: Upload) -> Outcome:
    """What a server says of an image as a whole.

    Raises:
        ServerError: the answer isn't about the image.
    """
    if answer.status == OK:
        verdict = _decoded(address, answer.body, Verdict)
        within = _decoded(address, answer.body, _Within).image
        return image.restored(verdict if within is None else msgspec.structs.replace(verdict, input=within))
    return _refused(address, answer, image)


def faces_of(address: Address, answer: Answer, image: Upload) -> list[FaceOutcome]:
    """What a server says of each face in an image, by falling confidence of the detector; one error for none.

    Raises:
        ServerError: the answer isn't about the image.
    """
    if answer.status == OK:
        return [_face(address, bytes(entry), image) for entry in _decoded(address, answer.body, _FaceEntries).data]
    return [_refused(address, answer, image)]


def bundle_of(address: Address, answer: Answer) -> dict[str, Any]:
    """What a server says of itself.

    Raises:
        ServerError: it refused, or isn't a protoleak server.
    """
    if answer.status == OK:
        return _decoded(address, answer.body, dict[str, Any])
    raise _server_error(address, answer)


def _face(address: Address, entry: bytes, image: Upload) -> FaceOutcome:
    refusal = _refusal(entry)
    if refusal is not None:
        return _about_image(refusal, image)
    return image.restored(_decoded(address, entry, FaceVerdict))


def _refused(address: Address, answer: Answer, image: Upload) -> MediaError | EngineError:
    """A refusal that is about the image. Raises ServerError for any other."""
    refusal = _refusal(answer.body)
    if refusal is None or not (answer.status in ABOUT_THE_IMAGE or refusal.code == ENGINE_ERROR):
        raise _server_error(address, answer)
    return _about_image(refusal, image)


def _about_image(refusal: Refusal, image: Upload) -> MediaError | EngineError:
    kind: type[MediaError | EngineError] = NoFaceError if refusal.code == NO_FACE else MediaError
    if refusal.code == ENGINE_ERROR:
        kind = EngineError
    return kind(f"{image.name}: {printable(refusal.message)}").about(image.source, image.sha256)


def _server_error(address: Address, answer: Answer) -> ServerError:
    refusal = _refusal(answer.body)
    if refusal is None:
        return ServerError(
            f"{address.shown}: {answer.status} in a form that no protoleak server gives: is the address right?"
        )
    asked = answer.status == UNAUTHORIZED and address.token is None
    remedy = ": give the client the server's token" if asked else ""
    return ServerError(f"{address.shown}: {answer.status}: {printable(refusal.message)}{remedy}")


def _refusal(body: bytes) -> Refusal | None:
    try:
        return decode_json(body, _Refused).error
    except msgspec.DecodeError:
        return None


def _decoded(address: Address, body: bytes, kind: type[T]) -> T:
    try:
        return decode_json(body, kind)
    except msgspec.DecodeError as error:
        raise ServerError(
            f"{address.shown}: an answer that this version cannot read ({error}): compare the versions of both"
        ) from error
