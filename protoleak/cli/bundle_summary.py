"""What a bundle is, how it was made and what was measured of it, as `protoleak inspect` says it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from protoleak.errors import CalibrationError

if TYPE_CHECKING:
    from protoleak.bundle.bundle import Bundle
    from protoleak.bundle.calibration import Calibration
    from protoleak.bundle.manifest import Manifest
    from protoleak.bundle.signature import Signer


def summarise(bundle: Bundle, alpha: float | None = None) -> dict[str, Any]:
    """Everything that `inspect` shows, as plain values. The bundle's hashes were checked by `Bundle.load`.

    Args:
        alpha: significance level of the bounds; None for the bundle's.

    Raises:
        CalibrationError: alpha is outside (0, 1).
    """
    from protoleak.enrolment.accusation import accusation_bound
    from protoleak.runtime import conformal

    manifest = bundle.manifest
    alpha = manifest.alpha if alpha is None else alpha
    conformal.check_alpha(alpha)
    variants = {}
    for name in manifest.variants:
        variant = bundle.variant(name)
        report = msgspec.to_builtins(variant.report)
        variants[name] = {
            "report": {key: value for key, value in report.items() if key != "variant"},
            "false_rejection_bounds": _bounds(manifest, variant.calibration, alpha),
            "accusation_level": _accusation_level(variant.calibration, alpha),
            "accusation_bound": accusation_bound(manifest, name, variant.calibration, alpha),
            "acquittal_level": _acquittal_level(variant.calibration, alpha),
            "calibrated_softmax": variant.calibration.temperature is not None,
        }
    return {
        "path": str(bundle.path),
        "name": manifest.name,
        "sha256": bundle.sha256,
        "created": manifest.created,
        "changes": manifest.changes,
        "signature": _signature(bundle.signer),
        "base": _base(bundle),
        "hashes": f"{len(manifest.files)} files, all as the manifest says",
        "generators": manifest.generators,
        "real_class": manifest.real_class,
        "head": manifest.head,
        "looks": list(manifest.preprocessing.looks),
        "timesteps": manifest.timesteps,
        "amplitudes": manifest.amplitudes,
        "attributor_input": manifest.attributor_input,
        "low_frequency_components": None if manifest.low_frequency is None else manifest.low_frequency.components,
        "density": {
            "space": manifest.density.space,
            "bandwidth": manifest.density.bandwidth,
            "bandwidth_in_neighbour_distances": manifest.density.bandwidth_in_neighbour_distances,
            "reference_images": manifest.density.reference_images,
            "auxiliary_images": manifest.density.auxiliary_images,
            "contrast": manifest.density.contrast,
        },
        "face_detector": manifest.face_detector,
        "alpha": alpha,
        "variants": variants,
        "computes": _computes(bundle),
        "measured_on": msgspec.to_builtins(manifest.measured_on),
        "provenance": manifest.provenance,
        "enrolled": msgspec.to_builtins(manifest.enrolled),
        "recalibrated": msgspec.to_builtins(manifest.recalibrated),
        "files": {name: record.size for name, record in manifest.files.items()},
    }


def _computes(bundle: Bundle) -> list[dict[str, Any]]:
    """What the bundle is calibrated for beside exact computing, with what the gate and the test images said of it."""
    rows: list[dict[str, Any]] = []
    for one in bundle.manifest.computes:
        report = bundle.variant(one.variant, one.engine, one.compute).report
        gate, faces = report.gate, report.real_faces
        rows.append(
            {
                "variant": one.variant,
                "engine": one.engine,
                "compute": one.compute,
                "ms per face": one.milliseconds,
                "same generator": None if gate is None else gate.generator_agreement,
                "same side": None if gate is None else gate.verdict_agreement,
                "real faces accused": None if faces is None else f"{faces.accused.count} of {faces.accused.of}",
            }
        )
    return rows


def _signature(signer: Signer | None) -> str:
    """Whose signature a bundle has, in words."""
    if signer is None:
        return "none: the hashes say that nothing changed since the manifest was written, not who wrote it"
    if not signer.checked:
        return f'by {signer.key}, not checked: pip install "protoleak[sign]"'
    return (
        f"by {signer.key}, {'the trusted key' if signer.trusted else 'valid; --trusted-key says whether that is right'}"
    )


def _base(bundle: Bundle) -> dict[str, str] | None:
    """The bundle as it was exported, where generators were enrolled or it was recalibrated; its hashes were checked."""
    from protoleak.bundle.manifest import MANIFEST

    if bundle.base is None:
        return None
    sha256 = hashlib.sha256(bundle.base.files[MANIFEST]).hexdigest()
    return {"name": bundle.base.manifest.name, "sha256": sha256, "signature": _signature(bundle.base.signer)}


def _acquittal_level(calibration: Calibration, alpha: float) -> float | None:
    """How often, at most, an image by a generator like those of the calibration is called real; None without a
    promise."""
    from protoleak.runtime import conformal

    margins = calibration.generated_margins
    return None if margins is None else conformal.acquittal_level(len(margins), alpha)


def _accusation_level(calibration: Calibration, alpha: float) -> float | None:
    """The p-value among camera originals from which a generator is named; None in a bundle without them."""
    from protoleak.runtime import conformal

    margins = calibration.real_margins
    return None if margins is None else conformal.accusation_level(len(margins), alpha, calibration.accusation_share)


def _bounds(manifest: Manifest, calibration: Calibration, alpha: float) -> list[dict[str, Any]]:
    """Per generator: which calibration images its p-values are ranks among, and what they promise."""
    from protoleak.runtime import conformal

    rows: list[dict[str, Any]] = []
    for index, generator in enumerate(manifest.generators):
        row: dict[str, Any] = {"generator": generator, "own_images": len(calibration.per_generator[index])}
        try:
            group, kind = conformal.group(calibration, index, alpha)
        except CalibrationError as error:
            rows.append(row | {"refused": str(error)})
            continue
        bound = conformal.false_rejection_bound(len(group), alpha)
        rows.append(row | {"calibration": kind, "n": len(group), "on_average": alpha, "bound_95": bound})
    return rows
