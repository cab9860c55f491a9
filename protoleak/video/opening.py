"""A source on its way to being opened, in a thread of its own: a camera that doesn't answer holds nobody up."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from protoleak.errors import MediaError, MissingExtra
from protoleak.images.sources import printable
from protoleak.video.events import FailureEvent
from protoleak.video.frames import FrameSource
from protoleak.video.sources.network_settings import NetworkSettings
from protoleak.video.sources.open import is_network_address
from protoleak.video.sources.redaction import without_secrets

AnySource: TypeAlias = "FrameSource | str | os.PathLike[str]"
Open: TypeAlias = Callable[[str], FrameSource]


class SourceOpening:
    """Opens a source. An address that cannot be opened is tried again until somebody gives it up, after the same pauses
    as a connection that was lost, and for as long.

    Args:
        source: one that is open already is the outcome as it is.
        open_named: opens a source by its name.
        arrived: notified when there is an outcome, or something to say.
        network: the pauses between attempts, and the patience.

    Attributes:
        outcome: the source, or why it cannot be opened; None before.
        awaited: why an address could not be opened at first, while it is tried again; else None.
    """

    def __init__(
        self, source: AnySource, open_named: Open, arrived: threading.Condition, network: NetworkSettings
    ) -> None:
        self._open_named, self._arrived, self._network = open_named, arrived, network
        self._closing = threading.Event()
        self.outcome: FrameSource | FailureEvent | None = None
        self.awaited: FailureEvent | None = None
        if isinstance(source, (str, os.PathLike)):
            name = os.fspath(source)
            threading.Thread(target=self._run, args=(name,), name="protoleak-opening", daemon=True).start()
        else:
            self.outcome = source

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self.outcome is not None

    def give_up(self) -> None:
        """Ends the attempts: the outcome is why the first one failed, unless there is an outcome already."""
        with self._arrived:
            self._closing.set()
            if self.outcome is None:
                self.outcome = self.awaited

    def close(self) -> None:
        """Closes the source, now or as soon as it is open."""
        with self._arrived:
            self._closing.set()
            outcome = self.outcome
        if outcome is not None and not isinstance(outcome, FailureEvent):
            outcome.close()

    def _run(self, name: str) -> None:
        began, delay = time.monotonic(), self._network.first_delay
        while True:
            outcome, may_come = self._attempt(name)
            with self._arrived:
                closing = self._closing.is_set()
                waits = may_come and not closing and time.monotonic() - began <= self._network.patience
                if waits:
                    assert isinstance(outcome, FailureEvent)
                    self.awaited = self.awaited or outcome
                elif self.outcome is None:
                    self.outcome = outcome
                self._arrived.notify_all()
            if not waits:
                if closing and not isinstance(outcome, FailureEvent):
                    outcome.close()
                return
            if self._closing.wait(delay):
                return
            delay = min(2 * delay, self._network.longest_delay)

    def _attempt(self, name: str) -> tuple[FrameSource | FailureEvent, bool]:
        """The source or why it cannot be opened, and whether that may change by itself."""
        shown = printable(without_secrets(name))
        try:
            return self._open_named(name), False
        except MediaError as error:
            return FailureEvent(source=shown, message=str(error)), is_network_address(name)
        except MissingExtra as error:
            return FailureEvent(source=shown, message=str(error)), False
        except Exception as error:  # a library's: it ends this source, not the others
            message = f"{shown}: cannot be opened: {type(error).__name__}: {error}"
            return FailureEvent(source=shown, message=message), False
