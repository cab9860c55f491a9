"""A real server with the default bundle, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.paths import ROOT

ENGINE = ("--engine", "onnxruntime", "--threads", "1", "--no-isolate", "--request-seconds", "120")
TOKEN = "a-token-of-the-tests"
ADDRESS = re.compile(r"http://[\d.]+:\d+")


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
