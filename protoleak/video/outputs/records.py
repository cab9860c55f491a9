"""verdicts.jsonl and tracks.json: everything that was decided, for programs to read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from protoleak.arrays import UInt8Array
from protoleak.files import LinesFile, refused, write_whole
from protoleak.runtime.drift import DriftEvent
from protoleak.video.events import Event, FaceEvent, FailureEvent, GapEvent, TrackEvent
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.outputs.in_turn import InTurn
from protoleak.video.outputs.run_record import RunRecord
from protoleak.video.sink import TrackedFace
from protoleak.video.statistics import Statistics

VERDICTS, TRACKS = "verdicts.jsonl", "tracks.json"
SCHEMA_VERSION = 1
COPIED_AT_ONCE = 2**20  # bytes


class SourceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`SourceInfo` as JSON. Of a source that could not be opened there is only the name.

    Attributes:
        rate: frames per second as a fraction in lowest terms, such as "30000/1001".
    """

    name: str
    kind: str | None = None
    live: bool | None = None
    width: int | None = None
    height: int | None = None
    rate: str | None = None
    duration: float | None = None
    sha256: str | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, info: SourceInfo) -> SourceFacts:
        return cls(
            name=info.name,
            kind=info.kind,
            live=info.live,
            width=info.width,
            height=info.height,
            rate=None if info.rate is None else str(info.rate),
            duration=info.duration,
            sha256=info.sha256,
            notes=info.notes,
        )


class SourceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One source in tracks.json.

    Attributes:
        tracks: in the order in which they ended.
        statistics: None where screening never began.
        drift: at most one: that the images are not like those of the calibration.
        ended: false in a file that was left while the source was being screened: `tracks` then holds the open ones as
            they stood.
    """

    source: SourceFacts
    tracks: list[TrackEvent]
    gaps: list[GapEvent]
    failures: list[FailureEvent]
    statistics: Statistics | None
    ended: bool = True
    drift: list[DriftEvent] = []


class TracksFile(msgspec.Struct, frozen=True, kw_only=True):
    """tracks.json: `msgspec.json.decode(path.read_bytes(), type=TracksFile)` reads it."""

    schema_version: int
    run: RunRecord
    sources: list[SourceRecord]


class RecordFiles(InTurn):
    """What writes verdicts.jsonl and tracks.json. One per run: all sources go into the same two files.

    It is a sink for one source after another; `sink` gives one for each of several at once. All calls come from one
    thread. verdicts.jsonl grows by whole lines as faces are attributed. tracks.json is replaced as a whole whenever a
    source has ended, and at every checkpoint of one; what is to go into it is kept in temporary files, so that memory
    doesn't grow with a stream.

    Args:
        folder: exists, and holds neither file.

    Raises:
        ProtoleakError: a file cannot be written; what was written before stays valid.
    """

    def __init__(self, folder: Path, run: RunRecord) -> None:
        self._folder = folder
        self._lines = LinesFile(folder / VERDICTS)
        self._tracks = folder / TRACKS
        self._head = b'{"schema_version":%d,"run":%s,"sources":[\n' % (SCHEMA_VERSION, msgspec.json.encode(run))
        self._ended_bytes = 0  # of the records of sources that have ended, which follow the head
        self._open: list[SourceRecords] = []
        write_whole(self._tracks, [self._head, b"]}\n"])

    def sink(self) -> SourceRecords:
        """The sink for one more source."""
        return SourceRecords(self, self._folder, self._lines)

    def source_failed(self, failure: FailureEvent) -> None:
        """A source that could not even be opened: there is no `start` and no `finish` for it."""
        records = self.sink()
        records.event(failure, None)
        records.facts = SourceFacts(name=failure.source)
        self.end(records)

    def close(self) -> None:
        """May be called more than once."""
        for records in self._open:
            records.close()
        self._lines.close()

    def begin(self, records: SourceRecords) -> None:
        """From a source that starts: it stands in tracks.json from its first checkpoint on."""
        self._open.append(records)

    def write(self) -> None:
        """Writes tracks.json as things stand now."""
        write_whole(self._tracks, self._all(None))

    def end(self, records: SourceRecords) -> None:
        """From a source that has ended: writes tracks.json, and lets go of the source."""
        self._open = [other for other in self._open if other is not records]
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for part in self._separated(records.parts(), self._ended_bytes > 0):
                size += len(part)
                yield part

        try:
            write_whole(self._tracks, self._all(counted()))
            self._ended_bytes += size
        finally:
            records.close()

    def _all(self, ended: Iterator[bytes] | None) -> Iterator[bytes]:
        """The whole new tracks.json: what the old one holds of ended sources, one more of them, and the open ones."""
        yield self._head
        left = self._ended_bytes
        with self._tracks.open("rb") as old:
            old.seek(len(self._head))
            while left:
                part = old.read(min(COPIED_AT_ONCE, left))
                left -= len(part)
                yield part
        if ended is not None:
            yield from ended
        before = self._ended_bytes > 0 or ended is not None
        for records in self._open:
            yield from self._separated(records.parts(), before)
            before = True
        yield b"]}\n"

    def _separated(self, parts: Iterator[bytes], before: bool) -> Iterator[bytes]:
        yield b",\n" if before else b""
        yield from parts


class SourceRecords:
    """The sink that records one source. Made by `RecordFiles.sink`.

    Attributes:
        facts: None before the start.
    """

    def __init__(self, files: RecordFiles, folder: Path, lines: LinesFile) -> None:
        self._files, self._folder, self._lines = files, folder, lines
        self.facts: SourceFacts | None = None
        self._statistics: Statistics | None = None
        self._open_tracks: Sequence[TrackEvent] = ()
        self._ended = True
        self._spools: dict[type[Event], _Spool] = {}

    def start(self, info: SourceInfo) -> None:
        self.facts, self._ended = SourceFacts.of(info), False
        self._files.begin(self)

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        """What is written of frames is in the events."""

    def event(self, event: Event, crop: UInt8Array | None) -> None:  # noqa: ARG002 part of Sink
        if isinstance(event, FaceEvent):
            self._lines.append(msgspec.json.encode(event))
            return
        if isinstance(event, TrackEvent):  # checkpoints of other sources write this one too
            self._open_tracks = [track for track in self._open_tracks if track.track != event.track]
        kind = type(event)
        if kind not in self._spools:
            self._spools[kind] = _Spool(self._folder)
        self._spools[kind].add(msgspec.json.encode(event))

    def checkpoint(self, statistics: Statistics, open_tracks: Sequence[TrackEvent]) -> None:
        self._statistics, self._open_tracks = statistics, open_tracks
        self._files.write()

    def finish(self, statistics: Statistics) -> None:
        self._statistics, self._open_tracks, self._ended = statistics, (), True
        self._files.end(self)

    def close(self) -> None:
        """Lets go of the temporary files."""
        for spool in self._spools.values():
            spool.close()
        self._spools = {}

    def parts(self) -> Iterator[bytes]:
        """The `SourceRecord` as JSON."""
        kinds: tuple[tuple[bytes, type[Event], Sequence[TrackEvent]], ...] = (
            (b"tracks", TrackEvent, self._open_tracks),
            (b"gaps", GapEvent, ()),
            (b"failures", FailureEvent, ()),
            (b"drift", DriftEvent, ()),
        )
        yield b'{"source":' + msgspec.json.encode(self.facts)
        for name, kind, more in kinds:
            spool = self._spools.get(kind)
            yield b',"' + name + b'":['
            if spool is not None:
                yield from spool.joined()
            yield (b",\n" if spool is not None and more else b"") + b",\n".join(map(msgspec.json.encode, more))
            yield b"]"
        ended = b',"ended":true' if self._ended else b',"ended":false'
        yield b',"statistics":' + msgspec.json.encode(self._statistics) + ended + b"}"


class _Spool:
    """JSON values kept on disk, in a file without a name, which goes with the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        try:
            self._file: BinaryIO = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 closed by `close`
        except OSError as error:
            raise refused(folder, error) from error

    def add(self, value: bytes) -> None:
        rest = memoryview((b",\n" if self._count else b"") + value)
        try:
            self._file.seek(0, os.SEEK_END)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise refused(self._folder, error) from error
        self._count += 1

    def joined(self) -> Iterator[bytes]:
        """All values with commas between, in parts."""
        self._file.seek(0)
        while part := self._file.read(COPIED_AT_ONCE):
            yield part

    def close(self) -> None:
        self._file.close()
