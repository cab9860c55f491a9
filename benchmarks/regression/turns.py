"""One measure on two commits, in turns: base, head, head, base, so that what drifts evenly meets both alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from benchmarks.regression.checkouts import Checkout
from protoleak.errors import ProtoleakError
from protoleak.progress import Progress, no_progress

END_SECONDS = 20.0  # for a probe to close its engines

# Part → milliseconds of one turn: the whole under the name TOTAL, and stages of it.
Turn = dict[str, float]
TOTAL = "total"


@dataclass(frozen=True)
class Measure:
    """Something to be measured.

    Attributes:
        name: for people.
        command: what follows the interpreter on the command line: a script that prints one JSON object when it is
            ready, and for every line on its standard input one more, a `Turn`; {"failed": reason} where it cannot.
    """

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Round:
    """The four turns of one round: base, head, head, base.

    Attributes:
        process: which pair of processes they ran in.
        base, head: the two turns of each.
    """

    process: int
    base: tuple[Turn, Turn]
    head: tuple[Turn, Turn]

    def ratio(self, part: str) -> float | None:
        """Head's time by base's; None where one of them has no such part, or took no time for it."""
        if not all(part in turn for turn in (*self.base, *self.head)):
            return None
        base, head = (sum(turn[part] for turn in turns) for turns in (self.base, self.head))
        return head / base if base > 0 else None


class ProbeFailed(ProtoleakError):
    """A measure cannot be taken on a commit.

    Attributes:
        checkout: which.
    """

    def __init__(self, checkout: Checkout, reason: str) -> None:
        super().__init__(reason)
        self.checkout = checkout


class Probe:
    """A process with one commit's package in it, which measures when it is told to.

    Args:
        cache: what the package may keep on the disk: one folder per commit, so that neither reads the other's.

    Raises:
        ProbeFailed: it is not ready to measure.
    """

    def __init__(self, checkout: Checkout, measure: Measure, cache: Path) -> None:
        self._checkout = checkout
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed in __exit__
        environment = os.environ | {
            "PYTHONPATH": str(checkout.folder),
            "PROTOLEAK_CACHE": str(cache),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        self._process = subprocess.Popen(
            [sys.executable, *measure.command],
            cwd=checkout.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Probe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(END_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def answer(self) -> Turn:
        """Its next line, as soon as it comes.

        Raises:
            ProbeFailed: it ended, or says that it cannot measure.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.strip():
            self._process.wait()
            self._errors.seek(0)
            lines = [text for text in self._errors.read().splitlines() if text.strip()]
            last = lines[-1] if lines else f"the probe ended with status {self._process.returncode}"
            raise ProbeFailed(self._checkout, last)
        found = json.loads(line)
        if "failed" in found:
            raise ProbeFailed(self._checkout, str(found["failed"]))
        return {str(part): float(spent) for part, spent in found.items()}

    def turn(self) -> Turn:
        """What one turn takes. Raises ProbeFailed as `answer`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except OSError:  # it ended; `answer` says why
            pass
        return self.answer()


def take_turns(
    measure: Measure,
    base: Checkout,
    head: Checkout,
    *,
    processes: int,
    rounds: int,
    caches: Path,
    progress: Progress = no_progress,
) -> list[Round]:
    """Rounds of four turns.

    Args:
        processes: pairs of processes, one after another: where a process's memory happens to lie is a part of its
            speed, which more turns in the same process would not show.
        rounds: in each pair of processes.
        caches: a folder for what the packages keep on the disk.

    Raises:
        ProbeFailed: it cannot be measured on one of them.
    """
    done = []
    for process in range(processes):
        with ExitStack() as stack:
            # In turns here too: whoever is opened first may get what is better.
            order: Sequence[Checkout] = (base, head) if process % 2 == 0 else (head, base)
            probes = {}
            for checkout in order:
                probe = stack.enter_context(Probe(checkout, measure, caches / checkout.folder.name))
                probe.answer()
                probes[checkout] = probe
            for checkout in order:
                probes[checkout].turn()  # warms up
            for _ in range(rounds):
                turns = [probes[checkout].turn() for checkout in (base, head, head, base)]
                done.append(Round(process, (turns[0], turns[3]), (turns[1], turns[2])))
                progress(measure.name, len(done), processes * rounds)
    return done
