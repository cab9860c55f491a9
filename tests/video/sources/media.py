"""Small videos for the tests, written by PyAV: every frame is known by its pixels."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError
from protoleak.video.frames import Frame, Gap
from protoleak.video.sources.open import open_source

av = pytest.importorskip("av", reason="PyAV reads and writes the videos: pip install 'protoleak[video]'")

MILLISECOND = Fraction(1, 1000)


def make_image(number: int, width: int = 96, height: int = 64) -> UInt8Array:
    """uint8 [H, W, 3]: the upper half has a grey level that tells the frame's number, the lower has noise."""
    image = np.full((height, width, 3), level(number), np.uint8)
    image[height // 2 :] = np.random.default_rng(number).integers(0, 256, (height - height // 2, width, 3))
    return image


def level(number: int) -> int:
    return 20 + 3 * (number % 70)


def number_of(frame: Frame) -> int:
    """The number that the frame was made from, read from its pixels (modulo 70)."""
    return round((float(frame.image[2:20, 2:-2].mean()) - 20) / 3)


def write(
    path: Path,
    times: Iterable[int] = range(0, 2400, 40),
    codec: str = "libx264",
    width: int = 96,
    height: int = 64,
    key_every: int = 20,
    b_frames: int = 0,
    rotate: int = 0,
    **muxer: str,
) -> Path:
    """Writes a video whose frames have these times, in milliseconds; an MP4 can be marked as turned clockwise."""
    with av.open(str(path), "w", options=muxer) as container:
        # Noise looks like a new scene at every frame: no key frames but those asked for.
        options = {"bf": str(b_frames), "x264-params": "scenecut=0"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
        stream.gop_size = key_every
        if codec != "libx264":
            stream.bit_rate = 4_000_000
        stream.codec_context.time_base = MILLISECOND
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(make_image(number, width, height), "rgb24")
            frame.pts, frame.time_base = time, MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if rotate:
        _rotate_mp4(path, rotate)
    return path


def _rotate_mp4(path: Path, degrees: int) -> None:
    """Writes the display matrix of a clockwise turn into the track's header (ISO 14496-12, 8.3.2)."""
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    one = 65536
    upright, turned = (
        struct.pack(">9i", *(one * value for value in (w, x, 0, y, z, 0, 0, 0)), 2**30)
        for w, x, y, z in ((1, 0, 0, 1), (a, b, c, d))
    )
    data = path.read_bytes()
    header = data.index(b"tkhd")
    place = data.index(upright, header)
    assert place < header + 92
    path.write_bytes(data[:place] + turned + data[place + len(turned) :])


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def scramble(path: Path, share: float, count: int = 4000) -> Path:
    """Writes noise over the bytes from this share of the file on.

    Over more than one frame: noise within a frame can decode to an image, which no decoder notices.
    """
    data = bytearray(path.read_bytes())
    start = int(len(data) * share)
    data[start : start + count] = random.Random(1).randbytes(count)
    path.write_bytes(data)
    return path


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def read(path: Path | str) -> tuple[list[Frame], list[Gap], tuple[str, ...]]:
    """All frames, all gaps, and the notes at the end."""
    source = open_source(str(path))
    try:
        items = list(source)
    finally:
        source.close()
    frames = [item for item in items if isinstance(item, Frame)]
    return frames, [item for item in items if isinstance(item, Gap)], source.info.notes


def fails(name: Path | str, *words: str) -> str:
    """Opening and reading it ends in one line that holds these words."""
    with pytest.raises(MediaError) as caught:
        read(name)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message
