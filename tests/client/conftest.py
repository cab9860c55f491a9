"""A server that is played, and what a real one is compared with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

import protoleak
from tests.http_server import serving_with
from tests.paths import ROOT


class PlayedServer:
    """Answers in turn with what it is given, and the last answer for ever.

    Attributes:
        answers: status, headers and body.
        asked: path, headers and body of every request.
    """

    def __init__(self, *answers: tuple[int, dict[str, str], object]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, str], bytes]] = []

    @contextmanager
    def listening(self) -> Iterator[str]:
        played = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                played.asked.append((self.path, dict(self.headers), body))
                answer = played.answers.pop(0) if len(played.answers) > 1 else played.answers[0]
                status, headers, content = answer
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                if status == 0:  # hangs up
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: object) -> None:
                pass

        with serving_with(Handler) as address:
            yield address


@pytest.fixture(scope="session")
def server(default_server: str) -> str:
    return default_server


@pytest.fixture(scope="session")
def screener() -> Iterator[protoleak.Screener]:
    """What the server judges with, here."""
    with protoleak.load(engine="onnxruntime", threads=1) as screener:
        yield screener


@pytest.fixture(scope="session")
def images() -> list[Path]:
    return sorted(path for path in (ROOT / "examples" / "images").iterdir() if path.suffix in (".jpg", ".png"))
