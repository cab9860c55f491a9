"""HTTP: a file ends when it ends, a live stream is connected to again, nothing grows, and nothing secret is said."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import cv2
import pytest

from protoleak.errors import MediaError
from protoleak.video.frames import Frame, Gap
from protoleak.video.sources.network_settings import NetworkSettings
from protoleak.video.sources.open import open_source
from protoleak.video.sources.redirects import redirected
from tests.http_server import serving_with
from tests.video.sources.media import fails, make_image, number_of, write, write_sound

SOON = NetworkSettings(open_timeout=5, stall_timeout=1, first_delay=0.02, longest_delay=0.1, patience=20)
Respond = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(respond: Respond) -> Iterator[str]:
    """An HTTP server on loopback; yields its address, without a slash at the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                respond(self)
            except OSError:  # the reader has gone
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with serving_with(Handler) as address:
        yield address


def file_response(data: bytes, announced: int | None = None) -> Respond:
    def respond(request: BaseHTTPRequestHandler) -> None:
        first = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        size = len(data) if announced is None else announced
        request.send_response(206 if first else 200)
        request.send_header("Content-Length", str(size - first))
        request.send_header("Accept-Ranges", "bytes")
        if first:
            request.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        request.end_headers()
        request.wfile.write(data[first:])

    return respond


