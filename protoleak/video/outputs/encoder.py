"""Images with timestamps → an MP4 file in which every one of them is shown at just that time."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.errors import MissingExtra
from protoleak.files import refused

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

# A common multiple of the clocks that containers use: 1/1000, 1/12800, 1/15360, 1/24000, 1/30000, 1/48000, 1/60000 and
# 1/90000 s, so that a timestamp of any of them is a whole number of ticks; of any other it is off by 0.1 µs at most.
FINE = 5_760_000  # ticks per second
COARSE = 90_000  # for live sources: a lost connection may last for hours
LONGEST_STEP = 2**31 - 2**20  # ticks between two images that MP4 takes; nearer to 2³¹ it loses them
ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "crf": "20", "bf": "0", "g": "60"},  # without B-frames packets come in order
    "mpeg4": {"qmin": "2", "qmax": "6", "bf": "0", "g": "60"},
}
# The file can be played up to its newest fragment if the program dies, and is an ordinary one once it is closed.
CONTAINER = {"movflags": "+hybrid_fragmented+frag_keyframe", "flush_packets": "1"}
USUAL_PACE = Fraction(25)  # images per second, where the source doesn't say
BITS_PER_PIXEL = 0.25  # for the encoder that has no constant quality


def need_av() -> None:
    """Raises MissingExtra where PyAV isn't installed."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise MissingExtra("PyAV", "video") from error


class VideoWriter:
    """One video track without sound.

    Args:
        path: made new.
        size: height and width of the images; odd ones get one more row or column, as 4:2:0 colour needs even ones.
        rate: average frames per second, for the encoder's own purposes.
        live: use the clock that allows long gaps.
        note: called with one line on what differs from what was asked for.

    Raises:
        MissingExtra: PyAV isn't installed.
        ProtoleakError: the file cannot be written.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], rate: Fraction | None, live: bool, note: Callable[[str], None]
    ) -> None:
        need_av()
        import av

        self._path, self._note = path, note
        self._tick = Fraction(1, COARSE if live or (rate is not None and rate < 1) else FINE)
        self._padding = (size[0] % 2, size[1] % 2)
        self._times: deque[int] = deque()  # ticks of images that the encoder still holds
        self._last = -1
        self._taken_out = 0  # ticks by which gaps had to be shortened
        self._count = 0
        self._held_back: Packet[VideoStream] | None = None
        try:
            self._file: OutputContainer = av.open(str(path), "w", format="mp4", options=CONTAINER)
        except OSError as error:
            raise refused(path, error) from error
        name = _encoder(note)
        self._pace = _pace(rate)
        stream = self._file.add_stream(name, rate=self._pace, options=ENCODERS[name])
        self._stream = cast("VideoStream", stream)
        self._stream.height, self._stream.width = (length + length % 2 for length in size)
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._tick
        self._stream.codec_context.time_base = 1 / self._pace
        if name == "mpeg4":
            self._stream.bit_rate = round(BITS_PER_PIXEL * size[0] * size[1] * float(self._pace))
        self._high_definition = size[0] >= 720
        self._stream.codec_context.colorspace = 1 if self._high_definition else 6  # BT.709, or BT.601
        self._stream.codec_context.color_range = 1  # limited
        with self._errors():
            self._file.start_encoding()  # else the file would be opened only when the encoder gives its first packet

    def add(self, image: UInt8Array, timestamp: float) -> None:
        """Adds an image.

        Args:
            image: uint8 [H, W, 3] RGB.
            timestamp: seconds, later than that of the image before.

        Raises:
            ProtoleakError: the disk refused.
        """
        import av

        padded = np.pad(image, ((0, self._padding[0]), (0, self._padding[1]), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(padded, "rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU709" if self._high_definition else "ITU601", dst_color_range="MPEG"
        )
        # The encoder is given numbers and not times: not every encoder knows clocks as fine as this one.
        frame.pts, frame.time_base = self._count, 1 / self._pace
        self._count += 1
        self._times.append(self._placed(timestamp))
        with self._errors():
            self._write(self._stream.encode(frame))

    def close(self, last_shown: float) -> None:
        """Completes the file.

        Args:
            last_shown: seconds for which the last image is seen.

        Raises:
            ProtoleakError: the disk refused.
        """
        with self._errors():
            self._write(self._stream.encode(None))
            if self._held_back is not None:
                self._held_back.duration = max(1, min(round(last_shown / self._tick), LONGEST_STEP))
                self._file.mux(self._held_back)
                self._held_back = None
            self._file.close()

    def abandon(self) -> None:
        """Closes the file after an error that has been reported already."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _placed(self, timestamp: float) -> int:
        """Ticks at which an image is shown."""
        ticks = round(timestamp / self._tick) - self._taken_out
        too_long = ticks - max(self._last, 0) - LONGEST_STEP
        if too_long > 0:
            self._taken_out += too_long
            ticks -= too_long
            self._note(
                f"{self._path.name}: the stretch without images before {timestamp:.1f} s is shown shorter by "
                f"{float(too_long * self._tick):.1f} s, the longest that MP4 takes"
            )
        self._last = max(ticks, self._last + 1)
        return self._last

    def _write(self, packets: list[Packet[VideoStream]]) -> None:
        """One packet is kept back: the length of the last is known only at the end."""
        for packet in packets:
            packet.pts = packet.dts = self._times.popleft()
            packet.time_base, packet.stream = self._tick, self._stream
            if self._held_back is not None:
                self._held_back.duration = packet.pts - (self._held_back.pts or 0)
                self._file.mux(self._held_back)
            self._held_back = packet

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise refused(self._path, error) from error


def _pace(rate: Fraction | None) -> Fraction:
    """Images per second as encoders take it; it bears on their rate control alone."""
    return min(max((rate or USUAL_PACE).limit_denominator(1001), Fraction(1, 1001)), Fraction(60))


def _encoder(note: Callable[[str], None]) -> str:
    """The first of ENCODERS that this build of FFmpeg has."""
    import av

    for name in ENCODERS:
        if name in av.codecs_available:
            if name != "libx264":
                note(f"this PyAV has no libx264, so the annotated video is encoded with {name}")
            return name
    raise RuntimeError("FFmpeg always has mpeg4")
