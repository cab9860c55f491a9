"""A part of a source: from one moment to another, on the source's own clock."""

from __future__ import annotations

from collections.abc import Iterator

from protoleak.errors import MediaError
from protoleak.video.frames import Frame, FrameSource, Gap, SourceInfo


class PartOfSource:
    """The frames and gaps of a source that lie in a part of it; their timestamps stay as they are. Frames before it are
    decoded and left out, because a frame rests on those before it.

    Args:
        source: closed with this.
        start, end: seconds since the source's first frame; None for its beginning or end.

    Raises:
        MediaError: the part holds no frame, because the source is shorter.
    """

    def __init__(self, source: FrameSource, start: float | None, end: float | None) -> None:
        self._source, self._start, self._end = source, start or 0.0, end
        duration = source.info.duration
        if duration is not None and self._start >= duration:
            source.close()
            raise MediaError(f"{source.info.name}: it lasts {duration:.3f} s, and --from is {self._start:g} s")

    @property
    def info(self) -> SourceInfo:
        """Of the whole source."""
        return self._source.info

    def __iter__(self) -> Iterator[Frame | Gap]:
        """See `FrameSource`."""
        for item in self._source:
            if self._end is not None and item.timestamp >= self._end:
                return
            ends = item.timestamp if isinstance(item, Frame) or item.seconds is None else item.timestamp + item.seconds
            if ends >= self._start:
                yield item

    def close(self) -> None:
        """See `FrameSource`."""
        self._source.close()
