"""The conformal calibration of one variant, from its own outputs on the calibration images."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from protoleak.bundle.calibration import ACCUSATION_SHARE, Calibration
from protoleak.errors import CalibrationError
from protoleak.runtime.conformal import real_margin


@dataclass(frozen=True)
class LeftOutMargins:
    """Real margins of images by networks of the same recipe that did not see their source or generator.

    Attributes:
        camera: float64 [m], of camera originals, each by a network trained without its source.
        generated: float64 [g], of images by generators, each by a network trained without its generator.
    """

    camera: npt.NDArray[np.float64]
    generated: npt.NDArray[np.float64]

    @classmethod
    def read(cls, file: Path) -> LeftOutMargins:
        """From an .npz with the arrays "camera" and "generated".

        Raises:
            CalibrationError: it is no such file, or a list is empty or not finite.
        """
        try:
            with zipfile.ZipFile(file), np.load(file, allow_pickle=False) as arrays:
                lists = {name: np.asarray(arrays[name], dtype=np.float64) for name in ("camera", "generated")}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise CalibrationError(f"{file} holds no margins (arrays camera and generated): {error}") from error
        for name, values in lists.items():
            if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
                raise CalibrationError(f"{file}: {name!r} is not a list of finite numbers")
        return cls(**lists)


def calibrate(
    log_density: npt.NDArray[np.floating],
    class_score: npt.NDArray[np.floating],
    generators: Sequence[str],
    temperature: float | None,
    labels: npt.NDArray[np.int64],
    real_class: str | None,
    left_out: LeftOutMargins | None = None,
    accusation_share: float = ACCUSATION_SHARE,
) -> Calibration:
    """Sorts the calibration images' log densities, over all and by the generator that each was attributed to, and the
    margins of the camera originals among them.

    Grouping goes by the predicted generator, since that is all that is known of a new image.

    Args:
        log_density: [n], of images that neither training, early stopping nor the density saw.
        class_score: [n, K], of the same images and the same variant.
        generators: K names.
        temperature: of the calibrated softmax, or None.
        labels: int64 [n], the generators that made the images.
        real_class: the class of camera originals, or None.
        left_out: margins of images by networks that saw nothing of their source or generator; they take the place of
            the calibration images' own margins, which are too favourable for what training never saw.
        accusation_share: of α, the level among camera originals at which a generator may be named.

    Raises:
        CalibrationError: no image, shapes that do not fit, values that are not finite, or margins for no real class.
    """
    if log_density.ndim != 1 or class_score.shape != (len(log_density), len(generators)):
        raise CalibrationError(
            f"log densities {log_density.shape} and class scores {class_score.shape} do not belong to the same "
            f"images and {len(generators)} generators"
        )
    if len(log_density) == 0:
        raise CalibrationError("there is no calibration image: give a data set with more images per generator")
    finite = np.isfinite(log_density) & np.isfinite(class_score).all(axis=1)
    if not finite.all():
        raise CalibrationError(
            f"{int((~finite).sum())} of {len(finite)} calibration images gave NaN or infinity (the first is number "
            f"{int(np.argmin(finite))}): this variant cannot be trusted; export it in higher precision"
        )
    if left_out is not None and real_class is None:
        raise CalibrationError("there are margins of left-out sources, and no class of camera originals to use them on")
    real_margins = None if left_out is None else np.sort(left_out.camera)
    if real_class is not None and real_margins is None:
        real_margins = _real_margins(class_score, labels, generators.index(real_class))
    densities = log_density.astype(np.float64)
    attributed = class_score.argmax(axis=1)
    return Calibration(
        overall=np.sort(densities),
        per_generator=tuple(np.sort(densities[attributed == index]) for index in range(len(generators))),
        temperature=temperature,
        real_margins=real_margins,
        generated_margins=None if left_out is None else np.sort(left_out.generated),
        accusation_share=accusation_share,
    )


def _real_margins(
    class_score: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], real: int
) -> npt.NDArray[np.float64]:
    return np.sort(real_margin(class_score[labels == real], real))
