"""Images made ready beside the encoder: in threads, or in processes of their own, always in the order asked for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from protoleak.arrays import UInt8Array
from protoleak.errors import EngineError, MediaError

Load = Callable[[], UInt8Array]
THREADS = min(4, os.cpu_count() or 1)  # Pillow decodes, resizes and compresses without the interpreter's lock
MOST_WORKERS = 8


def usable_workers() -> int:
    """As many processes as this one has cores for, up to eight."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


def loaded(loads: Sequence[Load], size: int, workers: int) -> Iterator[list[UInt8Array | MediaError]]:
    """What each of `loads` gives, `size` at a time and in their order, or the MediaError that it raised.

    While a part is used the next ones are made: at most as many as there are workers, and one, are in memory.

    Args:
        loads: called anywhere and in any order; for processes they have to be picklable.
        size: of a part.
        workers: processes; 0 for threads of this one, which is as good where little but decoding is to be done.

    Raises:
        EngineError: a process ended before its work was done.
    """
    parts = deque(list(loads[start : start + size]) for start in range(0, len(loads), size))
    pending: deque[Future[list[UInt8Array | MediaError]]] = deque()
    with _pool(workers if len(parts) > 1 else 0) as pool:
        try:
            while parts or pending:
                while parts and len(pending) <= (workers or THREADS):
                    pending.append(pool.submit(_load_all, parts.popleft()))
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise EngineError(
                f"one of {workers} processes that load images ended, for want of memory most likely: "
                "give fewer workers, or 0 for none"
            ) from error
        finally:
            for future in pending:
                future.cancel()


def _pool(workers: int) -> Executor:
    if workers == 0:
        return ThreadPoolExecutor(THREADS)
    # Spawned, not forked: a fork would copy locks that PyTorch's and the engines' threads hold.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start)


def _start() -> None:
    """Of a worker: the interruption of a run is for the process that started it, and a core is all that it has."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # service managers send it to all processes of a run
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _load_all(loads: Sequence[Load]) -> list[UInt8Array | MediaError]:
    return [_load(load) for load in loads]


def _load(load: Load) -> UInt8Array | MediaError:
    try:
        return load()
    except MediaError as error:
        return error