def camera_response(frames: int, pause: float = 0.01, hang: float = 0.0) -> Respond:
    """What network cameras send: JPEG after JPEG, without a length and without timestamps."""

    def respond(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        for number in range(frames):
            data = cv2.imencode(".jpg", make_image(number))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            request.wfile.write(head.encode() + data + b"\r\n")
            time.sleep(pause)
        time.sleep(hang)

    return respond


def test_a_file_behind_http_ends_when_it_ends(tmp_path: Path) -> None:
    with serving(file_response(write(tmp_path / "x.mp4").read_bytes())) as address:
        source = open_source(f"{address}/x.mp4", network=SOON)
        frames = [item for item in source if isinstance(item, Frame)]
        source.close()
    assert [number_of(frame) for frame in frames] == list(range(60))
    assert (source.info.live, source.info.kind, source.info.duration) == (False, "network", pytest.approx(2.4))


def test_a_file_whose_connection_breaks_is_an_error_after_what_had_come(tmp_path: Path) -> None:
    data = write(tmp_path / "x.mp4", movflags="faststart").read_bytes()
    seen: list[Frame | Gap] = []
    with serving(file_response(data[: len(data) // 2], announced=len(data))) as address:
        source = open_source(f"{address}/x.mp4", network=SOON)
        with pytest.raises(MediaError, match="the connection broke after") as caught:
            seen.extend(source)
        source.close()
    assert "\n" not in str(caught.value)
    assert 20 <= len([item for item in seen if isinstance(item, Frame)]) < 60


def test_a_live_stream_that_ends_is_connected_to_again_and_time_goes_on() -> None:
    with serving(camera_response(10)) as address:
        source = open_source(f"{address}/live", network=SOON)
        items: list[Frame | Gap] = []
        for item in source:
            items.append(item)
            if sum(isinstance(one, Frame) for one in items) == 25:
                break
        source.close()
    gaps = [item for item in items if isinstance(item, Gap)]
    frames = [item for item in items if isinstance(item, Frame)]
    assert len(gaps) == 2
    assert all(gap.seconds is not None and gap.seconds > 0 for gap in gaps)
    assert [frame.index for frame in frames] == list(range(25))
    # The stream has no clock: its time is that of capture.
    passed = frames[-1].captured - frames[0].captured
    assert frames[-1].timestamp == pytest.approx(passed, abs=0.05)
    assert "the moment of capture is taken" in source.info.notes[0]
    assert source.info.live


def test_a_live_stream_that_stalls_counts_as_lost() -> None:
    with serving(camera_response(10, hang=3)) as address:
        source = open_source(f"{address}/live", network=SOON)
        gap = next(item for item in source if isinstance(item, Gap))
        source.close()
    assert "nothing came for 1 s" in gap.reason
    assert gap.seconds is not None
    assert gap.seconds >= 1


def test_closing_from_another_thread_ends_a_stalled_read_at_once() -> None:
    with serving(camera_response(10, hang=2)) as address:
        patient = NetworkSettings(stall_timeout=3)
        source = open_source(f"{address}/live", network=patient)
        threading.Timer(0.6, source.close).start()
        began = time.monotonic()
        frames = list(source)
        assert time.monotonic() - began < 2
        assert frames


def test_memory_and_threads_do_not_grow_over_many_connections() -> None:
    with serving(camera_response(3, pause=0)) as address:
        source = open_source(f"{address}/live", network=SOON)
        gaps = 0
        sizes = []
        for item in source:
            gaps += isinstance(item, Gap)
            if isinstance(item, Gap) and gaps in (20, 60):
                gc.collect()
                sizes.append(
                    (
                        _resident_kib(),
                        sum(thread.name == f"read {source.info.name}" for thread in threading.enumerate()),
                    )
                )
            if gaps == 60:
                break
        source.close()
    (early, threads), (late, threads_later) = sizes
    # A connection that were not freed would keep its buffers and its decoder: more than 100 KiB each.
    assert late - early < 2048
    assert threads == threads_later == 1


def test_a_playlist_behind_http_is_refused_and_not_followed() -> None:
    asked = []

    def respond(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        file_response(b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n/secret.ts\n#EXT-X-ENDLIST\n")(request)

    with serving(respond) as address:
        fails(f"{address}/list.m3u8", "playlists", "refused")
    assert "/secret.ts" not in asked


def test_a_redirection_to_a_local_file_is_not_followed(tmp_path: Path) -> None:
    secret = write(tmp_path / "x.mp4")

    def respond(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", f"file://{secret}")
        request.end_headers()

    with serving(respond) as address:
        fails(f"{address}/x.mp4")


def test_passwords_and_tokens_are_in_no_name_and_no_message() -> None:
    def respond(request: BaseHTTPRequestHandler) -> None:
        request.send_error(404)

    with serving(respond) as address:
        host = address.removeprefix("http://")
        message = fails(f"http://admin:hunter2@{host}/x?token=abc&size=1", f"http://***@{host}/x?***")
    assert "admin" not in message
    assert "hunter2" not in message
    assert "abc" not in message


def test_a_server_that_is_not_there_is_one_line() -> None:
    with serving(file_response(b"")) as address:
        pass
    fails(f"{address}/x.mp4", "connection refused", "is the server running")


def test_audio_behind_http_is_one_line(tmp_path: Path) -> None:
    with serving(file_response(write_sound(tmp_path / "x.m4a").read_bytes())) as address:
        fails(f"{address}/x.m4a", "no video")


def _resident_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    pytest.skip("memory is read from /proc")


def test_a_file_that_is_larger_than_allowed_is_refused_by_what_the_server_states(tmp_path: Path) -> None:
    data = write(tmp_path / "x.mp4", movflags="faststart").read_bytes()
    with serving(file_response(data, announced=17 * 10**9)) as address:
        fails(f"{address}/x.mp4", "17.0 GB, more than 16 GB", "refused")
        with pytest.raises(MediaError, match="more than 1 GB: refused"):  # limits are a worker's too
            open_source(f"{address}/x.mp4", network=replace(SOON, most_bytes=10**9), isolate=True)


def test_a_server_that_answers_byte_by_byte_is_given_up() -> None:
    """Each byte is in time for a socket; the whole answer is not."""
    released = threading.Event()

    def respond(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 302 Found\r\nX-Long: ")
        while not released.wait(0.1):
            request.wfile.write(b"x")
            request.wfile.flush()

    with serving(respond) as address:
        began = time.monotonic()
        with pytest.raises(MediaError, match="nothing came for 1 s"):
            open_source(f"{address}/x.mp4", network=replace(SOON, open_timeout=1))
        assert time.monotonic() - began < 10
        assert redirected(f"{address}/x.mp4", any_host=False, timeout=0.5) == f"{address}/x.mp4"
        released.set()
