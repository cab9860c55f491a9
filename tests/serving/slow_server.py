"""A server whose engines take their time, run as a program: BUNDLE SECONDS, and what `ServeSettings` is to be.

python -m tests.serving.slow_server BUNDLE 0.05 --queue 64 --batching-threads 2 --grace 10 --port 0
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from protoleak.errors import EngineError
from protoleak.runtime.prepared import Prepared
from protoleak.runtime.verdict import Verdict
from protoleak.serving.judging import BundleJudge
from protoleak.serving.server import listen, serve
from protoleak.serving.settings import BundleOptions, RequestLimits, ServeSettings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--queue", type=int, default=64)
    parser.add_argument("--batching-threads", type=int, default=1)
    parser.add_argument("--grace", type=float, default=10.0)
    parser.add_argument("--request-seconds", type=float, default=30.0)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()

    class Slow(BundleJudge):
        def judge(self, units: Sequence[Prepared]) -> list[Verdict | EngineError]:
            if self.example is not None:  # warmed
                time.sleep(given.seconds)
            return super().judge(units)

    settings = ServeSettings(
        BundleOptions(bundle=given.bundle, engine="onnxruntime", threads=1, isolate=False),
        RequestLimits(queue=given.queue, seconds=given.request_seconds),
        port=given.port,
        batching_threads=given.batching_threads,
        grace=given.grace,
    )

    def opening() -> Slow:
        judge = Slow(settings.options, settings.limits, print)
        judge.warm_up()
        return judge

    serve(
        settings,
        listen(settings.host, settings.port),
        lambda line: print(line, file=sys.stderr, flush=True),
        opening,
    )
    os._exit(0)


if __name__ == "__main__":
    main()
