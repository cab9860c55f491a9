"""Runs in a frozen program before the program itself: where it was started to be a worker, that is all that it is."""

from __future__ import annotations

import sys

WORKER = "--protoleak-worker"  # as isolation.worker has it, which isn't imported at every start


def _serve() -> None:
    from protoleak.isolation.worker import run_frozen

    run_frozen(sys.argv[2])
    sys.exit(0)


if len(sys.argv) == 3 and sys.argv[1] == WORKER:
    _serve()
