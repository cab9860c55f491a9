"""Why a request gets no verdict: a status, a code for programs and one line for people."""

from __future__ import annotations

from collections.abc import Mapping

from protoleak.errors import EngineError, MediaError, NoFaceError
from protoleak.serving.judging import NAME, TooManyFaces

RETRY_SECONDS = 1  # what a client is asked to wait where the queue is full


class Refusal(Exception):
    """An answer without a verdict.

    Attributes:
        status: of the HTTP response.
        code: for programs.
        message: for people, one line.
        headers: of the response.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})

    @property
    def body(self) -> dict[str, dict[str, str]]:
        """As JSON says it."""
        return {"error": {"code": self.code, "message": self.message}}


class ClientLeft(Exception):
    """The client has gone: nobody is left to be answered."""


def overloaded(limit: int) -> Refusal:
    """The queue is full."""
    return busy("overloaded", f"{limit} images are accepted and not answered yet, and no more may be: come again later")


def busy(code: str, message: str) -> Refusal:
    """Not now."""
    return Refusal(503, code, message, {"Retry-After": str(RETRY_SECONDS)})


def of_error(error: Exception) -> Refusal:
    """What came of one image instead of a verdict."""
    message = str(error).removeprefix(f"{NAME}: ")
    if isinstance(error, NoFaceError):
        return Refusal(422, "no_face", message)
    if isinstance(error, TooManyFaces):
        return Refusal(422, "too_many_faces", message)
    if isinstance(error, MediaError):
        return Refusal(422, "unreadable_image", message)
    if isinstance(error, EngineError):
        return Refusal(500, "engine_error", message)
    return Refusal(500, "internal_error", message)
