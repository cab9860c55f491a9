"""What a bundle holds so that a generator can be added to it without PyTorch, and what is added then.

    enrolment.npz                         τ of the class score and the floor of the density; written by `export`
    class_statistics.npz and more         what a newcomer is told by; see `class_statistics`
    variants/<variant>/record.npz         the network's own outputs on the calibration images; written by `export`
    variants/<variant>/site.npz           the same of a user's own images, which take their place; by `recalibrate`
    variants/<variant>/enrolled_<i>.npz   the same of the images of the i-th enrolled generator; by `enrol`
    base/…                                manifest, signature and what else was replaced of the bundle as exported

The graphs stay what they are. The scores of enrolled generators are computed beside them, from the latents and the
embedding (`runtime.additions`); docs/decisions/0028-enrolment.md and 0035-newcomers.md say why.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array, Float64Array
from protoleak.bundle.class_statistics import ClassStatistics, Discriminant, FeatureArray, check_array
from protoleak.bundle.manifest import MANIFEST, Manifest
from protoleak.bundle.manifest_check import parse_manifest
from protoleak.bundle.npy import read_npz
from protoleak.bundle.signature import SIGNATURE, Signer, check_signature
from protoleak.errors import BundleError

ENROLMENT = "enrolment.npz"
BASE = "base/"
LARGEST_RECORD = 2 * 2**20  # bytes of a variant's record; of more calibration images an even share is kept
REMEDY = (
    "export the bundle again with this protoleak, the head prototype and --density-space posterior; "
    "`protoleak recalibrate` needs none of it"
)


def record_file(variant: str) -> str:
    """The record of the calibration images."""
    return f"variants/{variant}/record.npz"


def site_file(variant: str) -> str:
    """The record of a user's own images."""
    return f"variants/{variant}/site.npz"


def enrolled_file(variant: str, index: int) -> str:
    """The record of the images of an enrolled generator.

    Args:
        index: among the enrolled generators.
    """
    return f"variants/{variant}/enrolled_{index}.npz"


