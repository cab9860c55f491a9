"""A view of an image of a face, as plain data: what may have happened to it between its maker and its reader.

Making a view gives the image as it would arrive and where the face is in it; the looks are framed afterwards as
deployed.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.faces.base import Face
from protoleak.training.face_views.regions import SMALLEST_SIDE, Style, cut_out, jittered, moved
from protoleak.training.face_views.resampling import resize
from protoleak.training.face_views.retouching import retouch
from protoleak.training.face_views.writers import Writer, write


class FaceView(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is done, in this order: region, scale, flip, softening, retouches, writer, second resize, second writer.

    Attributes:
        style: how the region is cut out of the image; `whole` for all of it.
        region: for loose and tight, the region's longer side in face sides; its aspect (width/height); where the face
            is in it (shares, 0.5 for the middle). For ffhq: zoom, and shifts in shares of its side.
        face_side: of the face in the view, in pixels; None to leave the scale alone.
        resampler: one of FILTERS.
        softened: the view is reduced to that share of its sides and enlarged again, by these resamplers.
        jitter: of the box that is framed afterwards: shifts in shares of its side, and the logarithm of its scale.
    """

    style: Style = "whole"
    region: tuple[float, float, float, float] = (1.0, 1.0, 0.5, 0.5)
    face_side: float | None = None
    resampler: str = "bicubic"
    flip: bool = False
    softened: tuple[float, str, str] | None = None
    retouches: tuple[tuple[str, float], ...] = ()
    writer: Writer = Writer("png")
    second_scale: float | None = None
    second_resampler: str = "bilinear"
    second_writer: Writer | None = None
    jitter: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise_seed: int = 0

    @property
    def name(self) -> str:
        """Names everything that is done: with the file's hash and the framing, the key of cached latents."""
        return "face " + msgspec.json.encode(self).decode()

    def made(self, image: UInt8Array, face: Face) -> tuple[UInt8Array, Face]:
        """The view of uint8 [H, W, 3] RGB as it would arrive, uint8 [h, w, 3], and where its face is found."""
        view, place = cut_out(image, face, self.style, self.region, self.face_side, self.resampler)
        if self.flip:
            view = np.ascontiguousarray(view[:, ::-1])
            place = moved(place, np.array([[-1.0, 0.0, view.shape[1]], [0.0, 1.0, 0.0]]))
        if self.softened is not None:
            view = _softened(view, *self.softened)
        random = np.random.Generator(np.random.Philox(key=self.noise_seed))
        for kind, amount in self.retouches:
            view = retouch(view, kind, amount, random)
        view = write(view, self.writer)
        if self.second_writer is not None:
            if self.second_scale is not None and min(view.shape[:2]) * self.second_scale >= SMALLEST_SIDE:
                height, width = view.shape[:2]
                size = round(width * self.second_scale), round(height * self.second_scale)
                view = resize(view, *size, self.second_resampler)
                place = moved(place, np.array([[size[0] / width, 0, 0], [0, size[1] / height, 0]]))
            view = write(view, self.second_writer)
        x, y, log_scale = self.jitter
        return view, jittered(place, x, y, math.exp(log_scale))


def _softened(view: UInt8Array, share: float, down: str, up: str) -> UInt8Array:
    height, width = view.shape[:2]
    return resize(resize(view, max(16, round(width * share)), max(16, round(height * share)), down), width, height, up)
