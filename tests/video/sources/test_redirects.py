"""HTTP may redirect to the same host and port, and elsewhere only where that is allowed."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from protoleak.errors import MediaError
from protoleak.video.sources.redirects import redirected


@contextmanager
def server(location: str | None) -> Iterator[str]:
    """The address of a server that redirects /moved to a place, or nothing where that is None."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            moved = self.path == "/moved" and location is not None
            self.send_response(302 if moved else 200)
            if moved:
                self.send_header("Location", str(location))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    listening.server_close()


def test_a_redirect_on_the_same_host_is_followed() -> None:
    with server("/clip.mp4") as address:
        assert redirected(f"{address}/moved", any_host=False, timeout=20) == f"{address}/clip.mp4"


def test_a_redirect_to_another_host_is_refused_unless_it_is_allowed() -> None:
    with server(None) as elsewhere, server(f"{elsewhere}/clip.mp4") as address:
        with pytest.raises(MediaError, match="another host"):
            redirected(f"{address}/moved", any_host=False, timeout=20)
        assert redirected(f"{address}/moved", any_host=True, timeout=20) == f"{elsewhere}/clip.mp4"


def test_a_redirect_to_a_file_is_refused_whatever_is_allowed() -> None:
    with server("file:///etc/passwd") as address, pytest.raises(MediaError, match="redirects to file"):
        redirected(f"{address}/moved", any_host=True, timeout=20)


@pytest.mark.parametrize("place", ["http://127.0.0.1:no/", "http://127.0.0.1:99999/"])
def test_a_redirect_to_no_address_is_one_line(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    with server(place) as address, pytest.raises(MediaError, match="no address"):
        redirected(f"{address}/moved", any_host=False, timeout=20)
    assert capsys.readouterr().err == ""
