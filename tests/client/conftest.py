"""A real server with the default bundle, and one that is played."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import protoleak
from tests.paths import ROOT

ENGINE = ("--engine", "onnxruntime", "--threads", "1", "--no-isolate")
TOKEN = "a-token-of-the-tests"
ADDRESS = re.compile(r"http://[\d.]+:\d+")


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

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@contextmanager
def served(*options: str) -> Iterator[str]:
    """`protoleak serve` with the default bundle, in a process of its own; yields its address once it is ready."""
    pytest.importorskip("uvicorn", reason="it serves: pip install 'protoleak[serve]'")
    command = [sys.executable, "-m", "protoleak", "serve", "--port", "0", *ENGINE, *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("serving on "):
                break
        found = ADDRESS.search(said[-1]) if said else None
        # What it says later is read too, so that it never waits for a reader.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        try:
            assert found is not None, "".join(said)
            yield found[0]
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that wants TOKEN."""
    token = tmp_path_factory.mktemp("served") / "token"
    token.write_text(TOKEN)
    with served("--token-file", str(token)) as address:
        yield address


@pytest.fixture(scope="session")
def screener() -> Iterator[protoleak.Screener]:
    """What the server judges with, here."""
    with protoleak.load(engine="onnxruntime", threads=1) as screener:
        yield screener


@pytest.fixture(scope="session")
def images() -> list[Path]:
    return sorted(path for path in (ROOT / "examples" / "images").iterdir() if path.suffix in (".jpg", ".png"))
