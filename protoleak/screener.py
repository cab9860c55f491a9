"""The public face: one object that screens images, the faces in images, and videos."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from protoleak.bundle.bundle import Bundle
from protoleak.choices import CROP_MARGIN, DETECT_EVERY, FACE_SCORE, MINIMUM_FACE, Upright
from protoleak.errors import EngineError, MediaError, NoFaceError, ProtoleakError
from protoleak.images.resize import RgbImage
from protoleak.images.sources import ImageSource
from protoleak.runtime.engines import EngineOptions
from protoleak.runtime.opening import Opening
from protoleak.runtime.pipeline import DEFAULT_BATCH_SIZE, ImagePipeline
from protoleak.runtime.prepared import FramedFace

if TYPE_CHECKING:  # imported where they are used: videos need PyAV, and images that are judged whole no faces
    from protoleak.faces.base import FaceDetector
    from protoleak.faces.settings import FaceFinder, FaceSettings
    from protoleak.faces.still_images import FacesInImage, FaceVerdict
    from protoleak.video.events import Event
    from protoleak.video.frames import FrameSource
    from protoleak.video.settings import StreamSettings
    from protoleak.video.sink import Sink, SourcesSink


class Screener(ImagePipeline):
    """Turns images, faces in images, and videos into verdicts with one bundle. Usually made by `protoleak.load`.

        with protoleak.load() as screener:
            verdict = screener("portrait.jpg")[0]
            faces = screener.faces("group.jpg")
            for event in screener.stream("clip.mp4"):
                print(event)

    Called with one image or a sequence of images it gives one verdict for each: on the largest face where the bundle
    looks at faces, else on the image as a whole; see `ImagePipeline.__call__`, and `ImagePipeline.each` for many images
    of which some may be damaged. It may be used from several threads, whose images take turns in the engines.
    """

    def __init__(
        self,
        bundle: Opening | Bundle | str | os.PathLike[str] | None = None,
        *,
        trusted_key: str | os.PathLike[str] | None = None,
        alpha: float | None = None,
        variant: str | None = None,
        engine: str = "auto",
        threads: int | None = None,
        engine_options: EngineOptions | None = None,
        isolate: bool = False,
        upright: Upright | None = None,
        meanwhile: Callable[[Any], None] | None = None,
    ) -> None:
        """See `protoleak.load` and `ImagePipeline` for the arguments and errors."""
        super().__init__(
            bundle,
            trusted_key=trusted_key,
            alpha=alpha,
            variant=variant,
            engine=engine,
            threads=threads,
            engine_options=engine_options,
            isolate=isolate,
            upright=upright,
            meanwhile=meanwhile,
        )
        self._detector: FaceDetector | None = None
        self._detecting = threading.Lock()  # a detector is for one thread at a time, and images are decoded in several

    def _import_meanwhile(self) -> None:
        super()._import_meanwhile()
        if self.framing.needs_face:
            import protoleak.faces.crops
            import protoleak.faces.open  # noqa: F401
            from protoleak.runtime.engines.onnxruntime import import_onnxruntime

            with contextlib.suppress(ProtoleakError):  # whoever needs it there says so
                import_onnxruntime()

    @property
    def looks_at(self) -> FaceFinder:
        """Who finds the faces in images unless somebody is named: "auto" for a bundle that looks at faces, else
        "none"."""
        return "auto" if self.framing.needs_face else "none"

    def frame(self, image: RgbImage) -> FramedFace:
        """The largest face of an image, where the bundle looks at faces; else the image as a whole.

        Args:
            image: uint8 [H, W, 3] in RGB order, or a Pillow image of mode RGB; upright where a look depends on the
                face.

        Raises:
            MediaError: the bundle looks at faces, and no face was found.
            ProtoleakError: there is no face detector here.
        """
        if not self.framing.needs_face:
            return super().frame(image)
        from protoleak.faces.crops import frame_face
        from protoleak.faces.settings import FaceSettings

        settings = FaceSettings()
        pixels = np.asarray(image)
        with self._detecting:
            if self._detector is None:
                self._detector = self.detector(settings)
            faces = self._detector(pixels)
        if not faces:
            raise NoFaceError(
                f"no face of {settings.minimum_face} pixels or more was found, and the bundle judges faces: give an "
                "image with a face, or judge it whole with `ImagePipeline` or --faces none"
            )
        largest = max(faces, key=lambda face: face.box.area)
        return frame_face(self.framing, pixels, largest.box, settings.margin)

    def faces(
        self,
        image: ImageSource,
        *,
        faces: FaceFinder = "auto",
        face_model: str | os.PathLike[str] | None = None,
        face_score: float = FACE_SCORE,
        minimum_face: int = MINIMUM_FACE,
        margin: float = CROP_MARGIN,
        detector: FaceDetector | None = None,
    ) -> list[FaceVerdict]:
        """A verdict for each face in one image, by falling confidence of the detector.

        Args:
            image: a path, an encoded image as bytes, a Pillow image, or uint8 [H, W, 3] in RGB order.
            faces, face_model, face_score, minimum_face, margin: see `protoleak.FaceSettings`.
            detector: one of your own in place of the one that `faces` names.

        Raises:
            MediaError: the image cannot be read, or no face was found in it.
            EngineError: the network's outputs for a face are not finite.
            ProtoleakError: there is no such detector here.
        """
        from protoleak.faces.settings import FaceSettings

        settings = FaceSettings(
            faces=faces,
            face_model=None if face_model is None else Path(face_model),
            face_score=face_score,
            minimum_face=minimum_face,
            margin=margin,
        )
        (outcomes,) = self.each_face([image], settings, detector=detector)
        verdicts = []
        for outcome in outcomes:
            if isinstance(outcome, ProtoleakError):
                raise outcome
            verdicts.append(outcome)
        return verdicts

    def each_face(
        self,
        images: Iterable[ImageSource | FacesInImage | MediaError],
        settings: FaceSettings | None = None,
        *,
        detector: FaceDetector | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> Iterator[list[FaceVerdict | MediaError | EngineError]]:
        """Per image, in order, the outcomes of its faces by falling confidence; one MediaError where there is no face.

        Args:
            images: as in `faces`, or what `faces.still_images.find_faces` gave; an error in its place is passed on.
                They are taken as needed.
            settings: of the detector and the crops; None for the defaults.
            batch_size: faces that go through the engines together; they may be of several images.

        Raises:
            ProtoleakError: there is no such detector here.
        """
        from protoleak.faces.settings import FaceSettings
        from protoleak.faces.still_images import screen_faces

        settings = settings or FaceSettings()
        detector = detector or self.detector(settings)
        return screen_faces(self, detector, images, settings, batch_size)

    def stream(
        self,
        source: str | os.PathLike[str] | FrameSource,
        *,
        faces: FaceFinder = "auto",
        face_model: str | os.PathLike[str] | None = None,
        face_score: float = FACE_SCORE,
        minimum_face: int = MINIMUM_FACE,
        margin: float = CROP_MARGIN,
        detect_every: float = DETECT_EVERY,
        every: float = 1.0,
        minimum_evidence: int = 3,
        max_seconds: float | None = None,
        batch_size: int = 4,
        sinks: Sequence[Sink] = (),
        detector: FaceDetector | None = None,
    ) -> Iterator[Event]:
        """Video: what there is to say of a file, camera or network stream, while it is being read.

            for event in screener.stream("clip.mp4"):
                if isinstance(event, protoleak.TrackEvent):
                    print(event.track, event.track_verdict.label)

        For the settings see `protoleak.FaceSettings` and `protoleak.StreamSettings`; for the rest
        `protoleak.video.stream.stream`.

        Args:
            source: a file, a camera's number, an address, or a `FrameSource` that is open already.
            sinks: who receives frames and events besides the caller, such as writers of files.
            detector: one of your own in place of the one that `faces` names.
        """
        from protoleak.video.settings import StreamSettings
        from protoleak.video.stream import stream

        settings = StreamSettings(
            faces=faces,
            face_model=None if face_model is None else Path(face_model),
            face_score=face_score,
            minimum_face=minimum_face,
            margin=margin,
            detect_every=detect_every,
            every=every,
            minimum_evidence=minimum_evidence,
            max_seconds=max_seconds,
            batch_size=batch_size,
        )
        return stream(self, source, settings, sinks, detector)

    def streams(
        self,
        sources: Sequence[str | os.PathLike[str] | FrameSource],
        settings: StreamSettings | None = None,
        *,
        sinks: Sequence[SourcesSink] = (),
        detector: FaceDetector | None = None,
    ) -> Iterator[Event]:
        """Several videos: cameras and network streams all at once, files one after another beside them.

            for event in screener.streams(["rtsp://gate/stream", "rtsp://yard/stream"]):
                print(event.source, event)

        They share one detector and this screener, in turns; each fails, stalls and reconnects alone, as a FailureEvent
        or a GapEvent; an address that isn't there at the start is tried again while others are screened.
        See `protoleak.video.streams.streams`.

        Args:
            settings: for all of them; None for the defaults.
            sinks: who receives frames and events besides the caller, such as `protoleak.open_output_folder`.
            detector: one of your own in place of the one that the settings ask for.
        """
        from protoleak.video.streams import streams

        return streams(self, sources, settings, sinks, detector)

    def detector(self, settings: FaceSettings) -> FaceDetector:
        """The face detector that the settings ask for.

        Raises:
            ProtoleakError: there is no such detector here, or its model file is not one.
        """
        from protoleak.faces.open import open_detector

        return open_detector(settings, self.bundle)
