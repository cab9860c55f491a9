"""A worker on the GPU; everything here skips, with the reason, where there is none.

    pytest tests/gpu

prints what a first run on a GPU has to show of it: how far results are from the processor's, what did not run and why.
Where nothing could run it ends with status 1: an hour on a machine without a working engine must not look like success.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from protoleak.errors import EngineUnavailable, MissingExtra
from protoleak.runtime.cuda.device import CudaWorker
from tests.gpu.agreement import DEVIATIONS

HERE = Path(__file__).parent
REMEDY = (
    "nothing of tests/gpu ran: it needs an NVIDIA GPU with its driver, and pip install 'protoleak[tensorrt]' (or "
    "[cuda] beside JetPack's TensorRT, or [tensorrt-rtx])"
)


@pytest.fixture
def worker() -> Iterator[CudaWorker]:
    try:
        opened = CudaWorker()
    except (EngineUnavailable, MissingExtra) as error:
        pytest.skip(str(error))
    with opened:
        yield opened


def _reports(config: pytest.Config, outcome: str) -> list[pytest.TestReport]:
    """Of the tests here."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get(outcome, []) if reporter is not None else []
    return [one for one in reports if isinstance(one, pytest.TestReport) and one.nodeid.startswith("tests/gpu/")]


def _alone(config: pytest.Config) -> bool:
    """Whether the tests here are all that was asked for."""
    asked = [Path(config.invocation_params.dir, argument.split("::")[0]).resolve() for argument in config.args]
    return bool(asked) and all(path.is_relative_to(HERE) for path in asked)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not _alone(config):
        return
    write = terminalreporter.write_line
    terminalreporter.section("on this GPU")
    for what, (largest, relative) in sorted(DEVIATIONS.items()):
        write(f"{what}: largest deviation {largest:.3g}, {relative:.3g} of the largest value")
    reasons: dict[str, int] = {}
    for report in _reports(config, "skipped"):
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in reasons.items():
        write(f"{count} not run, because {reason.removeprefix('Skipped: ')}")
    if not any(_reports(config, outcome) for outcome in ("passed", "failed", "error")):
        write(REMEDY)


def pytest_sessionfinish(session: pytest.Session) -> None:
    ran = any(_reports(session.config, outcome) for outcome in ("passed", "failed", "error"))
    if _alone(session.config) and _reports(session.config, "skipped") and not ran:
        session.exitstatus = 1
