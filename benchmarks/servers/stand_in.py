"""A server whose screener is replaced by a constant verdict: what is left is HTTP, batching and JSON.

    python -m benchmarks.servers.stand_in --seconds 0.01 --batching-threads 2 --port 0

SIGUSR1 ends its batching threads from outside, as a bug in an extension module would.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from protoleak.errors import EngineError
from protoleak.runtime.prepared import Prepared
from protoleak.runtime.verdict import Verdict
from protoleak.serving.judging import BundleJudge, PreparedImage
from protoleak.serving.server import listen, serve
from protoleak.serving.settings import BundleOptions, RequestLimits, ServeSettings

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "images" / "flux1_dev.jpg"


class StandIn(BundleJudge):
    """Says of every image what was said of one, after so many seconds for each batch."""

    def __init__(self, settings: ServeSettings, seconds: float) -> None:
        super().__init__(settings.options, settings.limits, print)
        self.warm_up()
        self._seconds = seconds
        self._prepared = super().prepare(EXAMPLE.read_bytes(), False)
        self._outcomes = super().judge(self._prepared.units)

    def prepare(self, data: bytes, every_face: bool) -> PreparedImage:  # noqa: ARG002 whatever is given
        """The one image, whatever is given."""
        return self._prepared

    def judge(self, units: Sequence[Prepared]) -> list[Verdict | EngineError]:
        """The one verdict, for each."""
        if self._seconds:
            time.sleep(self._seconds)
        return self._outcomes * len(units)


def main() -> None:
    """Serves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--queue", type=int, default=64)
    parser.add_argument("--batching-threads", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    settings = ServeSettings(
        BundleOptions(isolate=False),
        RequestLimits(queue=given.queue),
        port=given.port,
        batching_threads=given.batching_threads,
    )
    signal.signal(signal.SIGUSR1, _end_batching)
    serve(
        settings,
        listen(settings.host, settings.port),
        lambda line: print(line, file=sys.stderr, flush=True),
        lambda: StandIn(settings, given.seconds),
    )
    os._exit(0)


def _end_batching(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 a handler's signature
    for thread in threading.enumerate():
        if thread.name.startswith("protoleak-batching") and thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))


if __name__ == "__main__":
    main()
