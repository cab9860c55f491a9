"""One bundle that a server judges with: from the bytes of an image to its records."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from PIL import Image

from protoleak.errors import EngineError, MediaError
from protoleak.faces.base import Face, FaceDetector
from protoleak.faces.still_images import FacesInImage, find_faces
from protoleak.image_records import Identity, Record, file_sha256, outcome_of, settings_by_face, settings_whole
from protoleak.images.decode import Decode, decode
from protoleak.images.isolated import IsolatedDecoder
from protoleak.runtime.engines import EngineOptions
from protoleak.runtime.engines.availability import CPU_ENGINES
from protoleak.runtime.prepared import FramedFace, Prepared
from protoleak.runtime.verdict import Verdict
from protoleak.screener import Screener
from protoleak.serving.settings import BundleOptions, RequestLimits

NAME = "image"  # what messages call an image that came without a name


class TooManyFaces(MediaError):
    """More faces are in an image than a request may ask verdicts on."""


@dataclass(frozen=True)
class PreparedImage:
    """An image on its way to the engines.

    Attributes:
        units: what goes through them: the image as a whole, or its faces that are to be judged.
        found: its faces; None where it is judged as a whole.
    """

    units: tuple[Prepared, ...]
    found: FacesInImage | None = None

    def records(self, outcomes: Sequence[Verdict | EngineError]) -> list[Record]:
        """What `protoleak screen --out` would write of it, unit by unit.

        Args:
            outcomes: of the units, in order.
        """
        if self.found is None:
            return [_record(outcome, None, None) for outcome in outcomes]
        places = list(self.found.framed)
        count = len(self.found.faces)
        return [
            _record(self.found.outcome(place, outcome), place + 1, count)
            for place, outcome in zip(places, outcomes, strict=True)
        ]


def _record(outcome: Verdict | MediaError | EngineError, face: int | None, faces: int | None) -> Record:
    if isinstance(outcome, Verdict):
        return Record("verdict", None, file_sha256(outcome), face, faces, verdict=outcome)
    return Record("error", None, outcome.sha256, face, faces, str(outcome))


def failed_record(error: MediaError | EngineError) -> Record:
    """Of an image that could not be prepared."""
    return Record(outcome_of(error), None, error.sha256, reason=str(error))


class Judging(Protocol):
    """What the batcher works with.

    Attributes:
        batch_maximum: units in one call of `judge`, at most.
        rounded: whether a batch has 1, 2, 4, 8 … units.
    """

    batch_maximum: int
    rounded: bool

    def identity(self, every_face: bool) -> Identity:
        """What all records have in common."""
        ...

    def prepare(self, data: bytes, every_face: bool) -> PreparedImage:
        """Decodes one image and frames what is judged of it. For several threads at once.

        Args:
            every_face: a verdict on each face is wanted; else on the largest, or on the whole where the bundle looks
                at no faces.

        Raises:
            MediaError: the image cannot be read, or there is no face in it, or too many.
        """
        ...

    def judge(self, units: Sequence[Prepared]) -> list[Verdict | EngineError]:
        """See `ImagePipeline.judge`."""
        ...


class BundleJudge:
    """A bundle with its engines and its face detector; a `Judging`. Opened with `options`, and closed when the last
    image that was prepared with it has been answered.

    Attributes:
        screener: that judges.
        example: a verdict, on a grey image.

    Raises:
        ProtoleakError: as `protoleak.load`; or there is no such face detector here.
    """

    def __init__(self, options: BundleOptions, limits: RequestLimits, notify: Callable[[str], None]) -> None:
        pixels = round(1e6 * limits.megapixels)
        decoding: Decode = lambda data, upright: decode(data, upright, pixels)  # noqa: E731
        if options.isolate:
            decoding = IsolatedDecoder(options.decoders, maximum_pixels=pixels)
        starting = _started(decoding, options.decoders)  # while the bundle is read
        try:
            self.screener = Screener(
                options.bundle,
                trusted_key=options.trusted_key,
                alpha=options.alpha,
                variant=options.variant,
                engine=options.engine,
                threads=options.threads,
                isolate=options.isolate,
                upright=options.upright,
                engine_options=EngineOptions(
                    compute=options.compute, device=options.device, batch_maximum=options.batch_maximum, notify=notify
                ),
            )
        except BaseException:
            if isinstance(decoding, IsolatedDecoder):
                decoding.close()
            raise
        finally:
            starting.shutdown(wait=False)
        self.screener.decode = decoding
        finder = options.finder or self.screener.looks_at
        self.by_face = finder != "none"
        self._faces = replace(options.faces, faces=finder if self.by_face else "auto")
        self._most_faces = limits.faces
        self._of_thread = threading.local()  # detectors are for one thread each
        self.batch_maximum = options.batch_maximum
        self.rounded = self.screener.engine.name.startswith("tensorrt")
        self.example: Verdict | None = None
        self._identities: dict[bool, Identity] = {}
        self._users, self._retired, self._lock = 0, False, threading.Lock()

    def identity(self, every_face: bool) -> Identity:
        """See `Judging.identity`."""
        by_face = self.by_face or every_face
        if by_face not in self._identities:
            upright = self.screener.upright
            settings = (
                settings_by_face(self._detector().description, upright, self._faces)
                if by_face
                else settings_whole(upright)
            )
            self._identities[by_face] = Identity(
                bundle=self.screener.bundle_record, alpha=self.screener.alpha, settings=settings
            )
        return self._identities[by_face]

    def prepare(self, data: bytes, every_face: bool) -> PreparedImage:
        """See `Judging.prepare`."""
        if not (self.by_face or every_face):
            return PreparedImage((self.screener.prepare(data, NAME),))
        found = find_faces(
            self.screener, self._detector(), data, self._faces, NAME, choose=self._all if every_face else _largest
        )
        return PreparedImage(tuple(self.screener.prepare(face, NAME) for face in found.framed.values()), found)

    def judge(self, units: Sequence[Prepared]) -> list[Verdict | EngineError]:
        """See `Judging.judge`."""
        return self.screener.judge(units)

    def probe(self) -> bool:
        """Whether the engines give finite numbers, for a grey image."""
        (outcome,) = self.screener.judge([self._grey()])
        return isinstance(outcome, Verdict)

    def warm_up(self) -> None:
        """Runs what is made once for each batch size, so that the first client waits no longer than others.

        Raises:
            EngineError: the engines give nothing finite.
        """
        unit = self._grey()
        sizes = {1, self.batch_maximum}
        if self.screener.engine.name in CPU_ENGINES:  # to which all batch sizes are the same, one image at a time
            sizes = {1}
        if self.rounded:
            sizes = {2**power for power in range(8)}
        for size in sorted(one for one in sizes if one <= self.batch_maximum):
            for outcome in self.screener.judge([unit] * size):
                if isinstance(outcome, EngineError):
                    raise outcome
                self.example = outcome
        self.identity(False)

    def _grey(self) -> Prepared:
        framing = self.screener.framing
        pixels = np.full((len(framing.looks), framing.image_size, framing.image_size, 3), 128, np.uint8)
        return self.screener.prepare(FramedFace(pixels), "probe")

    def acquire(self) -> bool:
        """Somebody uses it from now on, until `release`; False where it may be closed already."""
        with self._lock:
            open_still = self._users > 0 or not self._retired
            self._users += open_still
        return open_still

    def release(self) -> None:
        """Somebody doesn't any more."""
        with self._lock:
            self._users -= 1
            closing = self._retired and self._users == 0
        if closing:
            self.screener.close()

    def retire(self) -> None:
        """Closes it once nobody uses it."""
        with self._lock:
            self._retired = True
            closing = self._users == 0
        if closing:
            self.screener.close()

    def _detector(self) -> FaceDetector:
        kept: dict[str, FaceDetector] = self._of_thread.__dict__
        if "detector" not in kept:
            kept["detector"] = self.screener.detector(self._faces)
        return kept["detector"]

    def _all(self, faces: Sequence[Face]) -> Iterable[int]:
        if len(faces) > self._most_faces:
            raise TooManyFaces(f"{NAME}: {len(faces)} faces, more than the {self._most_faces} that are judged at once")
        return range(len(faces))


def _started(decoding: Decode, count: int) -> ThreadPoolExecutor:
    """Threads that each decode one small image, all at once, so that every worker process is started."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(buffer, "PNG")
    pool = ThreadPoolExecutor(count, thread_name_prefix="protoleak-starting")
    for _ in range(count):
        pool.submit(decoding, buffer.getvalue(), True)  # what comes of it is nobody's: it may be a limit on time
    return pool


def _largest(faces: Sequence[Face]) -> Iterable[int]:
    """The face that `Screener` judges an image by."""
    return [max(range(len(faces)), key=lambda place: faces[place].box.area)]
