"""The conformal lists of a variant: what its own outputs on the calibration images gave."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.bundle.npy import read_npz
from protoleak.errors import BundleError

ACCUSATION_SHARE = 0.2  # accusing a photograph is worse than calling a known generator unknown


@dataclass(frozen=True)
class Calibration:
    """What one variant's own outputs on the calibration images gave.

    Attributes:
        overall: float64 [n], sorted log densities of all calibration images.
        per_generator: one sorted float64 array per generator: the log densities of the calibration images that this
            variant attributed to that generator.
        temperature: T of the calibrated softmax(class score / T), or None where none was fitted.
        real_margins: float64 [m], sorted margins (`runtime.conformal.real_margin`) of the calibration images of the
            class of camera originals; None in a bundle without one.
        generated_margins: float64 [g], the same of calibration images by generators: `real` is said only of an image
            that is more camera-like than these; None in a bundle that doesn't ask for that.
        accusation_share: of α, in (0, 1]: the level among real_margins at which a generator may be named.
    """

    overall: Float64Array
    per_generator: tuple[Float64Array, ...]
    temperature: float | None
    real_margins: Float64Array | None = None
    generated_margins: Float64Array | None = None
    accusation_share: float = ACCUSATION_SHARE

    def to_bytes(self) -> bytes:
        """The .npz form (no pickle)."""
        arrays: dict[str, npt.NDArray[Any]] = {"overall": self.overall}
        arrays |= {f"generator_{index}": values for index, values in enumerate(self.per_generator)}
        if self.temperature is not None:
            arrays["temperature"] = np.float64(self.temperature)
        if self.real_margins is not None:
            arrays["real_margins"] = self.real_margins
        if self.generated_margins is not None:
            arrays["generated_margins"] = self.generated_margins
        if self.accusation_share != ACCUSATION_SHARE:
            arrays["accusation_share"] = np.float64(self.accusation_share)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes allow_pickle for one of them
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, generators: int, where: str) -> Calibration:
        """Reads the .npz form.

        Raises:
            BundleError: it is not such a file, or an array is missing, unsorted or not finite.
        """
        wanted = ["overall", *(f"generator_{index}" for index in range(generators))]
        known = {*wanted, "temperature", "real_margins", "generated_margins", "accusation_share"}
        arrays = {name: np.asarray(found, np.float64) for name, found in read_npz(data, where, known).items()}
        margins = [name for name in ("real_margins", "generated_margins") if name in arrays]
        for name in [*wanted, *margins]:
            values = arrays.get(name)
            if values is None or values.ndim != 1:
                raise BundleError(f"{where} lacks the list {name!r}: export the bundle again")
            if not np.isfinite(values).all() or (np.diff(values) < 0).any():
                raise BundleError(f"{where}: the values of {name!r} are not finite and sorted; export again")
        temperature = arrays.get("temperature")
        if temperature is not None and not (temperature.shape == () and np.isfinite(temperature) and temperature > 0):
            raise BundleError(f"{where}: the temperature {temperature} is not a positive number")
        share = arrays.get("accusation_share", np.float64(ACCUSATION_SHARE))
        if not (share.shape == () and 0 < share <= 1):
            raise BundleError(f"{where}: the accusation share {share} does not lie in (0, 1]")
        return cls(
            overall=arrays["overall"],
            per_generator=tuple(arrays[name] for name in wanted[1:]),
            temperature=None if temperature is None else float(temperature),
            real_margins=arrays.get("real_margins"),
            generated_margins=arrays.get("generated_margins"),
            accusation_share=float(share),
        )
