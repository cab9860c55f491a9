"""A real RTSP server on loopback is read, killed and started again."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from protoleak.errors import MediaError
from protoleak.video.frames import Frame, Gap
from protoleak.video.sources.network_settings import NetworkSettings
from protoleak.video.sources.open import open_source
from tests.video.sources.media import fails, write

SYSTEM_PYTHON = "/usr/bin/python3"
GSTREAMER = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer, Gst;"
    " Gst.init(None); raise SystemExit(not Gst.ElementFactory.find('openh264enc'))"
)
SOON = NetworkSettings(open_timeout=10, stall_timeout=3, first_delay=0.1, longest_delay=0.5, patience=30)


class Server:
    """live555's media server where it is installed, else GStreamer's; on one port, started as often as asked."""

    def __init__(self, folder: Path) -> None:
        self.live555 = shutil.which("live555MediaServer")
        if self.live555 is None and not _gstreamer_serves():
            pytest.skip(
                "no RTSP server: apt install livemedia-utils, or python3-gi gir1.2-gst-rtsp-server-1.0 "
                "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
            )
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        if self.live555:
            write(folder / "test.mkv", range(0, 60000, 40))
            self._port = 8554  # it takes this one, and has no option for another
        self.url = f"rtsp://127.0.0.1:{self._port}/{'test.mkv' if self.live555 else 'test'}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        script = Path(__file__).with_name("rtsp_server.py")
        command = [self.live555] if self.live555 else [SYSTEM_PYTHON, str(script), str(self._port)]
        self._process = subprocess.Popen(
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail("the RTSP server does not listen")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _gstreamer_serves() -> bool:
    if not Path(SYSTEM_PYTHON).exists():
        return False
    return subprocess.run([SYSTEM_PYTHON, "-c", GSTREAMER], capture_output=True).returncode == 0


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def test_a_server_that_is_killed_and_started_again_is_read_on_with_the_gap_said(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        source = open_source(server.url, network=SOON)
        items = iter(source)
        before = [next(items) for _ in range(20)]
        server.kill()
        killed = time.monotonic()
        rest: list[Frame | Gap] = []
        again = threading.Timer(1.0, server.start)
        again.start()
        for item in items:
            rest.append(item)
            if len([one for one in rest if isinstance(one, Frame) and one.captured > killed + 1]) == 20:
                break
        source.close()
        again.join()
    frames = [item for item in (*before, *rest) if isinstance(item, Frame)]
    (gap,) = [item for item in rest if isinstance(item, Gap)]
    place = next(n for n, frame in enumerate(frames) if frame.timestamp > gap.timestamp)
    last, resumed = frames[place - 1], frames[place]
    assert gap.timestamp == last.timestamp
    assert gap.seconds == pytest.approx(resumed.timestamp - last.timestamp)
    # The stream's time goes on by the time that passed, up to what a server sends at once at the beginning.
    assert gap.seconds == pytest.approx(resumed.captured - last.captured, abs=2)
    assert resumed.captured - last.captured > 0.9
    assert all(later.index > frame.index and later.timestamp > frame.timestamp for frame, later in pairwise(frames))
    assert resumed.key
    assert (source.info.live, source.info.kind, source.info.sha256) == (True, "network", None)


def test_closing_from_another_thread_ends_a_wait_for_a_server_that_is_gone(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        source = open_source(server.url, network=SOON)
        items = iter(source)
        next(items)
        server.kill()
        threading.Timer(0.5, source.close).start()
        began = time.monotonic()
        assert all(isinstance(item, Frame) for item in items)
        # Far below the 30 s that it would go on trying.
        assert time.monotonic() - began < 5


def test_a_path_that_the_server_lacks_is_one_line_without_the_password(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        url = server.url.replace("127.0.0.1", "admin:hunter2@127.0.0.1").rsplit("/", 1)[0] + "/nothing"
        message = fails(url, "rtsp://***@127.0.0.1", "look at the path")
        assert "hunter2" not in message


def test_a_live_source_that_never_comes_back_is_given_up_with_a_gap_and_one_line(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        impatient = NetworkSettings(stall_timeout=2, first_delay=0.1, longest_delay=0.2, patience=0.5)
        source = open_source(server.url, network=impatient)
        items = iter(source)
        next(items)
        server.kill()
        seen: list[Frame | Gap] = []
        with pytest.raises(MediaError, match="given up"):
            seen.extend(items)
        assert isinstance(seen[-1], Gap)
        assert seen[-1].seconds is None
        source.close()


def test_a_server_that_takes_a_connection_and_says_nothing_is_named_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtsp://user:secret@127.0.0.1:{silent.getsockname()[1]}/camera"
        with pytest.raises(MediaError, match=r"nothing came for 1 s: look at the address") as caught:
            open_source(address, network=NetworkSettings(open_timeout=1))
    assert "secret" not in str(caught.value)
