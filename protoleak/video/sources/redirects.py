"""Where an HTTP address leads: FFmpeg follows no redirect, and ours go to the same host, unless asked otherwise."""

from __future__ import annotations

import http.client
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from functools import partial
from typing import IO
from urllib.parse import SplitResult, urljoin, urlsplit

from protoleak.errors import MediaError

MOST = 5  # redirects, one after another
CODES = (301, 302, 303, 307, 308)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        del req, fp, code, msg, headers, newurl


def redirected(url: str, *, any_host: bool, timeout: float) -> str:
    """The address that an HTTP address leads to in the end; itself where the server says of no other.

    Args:
        any_host: follow to other hosts too.
        timeout: seconds for each answer, whole.

    Raises:
        MediaError: it leads to another host, to another protocol than HTTP, or in circles; without the address.
    """
    opener = urllib.request.build_opener(_NoRedirect)
    for _ in range(MOST):
        place = _within(timeout, partial(_target, opener, url, timeout))
        if place is None:
            return url
        try:
            target = urljoin(url, place)
            before, after = urlsplit(url), urlsplit(target)
            elsewhere = _place(after) != _place(before) and not _upgraded(before, after)
        except ValueError:  # a port that is no number, half an IPv6 address
            raise MediaError("it redirects to what is no address: refused; give the stream's own address") from None
        if after.scheme not in ("http", "https"):
            raise MediaError(f"it redirects to {after.scheme or 'nothing'}: refused; give the stream's own address")
        if elsewhere and not any_host:
            raise MediaError(
                f"it redirects to another host, {after.hostname}:{_place(after)[1]}: refused; give its address, "
                "or --any-host"
            )
        url = target
    raise MediaError(f"it redirects more than {MOST} times: refused; give the stream's own address")


def _within(seconds: float, ask: Callable[[], str | None]) -> str | None:
    """What is asked, or None after so many seconds: sockets have a limit for each byte only, and a server may send one
    now and then for ever. Its thread then ends with the connection, or with the process."""
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(ask()), name="protoleak-redirect", daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return None


def _target(opener: urllib.request.OpenerDirector, url: str, timeout: float) -> str | None:
    try:
        request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})
        with opener.open(request, timeout=timeout):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return error.headers.get("Location") or None if error.code in CODES else None
    except (OSError, ValueError, http.client.HTTPException):  # FFmpeg has said what is wrong with it
        return None


def _place(address: SplitResult) -> tuple[str | None, int]:
    return address.hostname, address.port or (443 if address.scheme == "https" else 80)


def _upgraded(before: SplitResult, after: SplitResult) -> bool:
    """Whether it is the same host, by https on its usual port."""
    return before.hostname == after.hostname and _place(after)[1] == 443 and after.scheme == "https"
