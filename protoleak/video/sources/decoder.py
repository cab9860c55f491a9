"""Packets in, frames and gaps out: what is damaged, or rests on something damaged, is left out and counted."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from protoleak.video.frames import Frame, Gap
from protoleak.video.sources.rgb import RgbConverter
from protoleak.video.sources.timestamps import TimestampMapper

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.video.stream import VideoStream

USUAL_RATE = Fraction(25)  # FFmpeg's own guess for streams that don't say
REORDERED = 16  # a frame can be shown this many frames after its turn to be decoded (H.264, H.265: largest buffer)
WITHOUT_KEY = (
    10.0  # seconds of damage after which frames count again although no key frame came: intra refresh has none
)
HOLE = 0.25  # seconds without a frame in a file, beyond the last frame's own duration, that are reported


@dataclass(frozen=True)
class _Decoded:
    """What one packet became: a frame, or nothing. `turn` is its place in the order of decoding, if known."""

    frame: VideoFrame | None
    stamp: Fraction | None
    turn: int | None
    corrupt: bool


@dataclass
class _Damage:
    """Frames decoded from `turn` on can't be trusted until the next key frame."""

    turn: int
    began: float | None = None
    frames: int = 0
    clean_since: float | None = None


class Decoder:
    """Decodes one stream over one connection.

    Frames come out of a decoder in the order in which they are shown, and a frame may rest on one that is shown after
    it. So a frame is held back until all that were decoded before it are out: only then is it known to be sound.

    Args:
        timestamps, converter: the source's; they outlive a connection.
        index: of the first frame.
        holes: whether stretches without frames are to be reported, as in files.
        stamped: whether the stream's timestamps mean anything.
    """

    def __init__(
        self,
        stream: VideoStream,
        timestamps: TimestampMapper,
        converter: RgbConverter,
        index: int = 0,
        holes: bool = False,
        stamped: bool = True,
    ) -> None:
        from av import FFmpegError

        self._error = FFmpegError
        self._stream = stream
        self._stamped = stamped
        self._timestamps = timestamps
        self._converter = converter
        self.index = index
        self.packets = 0
        self.rate = stream.average_rate or stream.guessed_rate or None
        self._period = 1 / (self.rate or USUAL_RATE)
        self._tick = stream.time_base or Fraction(1, 1000)
        self._holes = holes
        self._ends: float | None = None
        self._undecoded: OrderedDict[int, tuple[int, bool]] = OrderedDict()  # dts → turn, whether the packet is damaged
        self._held: list[_Decoded] = []
        self._damage: _Damage | None = None

    def decode(self, packet: Packet[VideoStream]) -> Iterator[Frame | Gap]:
        """What this packet completes. The last packet, which is empty, gives all that is left."""
        captured = time.monotonic()
        last = packet.size == 0 and packet.dts is None and packet.pts is None
        turn = self.packets
        self.packets += not last
        if packet.dts is not None:
            self._undecoded[packet.dts] = (turn, packet.is_corrupt)
        try:
            for frame in packet.decode():
                self._hold(frame)
        except self._error:
            if packet.dts is not None:
                self._undecoded.pop(packet.dts, None)
            stamp = None if packet.pts is None else packet.pts * packet.time_base
            self._take(_Decoded(None, stamp, turn, True))
        # A packet can give no image at all, such as a reference that is never shown.
        while self._undecoded and next(iter(self._undecoded.values()))[0] < turn - REORDERED:
            self._undecoded.popitem(last=False)
        yield from self._release(captured, everything=last)

    def drain(self) -> Iterator[Frame | Gap]:
        """What is left after the connection broke."""
        with contextlib.suppress(self._error):  # a decoder that has nothing more to give
            for frame in self._stream.codec_context.decode(None):
                self._hold(frame)
        yield from self._release(time.monotonic(), everything=True)

    def finish(self) -> Gap | None:
        """The gap in which the stream ended, if it did."""
        if self._damage is None or self._damage.began is None:
            return None
        return Gap(self._damage.began, None, self._reason(self._damage))

    def _hold(self, frame: VideoFrame) -> None:
        turn, corrupt = self._undecoded.pop(frame.dts, (None, False)) if frame.dts is not None else (None, False)
        ticks = frame.pts if frame.pts is not None else frame.dts
        stamp = None
        if self._stamped and ticks is not None and frame.time_base is not None:
            stamp = ticks * frame.time_base
        self._take(_Decoded(frame, stamp, turn, corrupt or frame.is_corrupt))

    def _take(self, decoded: _Decoded) -> None:
        self._held.append(decoded)
        if decoded.corrupt:
            turn = self.packets if decoded.turn is None else decoded.turn
            if self._damage is None:
                self._damage = _Damage(turn)
            self._damage.turn = min(self._damage.turn, turn)

    def _release(self, captured: float, everything: bool) -> Iterator[Frame | Gap]:
        while self._held:
            turn = self._held[0].turn
            if not everything and turn is not None and any(other < turn for other, _ in self._undecoded.values()):
                return
            yield from self._judge(self._held.pop(0), captured)

    def _judge(self, decoded: _Decoded, captured: float) -> Iterator[Frame | Gap]:
        index = self.index
        self.index += 1
        frame = decoded.frame
        if frame is None:
            timestamp = self._timestamps.near(decoded.stamp, captured)
        else:
            timestamp = self._timestamps.place(decoded.stamp, captured, self._period, self._tick)
        if decoded.corrupt and self._damage is None:
            self._damage = _Damage(self.packets)
        damage = self._damage
        earlier = damage is not None and decoded.turn is not None and decoded.turn < damage.turn
        if damage is not None and not earlier:
            if not self._ends_damage(decoded, damage, timestamp):
                damage.began = timestamp if damage.began is None else damage.began
                damage.frames += 1
                return
            if damage.began is not None:
                yield Gap(damage.began, timestamp - damage.began, self._reason(damage))
            self._damage = None
        elif self._ends is not None and timestamp - self._ends > HOLE:
            yield Gap(self._ends, timestamp - self._ends, "no frame in this stretch of the file")
        assert frame is not None  # without one it is corrupt
        image = self._converter.image(frame)
        if self._holes and frame.duration and frame.time_base:
            self._ends = timestamp + float(frame.duration * frame.time_base)
        yield Frame(index, timestamp, image, captured, bool(frame.key_frame))

    @staticmethod
    def _ends_damage(decoded: _Decoded, damage: _Damage, timestamp: float) -> bool:
        if decoded.frame is None or decoded.corrupt:
            damage.clean_since = None
            return False
        if damage.clean_since is None:
            damage.clean_since = timestamp
        return bool(decoded.frame.key_frame) or timestamp - damage.clean_since > WITHOUT_KEY

    @staticmethod
    def _reason(damage: _Damage) -> str:
        count = "1 frame" if damage.frames == 1 else f"{damage.frames} frames"
        return f"{count} left out: damaged, or resting on a damaged one"
