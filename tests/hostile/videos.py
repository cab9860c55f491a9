"""Hostile videos and playlists, made by script from a seed."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

import av
import numpy as np

from tests.hostile.images import mutated

CONTAINERS = (("mp4", "mpeg4"), ("matroska", "mpeg4"), ("avi", "mjpeg"), ("mpegts", "mpeg2video"), ("mov", "mpeg4"))
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


def hostile_videos(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Every playlist once, then mutated videos in every container.

    Yields:
        what it is, and its bytes.
    """
    for index, playlist in enumerate(PLAYLISTS):
        yield f"playlist {index}", playlist
    choice = random.Random(seed)
    originals = {kind: video(kind, codec) for kind, codec in CONTAINERS}
    for index in range(count - len(PLAYLISTS)):
        kind = choice.choice(list(originals))
        data = originals[kind]
        for _ in range(choice.randrange(1, 3)):
            data = mutated(data, choice) or data
        yield f"mutated {kind} {index}", data
