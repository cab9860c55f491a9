"""How often, at most, a camera original is accused by a bundle that generators were enrolled in.

The list of camera margins holds for the classes that it was made with. Where an enrolled generator came behind it, its
offset was chosen so that none of the n camera originals of the record would be accused of it: a further original like
those is with a probability of at most 1/(n + 1), whatever other photographs the offset was chosen on as well. That
adds to the level of the list, once for each such generator. A list that `recalibrate` took with them needs no addition.
"""

from __future__ import annotations

from protoleak.bundle.calibration import Calibration
from protoleak.bundle.manifest import Manifest
from protoleak.runtime import conformal


def has_own_margins(manifest: Manifest, calibration: Calibration) -> bool:
    """Whether the list of camera margins is of images in the record, and not of other networks' left-out sources."""
    return manifest.recalibrated is not None or calibration.generated_margins is None


def accused_of_enrolled(manifest: Manifest, variant: str, calibration: Calibration) -> float:
    """What the enrolled generators add to the level of the list, as a share of camera originals; at most."""
    if has_own_margins(manifest, calibration):
        return 0.0
    return sum(one.accused.get(variant, 0.0) for one in manifest.enrolled)


def accusation_bound(manifest: Manifest, variant: str, calibration: Calibration, alpha: float) -> float | None:
    """The share of camera originals like those of the calibration for which a generator is named, on average, at most;
    None without a promise: in a bundle without camera originals, and for an α above that which offsets were chosen at.

    Raises:
        CalibrationError: α is outside (0, 1).
    """
    if calibration.real_margins is None:
        return None
    added = accused_of_enrolled(manifest, variant, calibration)
    if added and alpha > manifest.alpha:
        return None
    level = conformal.accusation_level(len(calibration.real_margins), alpha, calibration.accusation_share)
    return level + added
