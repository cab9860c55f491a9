"""One worker process, as the process that needs it sees it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from protoleak.errors import ProtoleakError
from protoleak.isolation.limits import Limits
from protoleak.isolation.messages import ConnectionEnded, TimeIsUp, receive

CAN_ISOLATE = find_spec("resource") is not None  # not on Windows
START_SECONDS = 60.0  # for Python and the decoders to be imported, on a busy machine
# Not the user's Python settings: the module path is handed over as it is here.
START = (
    "import json, sys; path, module, limits, descriptor = json.loads(sys.argv[1]); sys.path[:] = path; "
    "from importlib import import_module; import_module(module).main(descriptor, limits)"
)
# A frozen program is no interpreter: it is started again, and its hook (pyinstaller/rthooks) calls `run_frozen`.
FROZEN = "--protoleak-worker"
MODULES = (  # that PyInstaller can't see, since they are imported by name
    "protoleak.images.decoding_process",
    "protoleak.runtime.engines.trial_process",
    "protoleak.video.sources.reading_process",
)
KEPT_VARIABLES = ("LANG", "LC_ALL", "LC_CTYPE", "PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


@dataclass(frozen=True)
class Task:
    """What a worker is for, in messages.

    Attributes:
        verb: what it does with what it is given.
        remedy: what helps where no worker can be started.
    """

    verb: str = "decode"
    remedy: str = "leave --isolate out"


class Worker:
    """A fresh process that runs `main(descriptor, limits)` of a module, which talks over the socket and ends with it.

    Args:
        module: of the package, with a function `main`.
        limits: that the process puts on itself before it reads anything.
        task: what it is for.

    Attributes:
        connection: to it.
        pid: of the process.

    Raises:
        ProtoleakError: it cannot be started here.
    """

    def __init__(self, module: str, limits: Limits, task: Task = Task()) -> None:
        if not CAN_ISOLATE:
            raise ProtoleakError(f"to {task.verb} in processes of its own needs Linux or macOS: {task.remedy}")
        self._limits, self._task = limits, task
        self.connection, theirs = socket.socketpair()
        given = json.dumps([[os.path.abspath(one) for one in sys.path], module, limits.as_list(), theirs.fileno()])  # noqa: PTH100
        frozen = getattr(sys, "frozen", False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, FROZEN, given] if frozen else [sys.executable, "-I", "-S", "-c", START, given],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders print what they will
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is for the process that was started by hand
                env={name: value for name, value in os.environ.items() if _is_kept(name)} | ONE_THREAD,
            )
        except OSError as error:
            self.connection.close()
            raise ProtoleakError(f"no process to {task.verb} in starts: {error.strerror or error}") from error
        finally:
            theirs.close()
        try:
            receive(self.connection, START_SECONDS)  # it is ready
        except (ConnectionEnded, TimeIsUp):
            self.end()
            raise ProtoleakError(
                f"the process to {task.verb} in did not start: {task.remedy}, or free memory"
            ) from None
        self.pid = self._process.pid

    def why_ended(self) -> str:
        """What ended it, in a few words. To be called once it has gone."""
        try:
            status = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return f"the process that was to {self._task.verb} it hangs"
        if status == -signal.SIGXCPU:
            return f"it takes more than {self._limits.processor_seconds} s of processor time to {self._task.verb}"
        if status == -signal.SIGKILL:
            return f"the process that was to {self._task.verb} it was killed, as the system does where memory runs out"
        name = signal.Signals(-status).name if status < 0 else f"status {status}"
        return f"damaged: the process that was to {self._task.verb} it crashed ({name})"

    def end(self) -> None:
        """Ends it at once. May be called more than once."""
        self.connection.close()
        if self._process.poll() is None:
            # With what it has started: a program frozen into one file runs in a child of its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def run_frozen(given: str) -> None:
    """What a frozen program does that was started as a worker.

    Args:
        given: as JSON: the module path, which it has already, a module of MODULES, limits, and the socket's descriptor.

    Raises:
        ProtoleakError: it is no such thing.
    """
    try:
        _, module, limits, descriptor = json.loads(given)
    except ValueError as error:
        raise ProtoleakError(f"{FROZEN} is for protoleak's own use: {error}") from None
    if module not in MODULES:
        raise ProtoleakError(f"{FROZEN} is for protoleak's own use: {module!r} is no worker")
    import_module(module).main(descriptor, limits)


def _is_kept(variable: str) -> bool:
    """PyInstaller's own variables say where a program of one file is unpacked already."""
    return variable in KEPT_VARIABLES or (hasattr(sys, "frozen") and variable.startswith("_PYI_"))
