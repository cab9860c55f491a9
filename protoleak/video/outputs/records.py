"""verdicts.jsonl and tracks.json: everything that was decided, for programs to read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from protoleak.arrays import UInt8Array
from protoleak.files import LinesFile, refused, write_whole
from protoleak.video.events import Event, FaceEvent, FailureEvent, GapEvent, TrackEvent
from protoleak.video.frames import Frame, SourceInfo
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
    """

    source: SourceFacts
    tracks: list[TrackEvent]
    gaps: list[GapEvent]
    failures: list[FailureEvent]
    statistics: Statistics | None


class TracksFile(msgspec.Struct, frozen=True, kw_only=True):
    """tracks.json: `msgspec.json.decode(path.read_bytes(), type=TracksFile)` reads it."""

    schema_version: int
    run: RunRecord
    sources: list[SourceRecord]


class RecordFiles:
    """The sink that writes verdicts.jsonl and tracks.json. One per run: all sources go into the same two files.

    verdicts.jsonl grows by whole lines as faces are attributed. tracks.json is replaced as a whole whenever a source
    has ended; until then what is to go into it is kept in temporary files, so that memory doesn't grow with a stream.

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
        self._written = 0  # bytes of source records that tracks.json holds after the head
        self._facts: SourceFacts | None = None
        self._spools: dict[type[Event], _Spool] = {}
        write_whole(self._tracks, [self._head, b"]}\n"])

    def start(self, info: SourceInfo) -> None:
        self._facts = SourceFacts.of(info)

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        """What is written of frames is in the events."""

    def event(self, event: Event, crop: UInt8Array | None) -> None:  # noqa: ARG002 part of Sink
        if isinstance(event, FaceEvent):
            self._lines.append(msgspec.json.encode(event))
            return
        self._spool(type(event)).add(msgspec.json.encode(event))

    def finish(self, statistics: Statistics) -> None:
        if self._facts is not None:
            self._end(self._facts, statistics)

    def source_failed(self, failure: FailureEvent) -> None:
        """A source that could not even be opened: there is no `start` and no `finish` for it."""
        self._spool(FailureEvent).add(msgspec.json.encode(failure))
        self._end(SourceFacts(name=failure.source), None)

    def close(self) -> None:
        """May be called more than once."""
        for spool in self._spools.values():
            spool.close()
        self._lines.close()

    def _end(self, facts: SourceFacts, statistics: Statistics | None) -> None:
        """Adds a source to tracks.json."""
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for part in self._record(facts, statistics):
                size += len(part)
                yield part

        try:
            write_whole(self._tracks, self._all(counted()))
            self._written += size
        finally:
            for spool in self._spools.values():
                spool.close()
            self._spools, self._facts = {}, None

    def _spool(self, kind: type[Event]) -> _Spool:
        if kind not in self._spools:
            self._spools[kind] = _Spool(self._folder)
        return self._spools[kind]

    def _all(self, record: Iterator[bytes]) -> Iterator[bytes]:
        """The whole new tracks.json: what the old one holds, and one more source."""
        yield self._head
        left = self._written
        with self._tracks.open("rb") as old:
            old.seek(len(self._head))
            while left:
                part = old.read(min(COPIED_AT_ONCE, left))
                left -= len(part)
                yield part
        yield from record
        yield b"]}\n"

    def _record(self, facts: SourceFacts, statistics: Statistics | None) -> Iterator[bytes]:
        yield b",\n" if self._written else b""
        yield b'{"source":' + msgspec.json.encode(facts)
        kinds: tuple[tuple[bytes, type[Event]], ...] = (
            (b"tracks", TrackEvent),
            (b"gaps", GapEvent),
            (b"failures", FailureEvent),
        )
        for name, kind in kinds:
            yield b',"' + name + b'":['
            if kind in self._spools:
                yield from self._spools[kind].joined()
            yield b"]"
        yield b',"statistics":' + msgspec.json.encode(statistics) + b"}"


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
