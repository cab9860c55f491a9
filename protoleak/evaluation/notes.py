"""How to read an evaluation's numbers, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from protoleak.bundle.manifest import Manifest
from protoleak.evaluation.images import Images, per_folder
from protoleak.evaluation.results import VariantReport
from protoleak.evaluation.settings import EvaluationSettings

FEW = 30  # images: below, an interval of a share near a half is wider than ± 18 points


def reading_notes(
    manifest: Manifest, settings: EvaluationSettings, images: Images, reports: Sequence[VariantReport]
) -> list[str]:
    """One line each; only those that apply."""
    counts = {
        (kind, folder or "real photographs"): len(positions)
        for (kind, folder), positions in per_folder(images.all).items()
    }
    found = []
    if settings.photographs is None:
        found.append(
            "no real photographs were given (--photographs): whether this bundle accuses real faces of being made by a "
            "generator was not measured"
        )
    else:
        found.append(
            "real faces accused is about photographs from this one source: other cameras, sizes and compressions may "
            "do worse or better, and its interval doesn't cover that"
        )
    if settings.resamples:
        found.append(
            "intervals in brackets are 95 % over resampled source images; one without width says that all images "
            "agree, not that the number is certain"
        )
    few = [f"{folder} {count}" for (_, folder), count in counts.items() if count < FEW]
    if few:
        found.append(f"fewer than {FEW} images of {', '.join(few)}: what is said of these alone says little")
    absent = [name for name in manifest.generators if ("known", name) not in counts]
    if absent:
        found.append(
            f"no image of {', '.join(absent)}: what is a mean over all classes is left empty, not taken over the rest"
        )
    found.append(
        "AUCs are of the softmax over classes, which is comparable between images; those of raw class scores, as "
        "published, stand beside them"
    )
    found.append(
        "that known images are rejected no more often than promised holds for images like those of the "
        "calibration; nothing is promised of unknown generators, only measured"
    )
    if any(one.real_open_set for one in reports) and manifest.real_class is not None:
        found.append(
            f"the bundle has a camera class ({manifest.real_class}), so real photographs are not unknown to it: their "
            "log density may be as great as that of known images without anybody being accused"
        )
    if settings.operators:
        found.append(
            f"operators are measured on at most {settings.images_per_class} images per class, with the thresholds "
            "of the bundle as it is: nothing is calibrated again"
        )
    found.append(
        "a bundle records how many images it was trained on, not which: test images were compared with the other "
        "splits of the same data set, byte by byte, and with nothing else"
    )
    return found
