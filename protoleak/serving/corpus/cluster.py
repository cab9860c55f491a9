"""Ray: a cluster of this machine for one run, or one that is there already. The only file that starts or joins it."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protoleak.errors import MissingExtra, ProtoleakError

OBJECT_STORE_BYTES = 100 * 2**20  # only numbers of blocks go through it; by default Ray reserves 30 % of the memory
SPARE_PROCESSORS = 1  # besides the workers: for what Ray itself schedules
STARTS = 2  # attempts
LONGEST_FOLDER = 40  # characters: Ray's sockets in it have names of 67 more, and 107 are allowed
HEAD, HOME_FILE = "dashboard", "ray_bootstrap_config.yaml"  # of Ray
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # else a thread that is late starts a new cluster after the end
}


@dataclass(frozen=True)
class Place:
    """Where the work is done.

    Attributes:
        address: of a cluster, as ray://host:10001, host:6379 or auto; None for this machine alone.
        workers: how many judge at once; None for one per processor of this machine, or as many as the cluster holds.
        gpus: of each worker, in Ray's count; a fraction lets workers share one.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float = 0.0


def require_ray(place: Place) -> None:
    """Imports Ray, told beforehand to send nothing and to be quiet, and, of a cluster of this machine, to take orders
    only from who has a token that is made here: Ray listens on every network of the machine.

    Raises:
        MissingExtra: Ray is not installed.
    """
    os.environ.update(QUIET)
    if place.address is None:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray reads it once, when it is imported
    try:
        import pyarrow
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "corpus") from None
    del pyarrow, ray


@contextmanager
def cluster(place: Place, workers: int) -> Iterator[None]:
    """Starts or joins Ray for as long as the block runs.

    A cluster of this machine ends with the block, and with this process if that is killed; it opens no dashboard, sends
    no usage statistics, and takes orders only from who has the token of `require_ray`.

    Args:
        workers: that a cluster of this machine has room for, whatever the number of its processors: they are logical.

    Raises:
        ProtoleakError: it does not start, or nothing answers at the address.
    """
    folder = _short_folder() if place.address is None else None
    try:
        if place.address is not None:
            _join(place.address)
        elif folder is not None:
            _start(workers + SPARE_PROCESSORS, folder)
        _silence()
        yield
    finally:
        _shut_down()
        if folder is not None:
            shutil.rmtree(folder.parent, ignore_errors=True)


def _short_folder() -> Path:
    """A folder for what Ray keeps while it runs, in one that nobody else may enter: Ray lets everybody write its own.

    Raises:
        ProtoleakError: its name would be too long for the sockets in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="protoleak-"))
    if len(os.fsencode(folder)) > LONGEST_FOLDER:
        folder.rmdir()
        place = tempfile.gettempdir()
        raise ProtoleakError(
            f"the folder for temporary files, {place}, has too long a name for the sockets that Ray makes in it: give "
            "one with a shorter name, as in TMPDIR=/tmp protoleak corpus …"
        )
    rays = folder / "r"
    rays.mkdir()
    return rays


def _silence() -> None:
    """Ray Data writes of every step, and stack traces of what it meets when Ray ends under it; what matters is raised,
    and said by us in one line."""
    import ray.data

    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


def _shut_down() -> None:
    if "ray" in sys.modules:
        import ray

        ray.shutdown()


def _join(address: str) -> None:
    import ray

    try:
        with _undisturbed():
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises whatever it meets: ConnectionError, RuntimeError, Exception itself
        raise ProtoleakError(f"--address {address}: Ray cannot be joined there: {_line(error)}") from error


def _start(processors: int, folder: Path) -> None:
    """Ray gives its own processes 15 s to start, which the first time, from a slow disk, may be too few: the second
    time they lie in memory."""
    import ray

    for attempt in range(1, STARTS + 1):
        try:
            with _undisturbed(), _unasked(folder):
                ray.init(
                    address="local",  # whatever RAY_ADDRESS says
                    num_cpus=processors,
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _temp_dir=str(folder),
                )
            return
        except Exception as error:  # as above
            ray.shutdown()
            if attempt == STARTS:
                raise ProtoleakError(
                    f"Ray did not start on this machine in {STARTS} attempts: {_line(error)}: is the machine too busy?"
                ) from error


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What Ray does to the process while it starts is undone: it takes SIGTERM for itself, and its C++ part writes
    notes to standard error. What fails is raised in any case."""
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _unasked(folder: Path) -> Iterator[None]:
    """Ray's head process would ask the network in which cloud it is (169.254.169.254, metadata.google.internal), for
    statistics of use that are off; it does not where a file in its home folder says how the cluster was made. It is
    given a home of its own, with that file and nothing in it. Of the process alone, and by a name that Ray may change:
    then it asks, and the test that watches its environment fails."""
    from ray._private import services

    start = services.start_ray_process
    (folder / HOME_FILE).write_text("{}\n")

    def started(command: list[str], process_type: str, *arguments: Any, **options: Any) -> Any:
        if process_type == HEAD:
            options["env_updates"] = {**(options.get("env_updates") or {}), "HOME": str(folder)}
        return start(command, process_type, *arguments, **options)

    services.start_ray_process = started
    try:
        yield
    finally:
        services.start_ray_process = start


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def check_processors(place: Place, workers: int, resources: dict[str, float]) -> None:
    """Ray Data waits for ever, and without a word, where the workers leave no processor for anything else.

    Args:
        resources: of the cluster, as `ray.cluster_resources()` gives them.

    Raises:
        ProtoleakError: there are too few processors or GPUs.
    """
    processors = resources.get("CPU", 0.0)
    if workers + SPARE_PROCESSORS > processors:
        most = int(processors) - SPARE_PROCESSORS
        remedy = f"give --workers {most}" if most >= 1 else "a cluster of two processors or more is needed"
        raise ProtoleakError(
            f"--workers {workers} and {SPARE_PROCESSORS} besides need {workers + SPARE_PROCESSORS} processors, and the "
            f"cluster {place.address or 'of this machine'} has {processors:g}: {remedy}"
        )
    gpus = resources.get("GPU", 0.0)
    if place.gpus * workers > gpus:
        raise ProtoleakError(
            f"--workers {workers} with --gpus {place.gpus:g} each need {place.gpus * workers:g} GPUs, and the cluster "
            f"has {gpus:g}: give fewer workers, or a fraction of a GPU to each"
        )


def described_resources() -> str:
    """One phrase on what the cluster has and what of it is free, for an error message."""
    import ray

    def part(found: dict[str, float]) -> str:
        return f"{found.get('CPU', 0):g} processors and {found.get('GPU', 0):g} GPUs"

    try:
        return f"the cluster has {part(ray.cluster_resources())}, of which {part(ray.available_resources())} are free"
    except Exception as error:  # it may be the very reason for which nothing goes on
        return f"the cluster does not answer ({' '.join(str(error).split())[:100]})"
