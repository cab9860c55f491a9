"""Writes a bundle with additions: everything that it was exported with stays checkable in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from protoleak.arrays import Float64Array
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.calibration import Calibration
from protoleak.bundle.class_statistics import Discriminant, discriminant_file
from protoleak.bundle.enrolment import BASE, Record, enrolled_file, site_file
from protoleak.bundle.manifest import MANIFEST, Enrolled, Recalibrated
from protoleak.bundle.reader import PROTOTYPES
from protoleak.bundle.signature import SIGNATURE
from protoleak.bundle.writer import array_bytes, check_place, write_bundle, write_files


def base_files(bundle: Bundle) -> Mapping[str, bytes]:
    """Every file of the bundle as it was exported, manifest and signature included."""
    return bundle.contents() if bundle.base is None else bundle.base.files


def write_changed(
    out: Path,
    bundle: Bundle,
    *,
    prototypes: Float64Array,
    discriminants: Sequence[Discriminant],
    enrolled: list[Enrolled],
    enrolled_records: Mapping[str, list[Record]],
    calibrations: Mapping[str, Calibration],
    recalibrated: Recalibrated | None,
    site_records: Mapping[str, Record],
) -> str:
    """Writes a bundle that differs from its base in these, and returns its SHA-256.

    With nothing enrolled and nothing recalibrated it is the base again, byte by byte, with its signature. Else it is
    calibrated for exact computing alone: lists of other computes are those of before the change, and only kept as files
    of the base.

    Args:
        bundle: that it is made from.
        prototypes: [E, M, D], of the enrolled generators.
        discriminants: of each of them.
        enrolled_records: variant → a record per enrolled generator.
        calibrations: variant → its conformal lists.
        site_records: variant → the user's own images; empty without a recalibration.

    Raises:
        BundleError: something that is not a bundle is at `out`, or the disk refused.
    """
    base = base_files(bundle)
    if not enrolled and recalibrated is None:
        return write_files(out, base)
    check_place(out)
    original = bundle.manifest if bundle.base is None else bundle.base.manifest
    shared = {name: base[name] for name in original.files}
    own = bundle.prototypes[: len(original.generators)]
    replaced = {
        PROTOTYPES: array_bytes(np.concatenate([own, prototypes.astype(np.float32).reshape(-1, *own.shape[1:])])),
        **{f"variants/{name}/calibration.npz": found.to_bytes() for name, found in calibrations.items()},
    }
    files = shared | replaced
    files |= {f"{BASE}{name}": base[name] for name in (MANIFEST, SIGNATURE, *replaced) if name in base}
    files |= {discriminant_file(index): one.to_bytes() for index, one in enumerate(discriminants)}
    for variant, records in enrolled_records.items():
        files |= {enrolled_file(variant, index): record.to_bytes() for index, record in enumerate(records)}
    files |= {site_file(variant): record.to_bytes() for variant, record in site_records.items()}
    manifest = msgspec.structs.replace(
        original,
        generators=[*original.generators, *(one.name for one in enrolled)],
        enrolled=enrolled,
        recalibrated=recalibrated,
        computes=[],
    )
    return write_bundle(out, manifest, files)
