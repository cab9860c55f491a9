"""Whether what a server is given is like the calibration's: the evidence against it, for each source that is named.

With N workers each sees a part of a source's images and keeps evidence of its own; the event then takes N·100:1 in
one of them, so that all together still tell it by chance with a probability of at most 1 %.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import msgspec

from protoleak.image_records import Record
from protoleak.runtime.drift import EVIDENCE, DriftEvent, DriftMonitor
from protoleak.serving.judging import BundleJudge
from protoleak.serving.refusal import Refusal

MOST_SOURCES = 64  # that evidence is kept of; of more, that which was heard of longest ago is forgotten
LONGEST_NAME = 64  # characters
SEEN = 1024  # images of a source that are known again: one that is sent twice is no new evidence


class SourceDrift(msgspec.Struct, frozen=True):
    """What is known of a source.

    Attributes:
        source: as requests name it; None for those that name none.
        faces: that were compared: of each image the first face.
        evidence: to 1, that its images are not like the calibration's, now.
        largest_evidence: that there ever was.
        drift: the event, once there was one.
    """

    source: str | None
    faces: int
    evidence: float
    largest_evidence: float
    drift: DriftEvent | None


class _Watched:
    """One source.

    Args:
        monitor: of its images.
    """

    def __init__(self, monitor: DriftMonitor) -> None:
        self.monitor = monitor
        self._seen: OrderedDict[str, None] = OrderedDict()

    def is_new(self, sha256: str) -> bool:
        """Whether an image didn't come lately; it is remembered."""
        if sha256 in self._seen:
            self._seen.move_to_end(sha256)
            return False
        self._seen[sha256] = None
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)
        return True


class DriftWatch:
    """The evidence of all sources, for one bundle. For the event loop's thread.

    Args:
        judge: whose verdicts are taken.
        workers: processes that share the images of a source.

    Attributes:
        judge: as given.
    """

    def __init__(self, judge: BundleJudge, workers: int) -> None:
        self.judge = judge
        self._told_at = EVIDENCE * workers
        self._sources: OrderedDict[str | None, _Watched] = OrderedDict()

    def take(
        self, source: str | None, records: Sequence[Record], forget: Callable[[str], None]
    ) -> tuple[DriftMonitor, DriftEvent | None] | None:
        """Compares an image by its first face that holds enough to judge.

        Args:
            source: as the request names it; None where it names none.
            records: of the image.
            forget: called with the name of a source that makes room.

        Returns:
            What is known of the source, and the event when the evidence suffices for the first time; None for an image
            that is not compared.
        """
        verdicts = (record.verdict for record in records if record.sha256 is not None)
        verdict = next((one for one in verdicts if one is not None and one.lacking is None), None)
        if verdict is None:
            return None
        watched = self._sources.get(source)
        if watched is None:
            monitor = self.judge.screener.drift_monitor(source or "requests that name no source", self._told_at)
            watched = self._sources[source] = _Watched(monitor)
            named = [name for name in self._sources if name is not None]
            if len(named) > MOST_SOURCES:
                del self._sources[named[0]]
                forget(named[0])
        self._sources.move_to_end(source)
        if not watched.is_new(str(records[0].sha256)):
            return None
        return watched.monitor, watched.monitor.take(verdict)

    def all(self) -> Iterator[SourceDrift]:
        """Of every source, that which was heard of last at the end."""
        for name, watched in self._sources.items():
            one = watched.monitor
            yield SourceDrift(name, one.faces, one.evidence, one.largest_evidence, one.event)


def source_named(text: str) -> str:
    """The name of a source as a request gives it.

    Raises:
        Refusal: it is empty, too long, or holds what is no character to be read.
    """
    if not 0 < len(text) <= LONGEST_NAME or not text.isprintable():
        raise Refusal(
            400, "bad_query", f"source={text[:20]!a}: give 1 to {LONGEST_NAME} printable characters that name it"
        )
    return text
