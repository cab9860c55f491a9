"""What a bundle holds for enrolment and discovery, read from its files when somebody asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from protoleak.arrays import Float32Array
from protoleak.bundle.class_statistics import CLASS_STATISTICS, ClassStatistics, Discriminant, discriminant_file
from protoleak.bundle.enrolment import (
    ENROLMENT,
    REMEDY,
    Additions,
    Record,
    ScoreConstants,
    enrolled_file,
    record_file,
    site_file,
)
from protoleak.bundle.manifest import Manifest
from protoleak.bundle.traces import TraceSpace
from protoleak.errors import BundleError


class EnrolmentFiles:
    """The files of a bundle that a generator is added with, and those of generators that were added.

    Args:
        path: of the bundle, for messages.
        files: of the bundle by their names, whose hashes were checked.
        prototypes: float32 [K, M, D], those of enrolled generators behind the others.
    """

    def __init__(self, path: Path, manifest: Manifest, files: Mapping[str, bytes], prototypes: Float32Array) -> None:
        self._path, self._manifest, self._files, self._prototypes = path, manifest, files, prototypes

    @property
    def additions(self) -> Additions | None:
        """The enrolled generators; None without any."""
        enrolled = self._manifest.enrolled
        if not enrolled:
            return None
        first = self._manifest.generators_in_graph
        statistics = self.class_statistics()
        size = len(statistics.mean)
        discriminants = []
        for index in range(len(enrolled)):
            name = discriminant_file(index)
            where = f"{self._path}/{name}"
            if name not in self._files:
                raise BundleError(f"{where} is missing: enrol the generator again")
            discriminants.append(Discriminant.from_bytes(self._files[name], where, size, first + index))
        return Additions(
            self._prototypes[first:].astype(np.float64),
            tuple(discriminants),
            np.array([one.offset for one in enrolled], np.float64),
            self.score_constants(),
            statistics,
        )

    def score_constants(self) -> ScoreConstants:
        """What the graph computes class score and log density with.

        Raises:
            BundleError: the bundle was exported without it, as are those of other heads and densities.
        """
        if ENROLMENT not in self._files:
            raise BundleError(
                f"{self._path} holds nothing that a generator could be enrolled with ({ENROLMENT}): {REMEDY}"
            )
        return ScoreConstants.from_bytes(self._files[ENROLMENT], f"{self._path}/{ENROLMENT}")

    def traces(self) -> TraceSpace | None:
        """What tells generators apart that the bundle doesn't know; None for one that was exported without it.

        Raises:
            BundleError: it is not what `export` writes.
        """
        if not self.has_class_statistics:
            return None
        return TraceSpace.of(self.class_statistics(), self._manifest.embedding_size)

    def class_statistics(self) -> ClassStatistics:
        """How the features of the named classes are distributed, which a newcomer is told from them by.

        Raises:
            BundleError: the bundle was exported without them.
        """
        if CLASS_STATISTICS not in self._files:
            raise BundleError(
                f"{self._path} holds nothing that a newcomer could be told by ({CLASS_STATISTICS}): {REMEDY}"
            )
        where = f"{self._path}/{CLASS_STATISTICS}"
        return ClassStatistics.from_bytes(self._files[CLASS_STATISTICS], where, self._manifest.generators_in_graph)

    @property
    def has_class_statistics(self) -> bool:
        """Whether the bundle was exported with `class_statistics`."""
        return CLASS_STATISTICS in self._files

    def check(self) -> None:
        """Raises BundleError where something is missing or damaged that a generator is added with: before any work."""
        self.score_constants()
        self.class_statistics()
        for variant in self._manifest.variants:
            self.record(variant)

    def record(self, variant: str) -> Record:
        """What a variant gave for its calibration images: the exporter's, or those that it was recalibrated with.

        Raises:
            BundleError: the bundle was exported without it.
        """
        return self._read_record(self._record_file(variant))

    def has_record(self, variant: str) -> bool:
        """Whether the bundle was exported, or recalibrated, with `record`."""
        return self._record_file(variant) in self._files

    def _record_file(self, variant: str) -> str:
        return record_file(variant) if self._manifest.recalibrated is None else site_file(variant)

    def enrolled_records(self, variant: str) -> list[Record]:
        """What a variant gave for the images of each enrolled generator, in the manifest's order.

        Raises:
            BundleError: a record is missing or damaged.
        """
        return [self._read_record(enrolled_file(variant, index)) for index in range(len(self._manifest.enrolled))]

    def _read_record(self, name: str) -> Record:
        if name not in self._files:
            raise BundleError(f"{self._path} lacks {name}, the outputs on its calibration images: {REMEDY}")
        manifest = self._manifest
        where = f"{self._path}/{name}"
        record = Record.from_bytes(self._files[name], where, manifest.generators_in_graph, manifest.embedding_size)
        if len(record.labels) and not 0 <= record.labels.min() <= record.labels.max() < len(manifest.generators):
            raise BundleError(f"{where}: a label stands for no generator; export the bundle again")
        size = record.features.shape[1]
        if size and size != len(self.class_statistics().mean):
            raise BundleError(f"{where}: {size} features are not those of {CLASS_STATISTICS}; export the bundle again")
        return record
