"""One address that is posted to, over a connection that is kept open; redirects are not followed."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from protoleak.errors import ProtoleakError
from protoleak.images.sources import printable
from protoleak.video.sources.redaction import without_secrets

LONGEST_ANSWER = 65536  # bytes; a connection with more to say is not kept
REDIRECTS = range(300, 400)


@dataclass(frozen=True)
class Response:
    """What a receiver says of a post.

    Attributes:
        retry_after: seconds to wait before the next try, as the receiver asks; None where it doesn't.
    """

    status: int
    retry_after: float | None = None

    def __str__(self) -> str:
        if self.status in REDIRECTS:
            return f"status {self.status}, a redirect, which is not followed: give the address that it leads to"
        phrase = http.client.responses.get(self.status, "")
        return f"status {self.status} {phrase}".rstrip()


@dataclass(frozen=True)
class Unanswered:
    """There was no answer."""

    reason: str

    def __str__(self) -> str:
        return self.reason


class Post:
    """Posts bodies to one address, one after another. For one thread, but for `close`.

    Args:
        url: http or https; a user and a password in it become basic authentication.
        headers: of every post.
        token: a bearer token.
        timeout: seconds to connect, and for each wait.

    Attributes:
        shown: the address without secrets.

    Raises:
        ProtoleakError: it is no such address, or names a user beside the token.
    """

    def __init__(self, url: str, headers: Mapping[str, str], *, token: str | None, timeout: float) -> None:
        self.shown = printable(without_secrets(url))
        parts = _parts(url, self.shown)
        if token is not None and parts.username is not None:
            raise ProtoleakError(f"{self.shown}: a user in the address and a token: give one of them")
        self._headers = dict(headers) | _authorization(parts, token)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        self._closed = False

    def __call__(self, body: bytes) -> Response | Unanswered:
        """The answer; what a kept connection loses is sent once more over a new one."""
        kept = self._connection.sock is not None
        outcome = self._once(body)
        return self._once(body) if kept and isinstance(outcome, Unanswered) and not self._closed else outcome

    def close(self) -> None:
        """Ends the connection, and a post that waits on it."""
        self._closed = True
        opened = self._connection.sock
        with contextlib.suppress(OSError):
            if opened is not None:
                opened.shutdown(socket.SHUT_RDWR)

    def _once(self, body: bytes) -> Response | Unanswered:
        try:
            self._connection.request("POST", self._target, body, self._headers)
            with self._connection.getresponse() as answer:
                answer.read(LONGEST_ANSWER)
                whole = answer.isclosed() or answer.read(1) == b""
                response = Response(answer.status, _seconds(answer.getheader("Retry-After")))
            if not whole:
                self._connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: closed by another thread
            self._connection.close()
            return Unanswered(f"no answer: {' '.join(str(error).split()) or type(error).__name__}")
        return response


def _parts(url: str, shown: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port, or of brackets
        usable = False
    if not usable or any(character <= " " for character in url):
        raise ProtoleakError(f"{shown}: no address to post to: give http://HOST/PATH or https://HOST/PATH")
    return parts


def _authorization(parts: SplitResult, token: str | None) -> dict[str, str]:
    if token is not None:
        return {"Authorization": f"Bearer {token}"}
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _seconds(header: str | None) -> float | None:
    """A Retry-After; dates are left to the back-off."""
    try:
        return None if header is None else max(float(header), 0.0)
    except ValueError:
        return None
