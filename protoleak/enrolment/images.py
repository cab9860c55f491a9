"""Image files to what the graphs of a bundle give for them, in every variant, without enrolled generators."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Array, Float32Array, UInt8Array
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.enrolment import Record
from protoleak.bundle.traces import TraceSpace
from protoleak.errors import DatasetError, MediaError
from protoleak.faces.crops import frame_face
from protoleak.faces.open import open_detector
from protoleak.faces.settings import FaceSettings
from protoleak.images.content import lacking
from protoleak.images.open import open_image
from protoleak.images.sources import name_in_messages, printable
from protoleak.latent_statistics import second_order_statistics
from protoleak.progress import Progress, no_progress
from protoleak.runtime.engines import choose
from protoleak.runtime.executors import Executor, Graphs, open_executor
from protoleak.runtime.prepared import FramedFace

BATCH_SIZE = 8
OUTPUTS = ("embedding", "gate", "class_score", "log_density")


@dataclass(frozen=True)
class Skipped:
    """A file that gave no image.

    Attributes:
        twin: the file whose content it has, where that is why.
    """

    file: Path
    reason: str
    twin: Path | None = None

    def __str__(self) -> str:
        """One line, with the path."""
        return f"{name_in_messages(str(self.file))}: {self.reason}" + (f" {self.twin}" if self.twin else "")

    @property
    def without_folders(self) -> str:
        """The same line for a bundle, which tells others nothing of where its images lay."""
        return f"{printable(self.file.name)}: {self.reason}" + (f" {self.twin.name}" if self.twin else "")


@dataclass(frozen=True)
class Images:
    """What was found in some image files.

    Attributes:
        records: variant → what it gave; rows in the order of `kept`. Labels are 0.
        kept: position of each image among the files; no two of the same file content.
        sha256: of each kept file.
        skipped: the files that gave no image.
        traces: float32 [n, L·F] of the first variant, in the order of `kept`; None where they were not asked for.
    """

    records: dict[str, Record]
    kept: tuple[int, ...]
    sha256: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    traces: Float32Array | None = None

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def skipped_lines(self) -> tuple[str, ...]:
        """A line for each file that gave no image, for whoever gave the files."""
        return tuple(map(str, self.skipped))

    @property
    def data_sha256(self) -> str:
        """Over the sorted SHA-256 of the files, so that it doesn't depend on names and order."""
        return hashlib.sha256("\n".join(sorted(self.sha256)).encode()).hexdigest()


