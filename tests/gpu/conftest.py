"""A worker on the GPU; everything here skips, with the reason, where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from protoleak.errors import EngineUnavailable, MissingExtra
from protoleak.runtime.cuda.device import CudaWorker


@pytest.fixture
def worker() -> Iterator[CudaWorker]:
    try:
        opened = CudaWorker()
    except (EngineUnavailable, MissingExtra) as error:
        pytest.skip(str(error))
    with opened:
        yield opened
