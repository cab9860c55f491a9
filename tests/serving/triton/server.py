"""A real Triton Inference Server for tests, from the wheel of PyTriton: without the backends for ONNX and TensorRT.

So the graphs are run by small Python models here, with ONNX Runtime, whole batches at once as its backend would.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import shutil
import signal
import site
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.paths import ROOT

# NumPy 2 is misread by the Python backend of this release (python_backend #384).
INSTALL = 'pip install --no-deps --target FOLDER nvidia-pytriton==0.7.0 "numpy<2"'
FOLDER = "PROTOLEAK_TRITON"
READY_SECONDS = 300
EXIT_SECONDS = 20

ONNX_MODEL = """
import numpy as np
import onnxruntime
import triton_python_backend_utils as server

class TritonPythonModel:
    def initialize(self, arguments):
        folder = arguments["model_repository"] + "/" + arguments["model_version"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(folder + "/model.onnx", options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        (source,) = self.session.get_inputs()
        names = [output.name for output in self.session.get_outputs()]
        parts = [server.get_input_tensor_by_name(request, source.name).as_numpy() for request in requests]
        results = self.session.run(names, {source.name: np.concatenate(parts)})
        ends = np.cumsum([len(part) for part in parts])[:-1]
        rows = zip(*(np.split(result, ends) for result in results))
        return [
            server.InferenceResponse([server.Tensor(name, value) for name, value in zip(names, row)]) for row in rows
        ]
"""


@dataclass(frozen=True)
class RunningServer:
    """Attributes: http, grpc, metrics: host:port of each; process: the server; log: what it writes."""

    http: str
    grpc: str
    metrics: str
    process: subprocess.Popen[bytes]
    log: Path

    def counter(self, name: str, model: str) -> float:
        """One of the server's metrics, of one model."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"{name}{{") and f'model="{model}"' in line:
                    return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no {name} of {model}")


def server_folder() -> Path:
    """Where the server lies; skips the test where it isn't to be had, and says how to have it."""
    stated = os.environ.get(FOLDER)
    if not stated:
        pytest.skip(f"no Triton server here: {INSTALL}, and {FOLDER}=FOLDER")
    folder = Path(stated)
    if not (folder / "pytriton/tritonserver/bin/tritonserver").is_file():
        pytest.skip(f"no Triton server in {FOLDER}={folder}: {INSTALL}")
    if ctypes.util.find_library(f"python{_python()}") is None:
        pytest.skip(f"Triton's Python process needs libpython{_python()}: apt-get install libpython{_python()}")
    return folder


def python_paths() -> list[str]:
    """What `--python-path` takes, so that the server's Python finds this tree and what it needs."""
    return [str(server_folder()), str(ROOT), *site.getsitepackages()]


def with_python_for_graphs(repository: Path) -> Path:
    """The same repository with Python models in the place of its ONNX models."""
    for model in ("latent_encoder", "attributor"):
        configuration = repository / model / "config.pbtxt"
        kept = [
            line
            for line in configuration.read_text().splitlines()
            if not line.startswith(("platform:", "default_model_filename:"))
        ]
        configuration.write_text("\n".join(['backend: "python"', *kept, "instance_group [ { kind: KIND_CPU } ]"]))
        lines = "\n".join(["import sys", f"sys.path[:0] = {python_paths()!r}", ONNX_MODEL])
        (repository / model / "1" / "model.py").write_text(lines)
    return repository


@contextlib.contextmanager
def running_server(repository: Path, folder: Path, *, strict: bool = True) -> Iterator[RunningServer]:
    """A server on free ports of this machine, on loopback alone, until the block ends.

    Args:
        folder: for its backends and its log.
        strict: whether every model must become ready; otherwise it's waited for the server alone.
    """
    where = server_folder()
    backends, log = folder / "backends", folder / "log"
    shutil.copytree(where / "pytriton/tritonserver/backends/python", backends / "python", dirs_exist_ok=True)
    stub = "triton_python_backend_stub"
    shutil.copy(where / "pytriton/tritonserver/python_backend_stubs" / _python() / stub, backends / "python" / stub)
    (backends / "python" / stub).chmod(0o755)
    ports = _free_ports(3)
    addresses = {kind: f"127.0.0.1:{port}" for kind, port in zip(("http", "grpc", "metrics"), ports, strict=True)}
    command = [
        str(where / "pytriton/tritonserver/bin/tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        *(f"--{kind}-address=127.0.0.1" for kind in addresses),
        *(f"--{kind}-port={port}" for kind, port in zip(addresses, ports, strict=True)),
        "--exit-timeout-secs=10",
        f"--exit-on-error={'true' if strict else 'false'}",
    ]
    environment = os.environ | {"LD_LIBRARY_PATH": str(where / "nvidia_pytriton.libs"), "OMP_NUM_THREADS": "1"}
    (where / "pytriton/tritonserver/bin/tritonserver").chmod(0o755)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:
        _wait(process, addresses["http"], log, "ready" if strict else "live")
        yield RunningServer(**addresses, process=process, log=log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path, state: str) -> None:
    ends = time.monotonic() + READY_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError),
            urllib.request.urlopen(f"http://{address}/v2/health/{state}") as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"the server did not become {state}:\n{log.read_text(errors='replace')[-4000:]}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
