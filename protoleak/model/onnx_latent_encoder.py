"""A latent encoder that is an ONNX file made elsewhere: float NCHW image → latent."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array
from protoleak.bundle.graph_check import inspect_onnx
from protoleak.errors import CheckpointError, EngineError, first_line

ONNX_FILE = "latent_encoder.onnx"
SETTINGS_FILE = "settings.json"
INPUT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an ONNX file does not say of itself.

    Attributes:
        input_range: the values that stand for black and white.
        scaling: factor on the latent.
    """

    input_range: tuple[float, float] = (0.0, 1.0)
    scaling: float = 1.0

    def problem(self) -> str | None:
        """Why these settings cannot be, or None."""
        low, high = self.input_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            return f"the input range {low}, {high} is not two finite numbers, the smaller first"
        if not (math.isfinite(self.scaling) and self.scaling != 0):
            return f"the scaling {self.scaling} is not a finite number other than 0"
        return None


class OnnxLatentEncoder:
    """Runs in ONNX Runtime on the CPU.

    Attributes:
        model: the serialised ONNX model, weights included.
        input_range: the values that stand for black and white.
        scaling: factor on the latent.
        input_name, output_name: of the image and of the latent in the graph.
        batch: the batch size that the graph insists on, or None where any will do.
        image_size: the side that the graph insists on, or None where any will do.
    """

    kind = "onnx"
    provenance: Mapping[str, object] = MappingProxyType({})

    def __init__(self, model: bytes, settings: OnnxSettings, *, name: str = "the ONNX file") -> None:
        """
        Raises:
            CheckpointError: not an ONNX model, or one that needs data outside its file, draws random numbers, has NaN
                weights, or whose input is not a float image [N, 3, S, S] or output not a latent [N, C, h, w].
        """
        import onnxruntime

        self._name = name
        wrong = settings.problem()
        if wrong:
            raise CheckpointError(f"{name}: {wrong}")
        try:
            problems = inspect_onnx(model).problems()
        except ValueError as error:
            raise CheckpointError(f"{name}: {error}") from error
        if problems:
            raise CheckpointError(f"{name} cannot be a latent encoder: {'; '.join(problems)}")
        try:
            self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common base but this
            raise CheckpointError(f"{name}: ONNX Runtime refuses it: {first_line(error)}") from error
        self.model = model
        self.input_range = (float(settings.input_range[0]), float(settings.input_range[1]))
        self.scaling = float(settings.scaling)
        # Floats even where integers came in, or the fingerprint would change when the settings are stored and read.
        self._settings = OnnxSettings(input_range=self.input_range, scaling=self.scaling)
        self._read_signature()
        self.fingerprint = hashlib.sha256(
            msgspec.json.encode(self._settings) + hashlib.sha256(model).digest()
        ).hexdigest()
        self._shapes: dict[int, tuple[int, int, int]] = {}

    def _read_signature(self) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in INPUT_TYPES:
            found = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise CheckpointError(f"{self._name} takes {found}: one float image [N, 3, S, S] is needed")
        batch, channels, height, width = inputs[0].shape
        if isinstance(channels, int) and channels != 3:
            raise CheckpointError(
                f"{self._name} takes images of shape {inputs[0].shape}: 3 channels are needed, in the order N, C, H, W"
            )
        sides = {side for side in (height, width) if isinstance(side, int)}
        if len(sides) > 1:
            raise CheckpointError(f"{self._name} takes images of {height}×{width}: square ones are needed")
        latents = [each for each in outputs if len(each.shape) == 4]
        if len(latents) != 1:
            found = ", ".join(f"{each.name} {each.shape}" for each in outputs)
            raise CheckpointError(f"{self._name} gives {found}: exactly one latent [N, C, h, w] is needed")
        self.input_name, self.output_name = inputs[0].name, latents[0].name
        self._dtype = INPUT_TYPES[inputs[0].type]
        self.batch = batch if isinstance(batch, int) else None
        self.image_size = sides.pop() if sides else None

    def encode(self, images: npt.NDArray[np.uint8]) -> Float32Array:
        """uint8 [N, S, S, 3] → z0 float32 [N, C, h, w].

        Raises:
            EngineError: z0 is not finite.
            CheckpointError: the graph does not take images of that size.
        """
        if self.image_size is not None and images.shape[1] != self.image_size:
            raise CheckpointError(
                f"{self._name} takes images of {self.image_size}×{self.image_size}, and {images.shape[1]} is asked "
                f"for: use image size {self.image_size}"
            )
        low, high = self.input_range
        step = self.batch or max(len(images), 1)
        parts = []
        for start in range(0, len(images), step):
            chunk = images[start : start + step]
            missing = step - len(chunk)
            padded = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)]) if missing else chunk
            pixels = padded.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
            feed = np.ascontiguousarray(pixels * np.float32(high - low) + np.float32(low), dtype=self._dtype)
            try:
                latent = self._session.run([self.output_name], {self.input_name: feed})[0]
            except Exception as error:  # as above
                raise CheckpointError(
                    f"{self._name} fails on images of {images.shape[1]}×{images.shape[2]}: {first_line(error)}"
                ) from error
            if latent.ndim != 4 or len(latent) != step:
                raise CheckpointError(f"{self._name} gives {latent.shape} for {step} images: [N, C, h, w] is needed")
            with np.errstate(over="ignore"):  # an overflow is reported below, as what it is
                parts.append(latent[: len(chunk)].astype(np.float32) * np.float32(self.scaling))
        latents: Float32Array = np.concatenate(parts)
        if not np.isfinite(latents).all():
            raise EngineError(f"the latent encoder {self._name} gave NaN or infinite latents: check its input range")
        return latents

    def latent_shape(self, image_size: int) -> tuple[int, int, int]:
        """(C, h, w), found by encoding one black image. Raises CheckpointError where that size is not taken."""
        if image_size not in self._shapes:
            shape = self.encode(np.zeros((1, image_size, image_size, 3), dtype=np.uint8)).shape
            self._shapes[image_size] = (shape[1], shape[2], shape[3])
        return self._shapes[image_size]

    def save(self, directory: Path) -> None:
        """Writes the graph and its settings into `directory`, which is made if it isn't there."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ONNX_FILE).write_bytes(self.model)
        (directory / SETTINGS_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self._settings), indent=2))
