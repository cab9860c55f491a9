"""The workers of a run on Ray: actors of Ray Data, which starts killed ones again, and the monitor they report to."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from protoleak.errors import DiskFull, ProtoleakError
from protoleak.serving.corpus.cluster import Place, described_resources
from protoleak.serving.corpus.judge import BlockJudge, Work
from protoleak.serving.corpus.monitor import Monitor, Signs, Watchdog
from protoleak.serving.corpus.settings import Description, JudgeSettings, describe, open_judge

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_ANSWER = 5.0  # of the monitor; the watchdog has the last word
BLOCKS_AHEAD = 2  # that wait at a worker while it judges another


class RemoteReports:
    """Signs of life from this process to a monitor in another one."""

    def __init__(self, monitor: Any) -> None:
        self._monitor = monitor
        self._worker = f"{socket.gethostname()}:{os.getpid()}"

    def sign(self, doing: str) -> None:
        self._monitor.sign.remote(self._worker, doing)

    def begin(self, block: int) -> bool:
        return bool(_answer(self._monitor.begin.remote(self._worker, block), False))

    def alone(self, block: int, index: int, source: str) -> bool:
        return bool(_answer(self._monitor.alone.remote(self._worker, block, index, source), True))

    def survived(self, block: int, index: int) -> None:
        self._monitor.survived.remote(block, index)

    def judged(self, block: int, images: int, doing: str) -> None:
        self._monitor.judged.remote(self._worker, block, images, doing)

    def finished(self, block: int, inputs: int) -> None:
        self._monitor.finished.remote(block, inputs)

    def failed(self, reason: str, full: bool) -> None:
        """Waits until it is known: the process may end with the error that it is about."""
        _answer(self._monitor.failed.remote(reason, full), None)


def _answer(asked: Any, otherwise: object) -> object:
    """What the monitor says; a default where it was killed meanwhile and has not come back yet."""
    import ray

    try:
        return ray.get(asked, timeout=SECONDS_TO_ANSWER)
    except ray.exceptions.RayError:
        return otherwise


class Worker:
    """What Ray Data keeps alive: a `BlockJudge`, opened with the first block, so that its errors are reported."""

    def __init__(self, work: Work, monitor: Any) -> None:
        self._work = work
        self._reports = RemoteReports(monitor)
        self._judge: BlockJudge | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Judges one block."""
        try:
            self._judge = self._judge or BlockJudge(self._work, self._reports)
            return {"block": row["block"], "inputs": self._judge(int(row["block"]))}
        except ProtoleakError as error:
            self._reports.failed(str(error), isinstance(error, DiskFull))
            raise


def start_monitor() -> Any:
    """A handle of a new `Monitor`."""
    import ray

    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Monitor)
    return actor.remote()


class Supervisor:
    """Looks after workers from the process that the user started.

    Args:
        patience: seconds without a sign of life that are borne.
    """

    def __init__(self, monitor: Any, patience: float) -> None:
        self._monitor = monitor
        self._watchdog = Watchdog(patience)

    def look(self, finished: int) -> Signs | None:
        """The signs of life now.

        Raises:
            ProtoleakError: see `Watchdog.look`.
        """
        import ray

        try:
            signs: Signs | None = ray.get(self._monitor.signs.remote(), timeout=SECONDS_TO_ANSWER)
        except ray.exceptions.RayError:  # killed, and about to come back; or too busy to answer in time
            signs = None
        self._watchdog.look(signs, finished, described_resources)
        return signs

    def first_worker(self, settings: JudgeSettings, folder: Path, gpus: float) -> Description:
        """Lets one worker open the bundle and say what it is.

        Raises:
            ProtoleakError: it cannot be opened there, or nothing goes on.
        """
        import ray

        token = folder / f".seen.{secrets.token_hex(8)}"
        token.touch()
        try:
            task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_describe)
            asked = task.remote(settings, self._monitor, os.fspath(token))
            while not ray.wait([asked], timeout=SECONDS_BETWEEN_LOOKS)[0]:
                self.look(0)
            found: Description | str = ray.get(asked)
        except ray.exceptions.RayError as error:
            raise ProtoleakError(f"the first worker ended: {_last_line(error)}") from error
        finally:
            token.unlink(missing_ok=True)
        if isinstance(found, str):
            raise ProtoleakError(found)
        return found

    def run(self, work: Work, blocks: list[int], workers: int, place: Place, show: Callable[[int], None]) -> None:
        """Lets workers judge blocks until all are done.

        Args:
            blocks: those to be done; at least one.
            show: called with how many inputs of these blocks are judged.

        Raises:
            ProtoleakError: a worker cannot go on, or nothing goes on.
        """
        finished: dict[int, int] = {}
        ended: list[BaseException | None] = []

        def follow() -> None:
            try:
                for block, inputs in _followed(work, self._monitor, blocks, workers, place):
                    finished[block] = inputs
                ended.append(None)
            except BaseException as error:  # handed to the thread that waits
                ended.append(error)

        thread = threading.Thread(target=follow, name="protoleak-corpus", daemon=True)
        thread.start()
        while not ended:
            thread.join(SECONDS_BETWEEN_LOOKS)
            signs = self.look(len(finished))
            done = (signs.finished if signs is not None else {}) | dict(finished)
            partly = signs.partly if signs is not None else {}
            show(sum(done.values()) + sum(count for block, count in partly.items() if block not in done))
        if ended[0] is not None:
            self.look(len(finished))  # a worker may have said why
            raise ProtoleakError(f"the workers ended: {_last_line(ended[0])}") from ended[0]
        show(sum(finished.values()))


def _describe(settings: JudgeSettings, monitor: Any, token: str) -> Description | str:
    """In a worker: a description, or why there is none."""
    reports = RemoteReports(monitor)
    reports.sign("opening the bundle")
    try:
        judge = open_judge(settings, lambda phase, *_: reports.sign(f"building a plan: {phase}"))
    except ProtoleakError as error:
        return str(error)
    return describe(judge, folder_is_shared=Path(token).exists())


def _followed(work: Work, monitor: Any, blocks: list[int], workers: int, place: Place) -> Iterable[tuple[int, int]]:
    """Finished blocks and their inputs, as they come; from a client of a cluster all at the end, since Ray Data has to
    be driven from within the cluster."""
    import ray

    if not ray.util.client.ray.is_connected():
        return _finished(work, monitor, blocks, workers, place)
    driver = ray.remote(num_cpus=0, max_retries=0)(lambda *given: list(_finished(*given)))
    found: list[tuple[int, int]] = ray.get(driver.remote(work, monitor, blocks, workers, place))
    return found


def _finished(work: Work, monitor: Any, blocks: list[int], workers: int, place: Place) -> Iterator[tuple[int, int]]:
    import ray.data

    rows = ray.data.from_items([{"block": block} for block in blocks], override_num_blocks=len(blocks))
    judged = rows.map(
        Worker,
        fn_constructor_args=(work, monitor),
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=BLOCKS_AHEAD),
        num_cpus=1,
        num_gpus=place.gpus or None,
    )
    for row in judged.iter_rows():
        yield int(row["block"]), int(row["inputs"])


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
