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
from protoleak.files import NO_ROOM, refused
from protoleak.video.frames import Sound
from protoleak.video.outputs.sound import CopiedSound
from protoleak.video.sources.containers import need_av

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
# The file can be played up to its newest fragment if the program dies, and is an ordinary one once it is closed. Its
# index comes first, so that it can be opened before there is a fragment; fragments are short, and so is what dies.
FLAGS, EARLY_INDEX = "+hybrid_fragmented+frag_keyframe", "+empty_moov"
LATE_INDEX = "+delay_moov"  # for sound that only its first packets describe: the index comes with the first fragment
CONTAINER = {"frag_duration": "500000", "max_interleave_delta": "500000", "flush_packets": "1"}  # microseconds
USUAL_PACE = Fraction(25)  # images per second, where the source doesn't say
BITS_PER_PIXEL = 0.25  # for the encoder that has no constant quality


def staged(path: Path) -> Path:
    """Where a video is written until it can be played; what is left there is of a program that was killed."""
    return path.with_name(f".partial.{path.name}")


class VideoWriter:
    """One video track, and the sound of a file.

    Args:
        path: made new, as soon as it can be played: until then it is `staged`.
        size: height and width of the images; odd ones get one more row or column, as 4:2:0 colour needs even ones.
        rate: average frames per second, for the encoder's own purposes.
        live: use the clock that allows long gaps.
        note: called with one line on what differs from what was asked for.
        sound: to copy; None for none.

    Raises:
        MissingExtra: PyAV isn't installed.
        ProtoleakError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        rate: Fraction | None,
        live: bool,
        note: Callable[[str], None],
        sound: Sound | None = None,
    ) -> None:
        need_av()
        import av

        self._path, self._note = path, note
        self._staged: Path | None = staged(path)
        self._head_size = 0
        self._tick = Fraction(1, COARSE if live or (rate is not None and rate < 1) else FINE)
        self._padding = (size[0] % 2, size[1] % 2)
        self._times: deque[int] = deque()  # ticks of images that the encoder still holds
        self._last = -1
        self._taken_out = 0  # ticks by which gaps had to be shortened
        self._count = 0
        self._held_back: Packet[VideoStream] | None = None
        self._sound: CopiedSound | None = None
        self._name = _encoder(note)
        self._pace = _pace(rate)
        self._size = size
        self._high_definition = size[0] >= 720
        try:
            self._begin(sound)
        except (OSError, av.FFmpegError) as error:
            if sound is None or error.errno in NO_ROOM:
                raise refused(path, OSError(error.errno, error.strerror)) from error
            note(f"{path.name}: without sound: MP4 doesn't take the source's: {error.strerror}")
            self.abandon()
            with self._errors():
                self._begin(None)

    def _begin(self, sound: Sound | None) -> None:
        """Writes the head of the file; what went wrong with sound can be tried again without."""
        import av

        self._file: OutputContainer = av.open(str(self._staged), "w", format="mp4")
        stream = self._file.add_stream(self._name, rate=self._pace, options=ENCODERS[self._name])
        self._stream = cast("VideoStream", stream)
        self._stream.height, self._stream.width = (length + length % 2 for length in self._size)
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._tick
        self._stream.codec_context.time_base = 1 / self._pace
        if self._name == "mpeg4":
            self._stream.bit_rate = round(BITS_PER_PIXEL * self._size[0] * self._size[1] * float(self._pace))
        self._stream.codec_context.colorspace = 1 if self._high_definition else 6  # BT.709, or BT.601
        self._stream.codec_context.color_range = 1  # limited
        self._sound = CopiedSound(sound, self._file, self._path.name, self._note) if sound is not None else None
        index = EARLY_INDEX if self._sound is None or self._sound.described else LATE_INDEX
        self._file.container_options.update(CONTAINER, movflags=FLAGS + index)
        self._file.start_encoding()  # else the file would be opened only when the encoder gives its first packet
        if self._staged is not None and index == LATE_INDEX:
            self._head_size = self._staged.stat().st_size
        self._appear()

    def _appear(self) -> None:
        """Gives the file its name once its index is in it. What is written goes on into the same file."""
        if self._staged is not None and self._staged.stat().st_size > self._head_size:
            self._staged.replace(self._path)
            self._staged = None

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

    def close(self, last_shown: float, *, whole: bool = False) -> None:
        """Completes the file.

        Args:
            last_shown: seconds for which the last image is seen.
            whole: that was the source's last image: sound that comes after it is copied too.

        Raises:
            ProtoleakError: the disk refused.
        """
        with self._errors():
            self._write(self._stream.encode(None))
            if self._held_back is not None:
                self._held_back.duration = max(1, min(round(last_shown / self._tick), LONGEST_STEP))
                end = (self._held_back.pts or 0) * float(self._tick) + last_shown
                self._file.mux(self._held_back)
                self._held_back = None
                self._copy_sound(None if whole else end)
            self._file.close()
            self._appear()
            self._close_sound()

    def abandon(self) -> None:
        """Closes the file after an error that has been reported already."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._close_sound()

    def _copy_sound(self, before: float | None) -> None:
        from av import FFmpegError

        if self._sound is None:
            return
        try:
            for packet in self._sound.before(before):
                self._file.mux(packet)
        except (OSError, FFmpegError) as error:
            if error.errno in NO_ROOM:
                raise
            self._close_sound()  # the images go on
            self._note(f"{self._path.name}: MP4 doesn't take the source's sound any further: {error.strerror}")

    def _close_sound(self) -> None:
        if self._sound is not None:
            self._sound.close()

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
                self._copy_sound((self._held_back.pts or 0) * float(self._tick))
                self._held_back.duration = packet.pts - (self._held_back.pts or 0)
                self._file.mux(self._held_back)
                self._appear()
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
