"""What an executor is: one bundle's variant on one engine, from images to the attributor's outputs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from protoleak.arrays import Array, Float32Array, UInt8Array
from protoleak.bundle.bundle import Variant
from protoleak.bundle.graph_check import attributor_output_shapes
from protoleak.bundle.manifest import Manifest
from protoleak.errors import BundleError, EngineError
from protoleak.runtime.cuda.arrays import DeviceArray, GpuArray
from protoleak.runtime.engines import EngineDescription, Graph

if TYPE_CHECKING:  # what it imports is for GPUs
    from protoleak.runtime.cuda.crops import Rectangle

LATENT_ENCODER_OUTPUTS = ("z0",)
ATTRIBUTOR_OUTPUTS = ("embedding", "gate", "timestep_weight", "prototype_distance", "class_score", "log_density")


@dataclass(frozen=True)
class Graphs:
    """The two ONNX graphs of a variant, as engines take them."""

    latent_encoder: Graph
    attributor: Graph

    @classmethod
    def of(cls, latent_encoder: bytes, attributor: bytes) -> Graphs:
        """From the serialised ONNX models."""
        return cls(
            Graph("latent encoder", latent_encoder, LATENT_ENCODER_OUTPUTS),
            Graph("attributor", attributor, ATTRIBUTOR_OUTPUTS),
        )

    @classmethod
    def of_variant(cls, variant: Variant) -> Graphs:
        """From a variant of a bundle, whose graphs `Bundle.load` has checked."""
        return cls.of(variant.latent_encoder, variant.attributor)


@dataclass(frozen=True)
class AttributorOutputs:
    """What an executor made of a batch of N faces, each seen in L looks.

    Attributes:
        outputs: of the attributor, by the names of ATTRIBUTOR_OUTPUTS, all finite; the first axis is the batch.
        milliseconds: stage → time that the whole batch took in it.
        z0: float32 [N·L, C, h, w], and z_t: float32 [N, L·T, C', h, w]: what passes between the stages; None unless
            `stages` was asked for. There is no z_t where the attributor takes z0.
    """

    outputs: dict[str, Array]
    milliseconds: dict[str, float]
    z0: Float32Array | None = None
    z_t: Float32Array | None = None

    @property
    def stages(self) -> dict[str, Array]:
        """Every tensor that there is, by name: "z0" and "z_t" where they were asked for, and the outputs."""
        between = {"z0": self.z0, "z_t": self.z_t}
        return {name: values for name, values in between.items() if values is not None} | self.outputs


@dataclass(frozen=True)
class ImageOnGpu:
    """One face that a caller has on the GPU, in all its looks.

    Attributes:
        array: uint8 [L, S, S, 3] there, in RGB order.
        pixels: the same on the host: a verdict names the SHA-256 of its input, which is computed there.
    """

    array: DeviceArray
    pixels: UInt8Array


@dataclass(frozen=True)
class FrameToCrop:
    """A frame and what is to be cut out of it.

    Attributes:
        pixels: uint8 [H, W, 3] in RGB order.
        rectangles: of all looks at its first face, then at its second one, and so on. Each becomes S×S pixels: resized
            to a short side of S, its middle cut out; beyond the border the frame goes on as its own mirror image.
    """

    pixels: UInt8Array
    rectangles: Sequence[Rectangle]


class Executor(Protocol):
    """Two graphs and the noising between them. Made by `open_executor`."""

    def run(self, images: UInt8Array | DeviceArray, *, stages: bool = False) -> AttributorOutputs:
        """The attributor's outputs for uint8 [N·L, S, S, 3], the L looks at each of N ≥ 1 faces behind one another; on
        the GPU only what `take` gave.

        Args:
            stages: z0 and z_t are wanted too, for comparisons; verdicts don't need them.

        Raises:
            BundleError: a graph gives another shape than the manifest says.
            EngineError: a run failed, or z0 or an output holds NaN or infinite values; the message names the stage.
                Or the executor is closed.
        """
        ...

    def take(self, name: str, images: GpuArray) -> list[ImageOnGpu]:
        """A caller's images on the GPU, without a copy there: for one look uint8 [S, S, 3] or [N, S, S, 3] in RGB
        order, for L looks uint8 [N·L, S, S, 3] with the looks at each face behind one another.

        Args:
            name: what messages call them.

        Raises:
            MediaError: they don't fit, or this executor takes its images from the processor's memory.
        """
        ...

    def frame(self, frames: Sequence[FrameToCrop]) -> list[ImageOnGpu] | None:
        """Faces of frames that are in the processor's memory, framed on the GPU and left there for `run`: the same
        pixels to the bit as `Framing.frame` gives. They lie behind one another, in the order of the frames and of the
        rectangles.

        Args:
            frames: each once, with the L rectangles of each of its faces.

        Returns:
            None where this executor takes its images from the processor's memory: they are framed there.

        Raises:
            MediaError: a rectangle is empty or too far out.
            EngineError: the GPU failed, or the executor is closed.
        """
        ...

    def describe(self) -> EngineDescription: ...

    def close(self) -> None:
        """Gives memory and threads back. May be called more than once; nothing can be run afterwards."""
        ...


@dataclass(frozen=True)
class ExpectedShapes:
    """What the manifest says of the graphs' outputs.

    Attributes:
        path: the bundle's, for messages.
    """

    path: str | os.PathLike[str]
    manifest: Manifest

    @property
    def looks(self) -> int:
        """L: how many images of S×S pixels the latent encoder gets of one face."""
        return len(self.manifest.preprocessing.looks)

    def faces_in(self, images: int) -> int:
        """How many faces so many images of S×S pixels belong to.

        Raises:
            EngineError: their looks are not complete.
        """
        if images % self.looks:
            raise EngineError(f"{images} images for a bundle with {self.looks} looks at a face: give all looks of each")
        return images // self.looks

    def check_z0(self, shape: tuple[int, ...], batch: int) -> None:
        """Raises BundleError when the latent encoder's output for so many images has another shape."""
        self._check("latent encoder", "z0", shape, (batch, *self.manifest.latent_shape))

    def check_outputs(self, shapes: Mapping[str, tuple[int, ...]], batch: int) -> None:
        """Raises BundleError naming the attributor's output for so many faces that has another shape."""
        expected = attributor_output_shapes(self.manifest, self.manifest.generators_in_graph)
        for name, shape in expected.items():
            self._check("attributor", name, shapes[name], (batch, *shape))

    def _check(self, stage: str, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
        if found != expected:
            raise BundleError(
                f"{self.path}: the {stage} gives {name!r} as {list(found)}, the manifest asks for "
                f"{list(expected)}: export the bundle again"
            )


def describe_both(latent_encoder: EngineDescription, attributor: EngineDescription) -> EngineDescription:
    """The attributor's description, with what is set otherwise for the latent encoder."""
    differing = {
        f"latent_encoder_{name}": value
        for name, value in latent_encoder.settings.items()
        if attributor.settings.get(name) != value
    }
    return msgspec.structs.replace(attributor, settings=attributor.settings | differing)
