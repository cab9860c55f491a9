"""Several processes on one port: all of them serve, one that ends is replaced, and all end together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.paths import ROOT
from tests.serving.conftest import png
from tests.serving.running import ENGINE, RunningServer


def test_workers_share_a_port_and_their_counts_and_are_replaced(tiny_bundle: Path) -> None:
    with RunningServer(tiny_bundle, *ENGINE, "--no-isolate", "--workers", 2) as running:
        first = running.wait_for(r"^\[\d+\] serving")
        pid = int(re.findall(r"\d+", first)[0])
        running.wait_for(rf"^\[(?!{pid}\])\d+\] serving")
        assert all(running.screen(png(0, 1)).status == 200 for _ in range(6))
        metrics = running.ask("GET", "/v1/metrics").body.decode()
        assert 'protoleak_requests_total{code="200"} 6.0' in metrics
        os.kill(pid, signal.SIGKILL)
        running.wait_for(f"worker {pid} ended with status -9: another one is started")
        assert running.screen(png(0, 1)).status == 200
        assert running.stop() == 0
        until = time.monotonic() + 5
        while time.monotonic() < until and _children(running.process.pid):
            time.sleep(0.05)
        assert not _children(running.process.pid)


def test_a_bundle_that_cannot_be_opened_ends_all_of_them(tmp_path: Path) -> None:
    running = RunningServer(tmp_path / "nothing", "--workers", 2)
    assert running.process.wait(120) == 2
    running.wait_for("no bundle at")


def test_the_counts_of_all_hold_what_is_served_now_and_a_bounded_number_of_sources(tmp_path: Path) -> None:
    code = """
from protoleak.serving.metrics import Metrics
metrics = Metrics()
metrics.build({"sha256": "before"})
metrics.build({"sha256": "now"})
for number in range(2000):
    metrics.show_evidence(f"source {number}", 1.0)
print(metrics.text().decode())
"""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert [line for line in shown.splitlines() if line.startswith("protoleak_build_info")] == [
        'protoleak_build_info{sha256="now"} 1.0'
    ]
    assert shown.count("protoleak_drift_evidence{") == 1024


def _children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if f"\nPPid:\t{parent}\n" in text:
            found.append(int(status.parent.name))
    return found
