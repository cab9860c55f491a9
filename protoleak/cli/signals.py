"""Ctrl-C and SIGTERM: the first one ends the command in good order within seconds, the second at once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from types import FrameType
from typing import NoReturn

from protoleak.cli.exit_status import ExitStatus

GRACE_SECONDS = 4.5  # container managers kill after 10; whoever presses Ctrl-C waits less gladly
STATUSES = {signal.SIGINT: ExitStatus.INTERRUPTED, signal.SIGTERM: ExitStatus.TERMINATED}


class Signals:
    """What has come of SIGINT and SIGTERM since `watch_signals`.

    Attributes:
        first: the signal that came first; None before.
    """

    def __init__(self) -> None:
        self.first: signal.Signals | None = None

    def raise_interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # the handler's signature
        """The handler, in the main thread: both signals are a KeyboardInterrupt, as Ctrl-C is without it."""
        if self.first is None:
            self.first = signal.Signals(number)
            raise KeyboardInterrupt

    @property
    def status(self) -> ExitStatus:
        """What an interrupted command exits with."""
        return ExitStatus.INTERRUPTED if self.first is None else STATUSES[self.first]


def watch_signals() -> Signals:
    """Handles the signals of this process from now to its end. For the main thread of a command.

    Python runs a handler between two instructions of the main thread, which an engine may keep for long. So a thread
    of its own hears of each signal at once, through the pipe that Python writes their numbers to: with the second
    signal it ends the process, and after GRACE_SECONDS too. Handlers are also what makes process 1 of a container end:
    the kernel keeps every signal from it that it doesn't handle.

    A signal that the process was started with ignored, as by `nohup` and `&`, stays ignored.
    """
    signals = Signals()
    taken = [number for number in STATUSES if signal.getsignal(number) is not signal.SIG_IGN]
    receiver, sender = socket.socketpair()
    sender.setblocking(False)  # as set_wakeup_fd wants it
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    for number in taken:
        signal.signal(number, signals.raise_interrupt)
    threading.Thread(target=_watch, args=(receiver, sender), name="protoleak-signals", daemon=True).start()
    return signals


def _watch(receiver: socket.socket, sender: socket.socket) -> None:  # noqa: ARG001  # open as long as this runs
    """Sees to it that the process ends. Its outputs are valid at every moment, so that it may."""
    first = _next(receiver)
    receiver.settimeout(GRACE_SECONDS)
    with contextlib.suppress(TimeoutError):
        _end(_next(receiver))
    with contextlib.suppress(Exception):
        print(f"error: still busy {GRACE_SECONDS:g} s after {first.name}: ended now", file=sys.stderr, flush=True)
    _end(first)


def _next(receiver: socket.socket) -> signal.Signals:
    while True:
        number = receiver.recv(1)[0]  # other signals that Python handles come here as well
        if number in STATUSES:
            return signal.Signals(number)


def _end(number: signal.Signals) -> NoReturn:
    """Not by the signal's own effect, which process 1 is spared."""
    os._exit(STATUSES[number])
