"""A camera for tests and long runs: a small RTSP server on loopback that sends a video file again and again, as H.264
over the RTSP connection itself, and cuts or stalls when it is told to. It serves one client after another."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

CLOCK = 90_000  # of RTP timestamps, per second
LARGEST = 1400  # bytes of a payload
PARAMETERS = (7, 8)  # types of the NAL units that describe the stream: SPS, PPS


class RtspCamera:
    """Listens once made; a context manager.

    Args:
        path: of an H.264 video.

    Attributes:
        address: to connect to.
        connections: made so far.
    """

    def __init__(self, path: Path) -> None:
        self._frames = list(_frames(path))
        self._parameters = [unit for unit in self._frames[0][1] if unit[0] & 31 in PARAMETERS]
        self._closed, self._stalled = threading.Event(), threading.Event()
        self._client: socket.socket | None = None
        self.connections = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://127.0.0.1:{self._server.getsockname()[1]}/camera"
        self._thread = threading.Thread(target=self._serve, name="rtsp-camera", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Breaks the connection that there is; the next one is served."""
        client = self._client
        if client is not None:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def stall(self, stalled: bool) -> None:
        """Keeps the connection and sends nothing, or goes on."""
        (self._stalled.set if stalled else self._stalled.clear)()

    @property
    def left(self) -> bool:
        """Whether the client has hung up."""
        client = self._client
        if client is None or client.fileno() < 0:
            return True
        watch = select.poll()
        watch.register(client, select.POLLRDHUP)
        return bool(watch.poll(0))

    def __enter__(self) -> RtspCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self.cut()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                self._client, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            with self._client, contextlib.suppress(OSError):
                if self._talk(self._client):
                    self._send(self._client)

    def _talk(self, client: socket.socket) -> bool:
        """Answers until the client wants to see something; whether it does."""
        received = client.makefile("rb")
        while lines := _request(received):
            method, answer = lines[0].split()[0], ["RTSP/1.0 200 OK"]
            answer += [line for line in lines if line.lower().startswith("cseq:")]
            body = ""
            if method == "OPTIONS":
                answer.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
            elif method == "DESCRIBE":
                body = self._description()
                answer += ["Content-Type: application/sdp", f"Content-Base: {self.address}/"]
            elif method == "SETUP":
                answer += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
            elif method == "PLAY":
                answer.append("Session: 1")
            answer.append(f"Content-Length: {len(body)}")
            client.sendall(("\r\n".join(answer) + "\r\n\r\n" + body).encode())
            if method == "PLAY":
                return True
        return False

    def _description(self) -> str:
        sets = ",".join(b64encode(unit).decode() for unit in self._parameters)
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\nc=IN IP4 127.0.0.1\r\n"
            f"a=rtpmap:96 H264/{CLOCK}\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\n"
            "a=control:track\r\n"
        )

    def _send(self, client: socket.socket) -> None:
        """The video again and again, at its own pace."""
        started, passed, sequence = time.monotonic(), 0.0, 0
        length = self._frames[-1][0] + self._frames[1][0]
        while not self._closed.is_set():
            for seconds, units in self._frames:
                at = passed + seconds
                self._closed.wait(max(0.0, started + at - time.monotonic()))
                while self._stalled.is_set() and not self._closed.is_set():
                    time.sleep(0.05)
                    started += 0.05  # it goes on where it was
                for index, unit in enumerate(units):
                    last = index == len(units) - 1
                    for payload, ends in _payloads(unit):
                        sequence = (sequence + 1) % 2**16
                        mark = 0x80 if last and ends else 0
                        stamp = round(at * CLOCK) % 2**32
                        packet = struct.pack(">BBHII", 0x80, 96 | mark, sequence, stamp, 1) + payload
                        client.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
            passed += length


def _frames(path: Path) -> Iterator[tuple[float, list[bytes]]]:
    """Seconds and NAL units of each frame; without frames that are shown in another order than they come."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        units = BitStreamFilterContext("h264_mp4toannexb", stream)
        first: Fraction | None = None
        for packet in file.demux(stream):
            if packet.dts is None or packet.time_base is None:
                continue
            at = packet.dts * packet.time_base
            first = at if first is None else first
            data = b"".join(bytes(part) for part in units.filter(packet))
            yield float(at - first), [unit for unit in re.split(rb"\x00\x00\x00?\x01", data) if unit]


def _payloads(unit: bytes) -> Iterator[tuple[bytes, bool]]:
    """A NAL unit as RTP payloads (RFC 6184), each with whether it is the last."""
    if len(unit) <= LARGEST:
        yield unit, True
        return
    indicator, kind, rest = unit[0] & 0xE0 | 28, unit[0] & 31, unit[1:]
    for start in range(0, len(rest), LARGEST):
        ends = start + LARGEST >= len(rest)
        header = kind | (0x80 if start == 0 else 0) | (0x40 if ends else 0)
        yield bytes([indicator, header]) + rest[start : start + LARGEST], ends


def _request(received: object) -> list[str]:
    """The lines of one request; none when the client has gone."""
    lines: list[str] = []
    while line := received.readline():  # type: ignore[attr-defined]
        text = line.decode(errors="replace").strip()
        if not text:
            return lines
        lines.append(text)
    return []
