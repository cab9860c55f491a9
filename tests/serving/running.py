"""A server in a process of its own, and how it is asked."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.json_lines import json_lines
from tests.paths import ROOT

START_SECONDS = 600.0  # on a machine that is busy
ENGINE = ("--engine", "onnxruntime", "--threads", "1")  # the last bits depend on them
ADDRESS = re.compile(r"serving on http://[^:]+:(\d+)")


class Reply:
    """An answer, read to its end."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, {name.lower(): value for name, value in headers.items()}, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RunningServer:
    """`protoleak serve` with these arguments, ready when the block is entered, and ended at its end.

    Args:
        command: of Python, before the arguments.
    """

    def __init__(self, *arguments: object, command: Sequence[str] = ("-m", "protoleak", "serve")) -> None:
        self._lines: list[str] = []
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, *command, *map(str, arguments), "--port", "0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = 0

    def __enter__(self) -> RunningServer:
        try:
            found = ADDRESS.search(self.wait_for(ADDRESS.pattern))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        assert found is not None
        self.port = int(found[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def wait_for(self, pattern: str, seconds: float = START_SECONDS) -> str:
        """The first line of the log that matches, from its beginning on."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for line in list(self._lines):
                if re.search(pattern, line):
                    return line
            if self.process.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.02)
        raise AssertionError(f"no line {pattern!r} in the log: {self._lines}")

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def screen(self, body: bytes, kind: str = "image/png", path: str = "/v1/screen") -> Reply:
        return self.ask("POST", path, body, {"Content-Type": kind})

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20.0) -> int:
        """Sends the signal and gives the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line.rstrip("\n"))


def form(images: Sequence[bytes], field: str = "image") -> tuple[bytes, str]:
    """The body and the type of a multipart form."""
    parts = [
        b'--mark\r\nContent-Disposition: form-data; name="%s"; filename="../../etc/passwd"\r\n'
        b"Content-Type: image/png\r\n\r\n%s\r\n" % (field.encode(), image)
        for image in images
    ]
    return b"".join(parts) + b"--mark--\r\n", 'multipart/form-data; boundary="mark"'


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    """A record but for what differs from run to run, and for what the image was called."""
    return {name: value for name, value in record.items() if name not in ("source", "milliseconds")}


def screened(folder: Path, images: Sequence[Path], bundle: Path | None = None, *options: str) -> list[dict[str, Any]]:
    """The records that `protoleak screen --out` writes, in this process."""
    from protoleak.cli.app import main

    out = folder / "verdicts.jsonl"
    chosen = [] if bundle is None else ["--bundle", str(bundle)]
    main(["screen", *map(str, images), *chosen, "--out", str(out), *options])
    return json_lines(out)
