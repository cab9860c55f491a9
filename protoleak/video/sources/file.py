"""A video file: every frame in it, with its own timestamp, and what could not be read said where it lay."""

from __future__ import annotations

import hashlib
import stat
import threading
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

from protoleak.errors import MediaError
from protoleak.files import open_regular
from protoleak.images.formats.heif import HEAD, is_still
from protoleak.images.sources import printable
from protoleak.video.frames import Frame, Gap, Sound, SourceInfo
from protoleak.video.sources.containers import MISSING_END, STILL, need_av, open_container, video_stream, why_unreadable
from protoleak.video.sources.decoder import Decoder
from protoleak.video.sources.edit_lists import check_edits
from protoleak.video.sources.rgb import RgbConverter
from protoleak.video.sources.timestamps import TimestampMapper

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.video.stream import VideoStream

CHUNK = 2**20


class FileSource:
    """A regular file. Opening it reads it once for its hash, and decodes its first frame.

    Raises:
        MediaError: it isn't there, is empty, holds no video, is a playlist, or no frame of it can be decoded.
        MissingExtra: PyAV is not installed.
    """

    def __init__(self, path: str) -> None:
        self._shown = printable(path)
        self._lock = threading.Lock()
        self._closed = False
        self._pending: deque[Frame | Gap] = deque()
        self._sha256 = _checked_and_hashed(path, self._shown)
        self._container = _opened(path, self._shown)
        try:
            self._stream = video_stream(self._container, self._shown)
            self._timestamps, self._converter = TimestampMapper(), RgbConverter(self._shown)
            self._decoder = Decoder(self._stream, self._timestamps, self._converter, holes=True)
            self._reading = self._read(self._container, self._stream)
            first = self._first_frame()
        except BaseException:
            self._container.close()
            raise
        duration = _duration(self._container, self._stream)
        height, width = first.shape
        self.info = SourceInfo(
            name=self._shown,
            kind="file",
            live=False,
            width=width,
            height=height,
            rate=self._decoder.rate,
            duration=duration,
            sha256=self._sha256,
            sound=_sound(path, self._container, self._timestamps.start),
        )
        self._keep_notes()

    def __iter__(self) -> Iterator[Frame | Gap]:
        """Goes on where the last iteration stopped. `info.notes` grows while frames are read.

        Raises:
            MediaError: the disk or the network drive gave up.
        """
        while True:
            with self._lock:
                if self._closed:
                    return
                item = self._pending.popleft() if self._pending else next(self._reading, None)
                self._keep_notes()
            if item is None:
                return
            yield item

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._pending.clear()
                self._reading.close()
                self._container.close()

    def _first_frame(self) -> Frame:
        for item in self._reading:
            self._pending.append(item)
            if isinstance(item, Frame):
                return item
        raise MediaError(f"{self._shown}: none of its frames can be decoded: copy it again, or convert it to H.264")

    def _read(self, container: InputContainer, stream: VideoStream) -> Generator[Frame | Gap, None, None]:
        from av import FFmpegError

        seen = 0.0  # seconds up to which any stream reaches, on the container's clock
        try:
            for packet in container.demux():
                if packet.pts is not None and packet.time_base:
                    seen = max(seen, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream_index == stream.index:
                    yield from self._decoder.decode(cast("Packet[VideoStream]", packet))
        except FFmpegError as error:
            where = f"after {self._timestamps.last or 0:.3f} s"
            raise MediaError(
                f"{self._shown}: cannot be read further {where}: {error.strerror}: copy it again"
            ) from None
        damage = self._decoder.finish()
        gaps = [*([damage] if damage else []), *self._missing_end(container, stream, seen)]
        if gaps:
            yield Gap(gaps[0].timestamp, None, "; ".join(gap.reason for gap in gaps))

    def _missing_end(self, container: InputContainer, stream: VideoStream, seen: float) -> Iterator[Gap]:
        """A gap where the file holds less than its header says, in frames or in seconds."""
        last = self._timestamps.last or 0.0
        period = 1 / float(self._decoder.rate or 25)
        entries = stream.index_entries
        size = container.size
        beyond = sum(1 for n in range(len(entries)) if entries[n].pos + entries[n].size > size) if stream.frames else 0
        if beyond:
            yield Gap(last + period, None, f"the file ends early: {beyond} of its {stream.frames} frames are not in it")
            return
        start = (container.start_time or 0) / 1e6
        said = (container.duration or 0) / 1e6
        if container.format.name != "mpegts" and said - (seen - start) > MISSING_END:
            yield Gap(
                last + period,
                None,
                f"the file ends early: its header says {said:.3f} s, {seen - start:.3f} s are in it",
            )

    def _keep_notes(self) -> None:
        notes = (*self._converter.notes, *self._timestamps.notes)
        if hasattr(self, "info") and notes != self.info.notes:
            self.info = replace(self.info, notes=notes)


def _checked_and_hashed(path: str, shown: str) -> str:
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise MediaError(f"{shown}: a directory, not a video")
        if not stat.S_ISREG(status.st_mode):
            raise MediaError(f"{shown}: not a regular file")
        if status.st_size == 0:
            raise MediaError(f"{shown}: empty, 0 bytes")
        digest = hashlib.sha256()
        with open_regular(path) as file:
            if is_still(file.read(HEAD) or b""):
                raise MediaError(f"{shown}: {STILL}")
            try:
                check_edits(file, status.st_size)
            except MediaError as error:
                raise MediaError(f"{shown}: {error}") from None
            file.seek(0)
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()
    except FileNotFoundError:
        raise MediaError(f"{shown}: no such file") from None
    except OSError as error:
        raise MediaError(f"{shown}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:  # a NUL byte in the name
        raise MediaError(f"{shown}: not a file name: {error}") from error


def _opened(path: str, shown: str) -> InputContainer:
    need_av()
    from av import FFmpegError

    try:
        return open_container("file:" + path, shown, protocols="file")
    except OSError as error:  # gone since it was hashed, or no right to it
        raise MediaError(f"{shown}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    # Invalid data, what is not on the list, and tables that would take more memory than there is.
    except (ValueError, FFmpegError):
        raise MediaError(f"{shown}: {why_unreadable(Path(path))}") from None


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _sound(path: str, container: InputContainer, start: Fraction | None) -> Sound | None:
    return Sound(path, start) if container.streams.audio and start is not None else None
