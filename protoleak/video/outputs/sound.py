"""The sound of a file, copied packet by packet beside the images that are written of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from protoleak.errors import MediaError
from protoleak.video.frames import Sound
from protoleak.video.sources.containers import open_container

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.bitstream import BitStreamFilterContext
    from av.container import InputContainer, OutputContainer

# What MP4 takes and players play. Others, such as PCM, would need to be encoded anew, which is no copy.
CODECS = frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac"})
WITHOUT_EARLY_INDEX = frozenset({"ac3", "eac3"})  # what MP4 says of them is in their packets


class CopiedSound:
    """The sound streams of a file that go into an MP4.

    Args:
        sound: where they are.
        output: gets a stream for each of them.
        name: of the output, for notes.
        note: called with one line on what is not copied.

    Attributes:
        described: whether all is known of the streams before their first packets.
    """

    def __init__(self, sound: Sound, output: OutputContainer, name: str, note: Callable[[str], None]) -> None:
        from av.bitstream import BitStreamFilterContext

        self._name, self._note = name, note
        self._start = sound.start
        self._pending: Packet[Any] | None = None
        self._source: InputContainer | None = None
        self._streams: dict[int, AudioStream] = {}
        self._filters: dict[int, BitStreamFilterContext] = {}
        self.described = True
        if sound.path is None:
            note(f"{name}: the source's sound is left out: only that of a file is copied, without --isolate")
            return
        from av import FFmpegError

        try:
            self._source = open_container("file:" + sound.path, name, protocols="file")
        except (MediaError, OSError, ValueError, FFmpegError) as error:
            note(f"{name}: without sound: the source cannot be opened once more: {error}")
            return
        for stream in self._source.streams.audio:
            codec = "unknown" if stream.codec_context is None else stream.codec_context.name
            codec = codec.removesuffix("float")  # FFmpeg's decoders of MP3 have names of their own
            if codec not in CODECS:
                note(f"{name}: the source's sound ({codec}) is left out, because MP4 doesn't take it")
                continue
            self._streams[stream.index] = output.add_stream_from_template(stream)
            if codec == "aac" and not stream.codec_context.extradata:  # as in broadcasts, where each packet has a head
                self._filters[stream.index] = BitStreamFilterContext("aac_adtstoasc", stream)
                self.described = False
            self.described = self.described and codec not in WITHOUT_EARLY_INDEX
        self._packets = self._read(self._source)

    def before(self, seconds: float | None) -> Iterator[Packet[Any]]:
        """The packets of the output that begin before so many seconds since the first image; None for all."""
        while self._streams:
            packet, self._pending = self._pending or next(self._packets, None), None
            if packet is None:
                return
            if seconds is not None and _begin(packet) >= seconds:
                self._pending = packet
                return
            yield packet

    def close(self) -> None:
        """May be called more than once."""
        if self._source is not None:
            self._source.close()
            self._streams = {}

    def _read(self, source: InputContainer) -> Iterator[Packet[Any]]:
        from av import FFmpegError

        shifts = {
            index: round(self._start / (stream.time_base or Fraction(1, 1000)))
            for index, stream in ((one.index, one) for one in source.streams.audio)
        }
        wanted = [stream for stream in source.streams.audio if stream.index in self._streams]
        last: dict[int, int] = {}
        with contextlib.closing(source):
            try:
                for packet in source.demux(wanted):
                    index = packet.stream_index
                    if packet.dts is None or packet.pts is None or packet.is_corrupt:
                        continue
                    packet.dts -= shifts[index]
                    packet.pts -= shifts[index]
                    if packet.pts < 0 or packet.dts <= last.get(index, -1):
                        continue  # before the first image, or a clock that goes back
                    last[index] = packet.dts
                    filtered = self._filters[index].filter(packet) if index in self._filters else [packet]
                    for one in filtered:
                        one.stream = self._streams[index]
                        yield one
            except FFmpegError as error:
                self._note(f"{self._name}: the source's sound ends early: {error.strerror}")


def _begin(packet: Packet[Any]) -> float:
    return float((packet.dts or 0) * packet.time_base)
