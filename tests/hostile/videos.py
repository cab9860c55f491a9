"""Hostile videos and playlists, made by script from a seed."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

import av
import numpy as np

from tests.hostile.images import mutated

CONTAINERS = (
    ("mp4", "libx264"),
    ("mp4", "mpeg4"),
    ("matroska", "mpeg4"),
    ("webm", "libvpx"),
    ("avi", "mjpeg"),
    ("mpegts", "mpeg2video"),
    ("flv", "libx264"),
    ("mov", "mpeg4"),
)
TABLES = (b"stts", b"stsz", b"stco", b"stsc", b"ctts", b"stss", b"elst", b"mvhd", b"mdhd", b"tkhd", b"dref")
PLAYLISTS = (
    b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    b"ffconcat version 1.0\nfile /etc/passwd\n",
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
    b'<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1/</BaseURL></MPD>',
)


def video(container: str, codec: str, seed: int = 0, frames: int = 12) -> bytes:
    """A few frames of noise."""
    generator = np.random.default_rng(seed)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for _ in range(frames):
            frame = av.VideoFrame.from_ndarray(generator.integers(0, 256, (64, 96, 3), dtype=np.uint8))
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def miscounted(data: bytes, choice: random.Random) -> bytes:
    """One of the first numbers of a table in an MP4 made large: FFmpeg makes room for as many entries as it says."""
    table = choice.choice([one for one in TABLES if one in data])
    place = data.index(table) + choice.choice((4, 8, 12, 16))
    return data[:place] + choice.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x0f\0\0\0")) + data[place + 4 :]


def many_edits(edits: int) -> bytes:
    """A video that is said to be shown so many times."""
    data = video("mp4", "mpeg4", frames=250)
    place = [data.index(kind) - 4 for kind in (b"moov", b"trak", b"edts", b"elst")]
    elst = place[-1]
    end = elst + int.from_bytes(data[elst : elst + 4], "big")
    shown = data[elst + 16 : elst + 20] + bytes(4) + b"\0\1\0\0"  # its length, from the beginning, at its own speed
    new = (16 + 12 * edits).to_bytes(4, "big") + b"elst" + bytes(4) + edits.to_bytes(4, "big") + shown * edits
    longer = bytearray(data[:elst] + new + data[end:])
    for outer in place[:-1]:
        length = int.from_bytes(longer[outer : outer + 4], "big") + len(new) - (end - elst)
        longer[outer : outer + 4] = length.to_bytes(4, "big")
    return bytes(longer)


def hostile_videos(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Every playlist once, then videos in every container, mutated or with a wrong count.

    Yields:
        what it is, and its bytes.
    """
    for index, playlist in enumerate(PLAYLISTS):
        yield f"playlist {index}", playlist
    yield "edits", many_edits(200_000)
    choice = random.Random(seed)
    originals = {f"{container} of {codec}": video(container, codec) for container, codec in CONTAINERS}
    for index in range(count - len(PLAYLISTS) - 1):
        kind = choice.choice(list(originals))
        data = originals[kind]
        if kind.startswith("mp4") and index % 2:
            yield f"miscounted {kind} {index}", miscounted(data, choice)
            continue
        for _ in range(choice.randrange(1, 3)):
            data = mutated(data, choice) or data
        yield f"mutated {kind} {index}", data