class ImageRunner:
    """The graphs of variants of a bundle, over image files: each is decoded and framed once, as `screen` does it.

    Used as a context: `with ImageRunner(bundle) as runner`.

    Args:
        variants: which of them; None for all.
        traces: what the images' traces are computed by, where they are wanted.

    Attributes:
        bundle: as given.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: str = "auto",
        threads: int | None = None,
        variants: Sequence[str] | None = None,
        traces: TraceSpace | None = None,
    ) -> None:
        """Opens them.

        Raises:
            EngineUnavailable, EngineError: see `open_engine`.
            ProtoleakError: the bundle looks at faces, and there is no face detector here.
        """
        self.bundle, manifest = bundle, bundle.manifest
        self._framing = manifest.preprocessing.framing
        self._settings = FaceSettings()
        self._statistics = bundle.enrolment.class_statistics() if bundle.enrolment.has_class_statistics else None
        self._detector = open_detector(self._settings, bundle) if self._framing.needs_face else None
        name, _ = choose(engine, 0)
        self._executors: dict[str, Executor] = {}
        self._traces = traces
        for variant in manifest.variants if variants is None else variants:
            graphs = Graphs.of_variant(bundle.variant(variant))
            self._executors[variant] = open_executor(
                name, graphs, manifest, bundle.noise_bank, location=bundle.path, threads=threads
            )

    def __enter__(self) -> ImageRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the engines' memory back."""
        for executor in self._executors.values():
            executor.close()

    def run(self, files: Sequence[Path], what: str, progress: Progress = no_progress) -> Images:
        """The outputs for those files that are images which can be judged.

        Args:
            what: the set of images, for messages.

        Raises:
            DatasetError: none of them is.
            EngineError: an output is not finite.
        """
        outputs: dict[str, list[dict[str, Array]]] = {variant: [] for variant in self._executors}
        kept: list[int] = []
        hashes: list[str] = []
        skipped: list[Skipped] = []
        waiting: list[UInt8Array] = []
        traces: list[Float32Array] = []
        for index, (file, framed) in enumerate(self._framed_ahead(files)):
            if isinstance(framed, MediaError):
                skipped.append(Skipped(file, str(framed).removeprefix(f"{name_in_messages(str(file))}: ")))
                continue
            face, sha256 = framed
            if face.lacking is not None:
                skipped.append(Skipped(file, face.lacking))
            elif sha256 in hashes:
                skipped.append(Skipped(file, "the same file as", files[kept[hashes.index(sha256)]]))
            else:
                kept.append(index)
                hashes.append(sha256)
                waiting.append(face.pixels)
            if len(waiting) == BATCH_SIZE:
                self._flush(waiting, outputs, traces)
            progress(f"run on {what}", index + 1, len(files))
        self._flush(waiting, outputs, traces)
        if not kept:
            why = f", the first because: {skipped[0]}" if skipped else ""
            raise DatasetError(f"{what}: none of {len(files)} files can be judged{why}")
        labels: npt.NDArray[np.int64] = np.zeros(len(kept), np.int64)
        records: dict[str, Record] = {}
        for variant, batches in outputs.items():
            found = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
            records[variant] = Record.of(**found, labels=labels)
        traced = None if self._traces is None else np.concatenate(traces)
        return Images(records, tuple(kept), tuple(hashes), tuple(skipped), traced)

    def _framed_ahead(self, files: Sequence[Path]) -> Iterator[tuple[Path, tuple[FramedFace, str] | MediaError]]:
        """Each file and its face, or why there is none; decoded in a thread while engines run, one batch ahead."""

        def framed(file: Path) -> tuple[FramedFace, str] | MediaError:
            try:
                return self._framed(file)
            except MediaError as error:
                return error

        waiting: deque[tuple[Path, Future[tuple[FramedFace, str] | MediaError]]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="protoleak-decode") as pool:  # a detector is for one thread
            for file in files:
                waiting.append((file, pool.submit(framed, file)))
                if len(waiting) > BATCH_SIZE:
                    first, outcome = waiting.popleft()
                    yield first, outcome.result()
            for first, outcome in waiting:
                yield first, outcome.result()

    def _flush(
        self, waiting: list[UInt8Array], outputs: dict[str, list[dict[str, Array]]], traces: list[Float32Array]
    ) -> None:
        if not waiting:
            return
        pixels = np.concatenate(waiting)
        for number, (variant, executor) in enumerate(self._executors.items()):
            space = self._traces if number == 0 else None
            found = executor.run(pixels, stages=space is not None or self._statistics is not None)
            batch = {name: found.outputs[name].copy() for name in OUTPUTS}
            if found.z0 is not None:
                of_latents = second_order_statistics(found.z0, len(self._framing.looks))
                if self._statistics is not None:
                    batch["features"] = self._statistics.features(of_latents, batch["embedding"])
                if space is not None:
                    traces.append(space(of_latents))
            outputs[variant].append(batch)
        waiting.clear()

    def _framed(self, file: Path) -> tuple[FramedFace, str]:
        """An image as `Screener.frame` frames it, and the SHA-256 of its file."""
        opened = open_image(file, upright=self._framing.upright)
        if self._detector is None:
            pixels = self._framing.frame(opened.pixels, None)
            face = FramedFace(pixels, lacking(pixels, self._framing.judged_side(opened.width, opened.height, None)))
            return face, opened.sha256
        faces = self._detector(opened.pixels)
        if not faces:
            raise MediaError(f"{opened.name}: no face of {self._settings.minimum_face} pixels or more was found")
        largest = max(faces, key=lambda face: face.box.area)
        return frame_face(self._framing, opened.pixels, largest.box, self._settings.margin), opened.sha256