@dataclass(frozen=True)
class Record:
    """What a variant's graphs gave for n images; nothing of it is of an enrolled generator but `own_log_odds`.

    Attributes:
        embedding, gate: float16 [n, D].
        class_score: float32 [n, K], of the K classes in the graph.
        log_density: float32 [n], of the graph.
        labels: int32 [n], indices into the manifest's generators.
        features: int8 [n, J], see `ClassStatistics.features`; J = 0 in a bundle that has none.
        own_log_odds: float32 [n], of the images' own enrolled generator, by a discriminant that was fitted without
            them; empty in a record of other images.
    """

    embedding: npt.NDArray[np.float16]
    gate: npt.NDArray[np.float16]
    class_score: Float32Array
    log_density: Float32Array
    labels: npt.NDArray[np.int32]
    features: FeatureArray
    own_log_odds: Float32Array

    @classmethod
    def of(
        cls,
        embedding: npt.NDArray[np.floating],
        gate: npt.NDArray[np.floating],
        class_score: npt.NDArray[np.floating],
        log_density: npt.NDArray[np.floating],
        labels: npt.NDArray[np.integer],
        features: FeatureArray | None = None,
        own_log_odds: npt.NDArray[np.floating] | None = None,
    ) -> Record:
        """From the outputs of a variant, in any precision."""
        return cls(
            embedding.astype(np.float16),
            gate.astype(np.float16),
            class_score.astype(np.float32),
            log_density.astype(np.float32),
            labels.astype(np.int32),
            np.zeros((len(labels), 0), np.int8) if features is None else features,
            np.zeros(0, np.float32) if own_log_odds is None else own_log_odds.astype(np.float32),
        )

    def within(self, maximum: int) -> Record:
        """An even share of the images, so that the file has at most about so many bytes."""
        row = 2 * 2 * self.embedding.shape[1] + 4 * (self.class_score.shape[1] + 2) + self.features.shape[1]
        step = max(1, -(-len(self.labels) * row // maximum))
        return self if step == 1 else self.rows(np.arange(0, len(self.labels), step))

    def rows(self, chosen: npt.NDArray[Any]) -> Record:
        """Some of the images."""
        return Record(
            self.embedding[chosen],
            self.gate[chosen],
            self.class_score[chosen],
            self.log_density[chosen],
            self.labels[chosen],
            self.features[chosen],
            self.own_log_odds[chosen] if len(self.own_log_odds) else self.own_log_odds,
        )

    def to_bytes(self) -> bytes:
        """The .npz form (no pickle)."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{name: values for name, values in vars(self).items() if values.size})
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, where: str, classes: int, features: int) -> Record:
        """Reads the .npz form, in which an array without an element is left out.

        Args:
            classes: K, those in the graph.
            features: D.

        Raises:
            BundleError: it is not such a file, or its arrays do not fit one another.
        """
        arrays = read_npz(data, where)
        rows = len(arrays["labels"]) if arrays.get("labels", np.zeros(())).ndim == 1 else -1
        found = arrays.get("features", np.zeros((max(rows, 0), 0), np.int8))
        own = arrays.get("own_log_odds", np.zeros(0, np.float32))
        arrays |= {"features": found, "own_log_odds": own}
        shapes: dict[str, tuple[type, tuple[int, ...]]] = {
            "embedding": (np.float16, (rows, features)),
            "gate": (np.float16, (rows, features)),
            "class_score": (np.float32, (rows, classes)),
            "log_density": (np.float32, (rows,)),
            "labels": (np.int32, (rows,)),
            "features": (np.int8, (rows, found.shape[-1] if found.ndim == 2 else -1)),
            "own_log_odds": (np.float32, (rows if own.size else 0,)),
        }
        for name, (kind, shape) in shapes.items():
            check_array(arrays.get(name), name, kind, shape, where)
        return cls(**{name: arrays[name] for name in shapes})


@dataclass(frozen=True)
class ScoreConstants:
    """What the graph computes class score and log density with, beside prototypes.

    Attributes:
        temperature: τ of the class score.
        floor: best class score below which an image lies too far from everything, in nats.
    """

    temperature: float
    floor: float

    def to_bytes(self) -> bytes:
        """The .npz form (no pickle)."""
        buffer = io.BytesIO()
        np.savez(buffer, temperature=np.float64(self.temperature), floor=np.float64(self.floor))
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> ScoreConstants:
        """Reads the .npz form.

        Raises:
            BundleError: it is not such a file.
        """
        arrays = read_npz(data, where, {"temperature", "floor"})
        for name in ("temperature", "floor"):
            check_array(arrays.get(name), name, np.float64, (), where)
        if not arrays["temperature"] > 0:
            raise BundleError(f"{where}: the temperature {arrays['temperature']} is not a positive number")
        return cls(float(arrays["temperature"]), float(arrays["floor"]))


@dataclass(frozen=True)
class Additions:
    """The enrolled generators of a bundle, as the runtime needs them.

    Attributes:
        prototypes: float64 [E, M, D]; distances to them are part of the reasons of a verdict, not of the score.
        discriminants: of each of the E.
        offsets: float64 [E], added to each generator's log odds.
        constants: of the graph.
        statistics: of the classes in the graph.
    """

    prototypes: Float64Array
    discriminants: tuple[Discriminant, ...]
    offsets: Float64Array
    constants: ScoreConstants
    statistics: ClassStatistics


@dataclass(frozen=True)
class Base:
    """The bundle as it was exported, before anything was enrolled or recalibrated.

    Attributes:
        manifest: its own.
        signer: whose key it is signed with, or None.
        files: every file of it by its name there, manifest and signature included, byte by byte.
    """

    manifest: Manifest
    signer: Signer | None
    files: Mapping[str, bytes]


def read_base(files: Mapping[str, bytes], manifest: Manifest, location: Path) -> Base | None:
    """The base of a changed bundle, with its hashes and its signature checked; None for a bundle as exported.

    Args:
        files: of the bundle, whose hashes were checked.
        manifest: of the bundle.

    Raises:
        BundleError: a file of the base is missing or another one, or the bundle differs from it in more than enrolment
            and recalibration change.
    """
    if not manifest.enrolled and manifest.recalibrated is None:
        return None
    where = location / BASE
    raw = files.get(f"{BASE}{MANIFEST}")
    if raw is None:
        raise BundleError(f"{where}/{MANIFEST} is missing: what the bundle was made from cannot be checked")
    base = parse_manifest(raw, where)
    unchanged = (
        *("real_class", "preprocessing", "schedule", "timesteps", "noise_seed", "low_frequency", "latent_shape"),
        *("embedding_size", "prototypes_per_generator", "head", "density", "variants", "amplitudes", "face_detector"),
    )
    differing = [name for name in unchanged if getattr(base, name) != getattr(manifest, name)]
    if base.enrolled or base.recalibrated is not None:
        differing.append("enrolled")
    if manifest.computes:  # whose lists would be those of before the change
        differing.append("computes")
    if base.generators != manifest.generators[: manifest.generators_in_graph]:
        differing.append("generators")
    if differing:
        raise BundleError(f"{location}: its manifest is not that of its base with additions: {', '.join(differing)}")
    own: dict[str, bytes] = {MANIFEST: raw}
    for name, record in base.files.items():
        for candidate in (f"{BASE}{name}", name):
            listed = manifest.files.get(candidate)
            if listed is not None and listed.sha256 == record.sha256:
                own[name] = files[candidate]
                break
        else:
            raise BundleError(f"{location}: {name} of its base is missing or was changed: nothing was executed")
    signature = files.get(f"{BASE}{SIGNATURE}")
    if signature is not None:
        own[SIGNATURE] = signature
    return Base(base, check_signature(raw, signature, where, None), own)
