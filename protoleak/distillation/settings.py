"""What decides the outcome of a distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from protoleak.choices import COMPUTES, FACE_MARGIN, LOOKS, Compute, Look, check_choice
from protoleak.errors import ProtoleakError

if TYPE_CHECKING:  # the command line imports this file, and is not to wait for NumPy and Pillow
    from protoleak.images.framing import Framing

CELL = 8  # pixels of the image per position of the latent, each way
# widths and blocks of the students that have names. The names are floating-point operations of an image of 256×256
# (with 32 latent channels 1.00, 1.95, 2.66, 5.32 and 14.6 GFLOP), which on processors decide their time.
STUDENTS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "1g": ((16, 48, 64), (0, 1, 3)),
    "2g": ((24, 56, 80), (0, 2, 3)),
    "3g": ((32, 64, 96), (0, 2, 3)),
    "5g": ((32, 64, 128), (0, 2, 6)),
    "15g": ((48, 96, 192), (1, 3, 6)),
}
DEFAULT_STUDENT = "3g"


class ViewSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown to teacher and students. The same settings give every student of a family the same views.

    Attributes:
        views: of each image, besides the whole image as it is deployed.
        operator_share: share of the views that are the whole image after a chain of operators; the others are random
            crops, sizes and compressions (see `training.views`).
        held_out: share of the images that only measure.
        image_size: side in pixels of what teacher and students get.
        looks: at each view; each look is an image to learn from. Where one depends on the face, images without a face
            are left out, and views are those of `training.face_views`.
        seed: of views, order, windows and initial weights.
    """

    views: int = 3
    operator_share: float = 0.3
    held_out: float = 0.1
    image_size: int = 256
    looks: tuple[Look, ...] = ("image",)
    seed: int = 0

    @property
    def framing(self) -> Framing:
        """How views become what teacher and students get."""
        from protoleak.images.framing import Framing

        return Framing(self.looks, self.image_size, FACE_MARGIN)


class DistillationSettings(ViewSettings, frozen=True, kw_only=True):
    """How a student is made. What it is shown: see `ViewSettings`.

    Attributes:
        widths, blocks: of the student, see `LightEncoderConfig`.
        window: side in pixels, a multiple of 8, of the part of each view that is learnt from at a time; None for all.
        whitening: how far the directions of the latent space count alike, from 0 to 1; see `DistillationLoss`.
        compute: arithmetic of the student in training; "bf16" is several times faster on processors with bfloat16
            instructions and slower on others; "auto" is "bf16" where it is faster, else "exact", in float32.
    """

    widths: tuple[int, int, int] = STUDENTS[DEFAULT_STUDENT][0]
    blocks: tuple[int, int, int] = STUDENTS[DEFAULT_STUDENT][1]
    epochs: int = 16
    batch_size: int = 16
    learning_rate: float = 2e-3
    window: int | None = None
    whitening: float = 0.9
    compute: Compute = "auto"

    @property
    def bfloat16(self) -> bool:
        """Whether this machine is to train with bfloat16."""
        from protoleak.training.settings import has_bfloat16

        return self.compute == "bf16" or (self.compute == "auto" and has_bfloat16())

    def __post_init__(self) -> None:
        check_choice("compute", self.compute, COMPUTES)
        for look in self.looks:
            check_choice("look", look, LOOKS)
        if not self.looks or len(set(self.looks)) < len(self.looks):
            raise ProtoleakError(f"looks are {', '.join(self.looks) or 'none'}: give at least one, each once")
        if self.window is not None and (self.window < CELL or self.window % CELL):
            raise ProtoleakError(f"window is {self.window}: give a multiple of {CELL} pixels, such as 128")
        if not 0 <= self.whitening <= 1:
            raise ProtoleakError(f"whitening is {self.whitening:g}: give a share from 0 to 1")
