"""A bundle is replaced while it serves: SIGHUP loads it anew, and no request is lost."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from pathlib import Path

from msgspec.structs import replace

from protoleak.bundle.manifest import Manifest
from protoleak.bundle.writer import write_bundle
from tests.serving.clients import Tally, keep_asking, request_of
from tests.serving.conftest import png
from tests.serving.running import ENGINE, RunningServer


def test_a_new_bundle_is_switched_to_without_a_lost_request_and_a_bad_one_is_refused(
    tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path
) -> None:
    manifest, files = tiny_files
    place = tmp_path / "bundle"
    write_bundle(place, manifest, files)
    tally = Tally()
    request = request_of(png(0, 1))

    async def load(server: RunningServer) -> None:
        stop = time.monotonic() + 60
        clients = [asyncio.create_task(keep_asking(server.port, request, tally, stop)) for _ in range(2)]
        server.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(server.wait_for, "reloaded: bundle second ")
        assert server.ask("GET", "/v1/bundle").json["name"] == "second"
        (place / "noise_bank.npy").write_bytes(b"changed")
        server.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(server.wait_for, "reload refused, the bundle that is open stays: ")
        assert server.ask("GET", "/v1/bundle").json["name"] == "second"
        assert server.ask("GET", "/v1/health/ready").status == 200
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    with RunningServer(place, *ENGINE, "--no-isolate") as running:
        shutil.rmtree(place)
        write_bundle(place, replace(manifest, name="second"), files)
        asyncio.run(load(running))
        assert running.stop() == 0
    assert tally.codes["200"] > 0
    assert set(tally.codes) == {"200"}
