"""How a server ends: the first SIGTERM or Ctrl-C in good order and in time, the second at once; SIGHUP reloads."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT)


class Endings:
    """Hears signals in a thread of its own, so that neither a busy event loop nor an engine delays what they ask for.

    Args:
        grace: seconds after the first signal within which the process ends, with status 0, whatever happens.
        stop: is told once that the process is to end.
        reload: is told of every SIGHUP.
        notify: takes one line.
    """

    def __init__(
        self, grace: float, stop: Callable[[], None], reload: Callable[[], None], notify: Callable[[str], None]
    ) -> None:
        self._grace, self._stop, self._reload, self._notify = grace, stop, reload, notify

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """From now to the end of the process, in its main thread; where the block raises, signals are as before."""
        receiver, sender = socket.socketpair()
        sender.setblocking(False)  # as set_wakeup_fd wants it
        descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        before = {}
        for number in (*ENDING, signal.SIGHUP):
            # One that was started with signals ignored, as by `nohup`, goes on ignoring them; SIGTERM is always meant.
            if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, _nothing)
        threading.Thread(target=self._watch, args=(receiver,), name="protoleak-signals", daemon=True).start()
        self._kept = sender  # open as long as the process: the thread ends it in time
        try:
            yield
        except BaseException:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)
            raise

    def _watch(self, receiver: socket.socket) -> None:
        while (number := receiver.recv(1)[0]) not in ENDING:
            if number == signal.SIGHUP:
                self._reload()
        timer = threading.Timer(self._grace, self._end, (0, f"not done {self._grace:g} s after the signal: ended now"))
        timer.daemon = True
        timer.start()
        self._stop()
        while (number := receiver.recv(1)[0]) not in ENDING:
            pass
        self._end(128 + number, None)

    def _end(self, status: int, message: str | None) -> None:
        if message is not None:
            with contextlib.suppress(Exception):
                self._notify(message)
        os._exit(status)


def _nothing(number: int, frame: FrameType | None) -> None:
    """The pipe of `set_wakeup_fd` has the number already."""
