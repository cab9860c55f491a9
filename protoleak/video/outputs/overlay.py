"""Boxes and labels on a frame, readable at any size of image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from protoleak.arrays import UInt8Array
from protoleak.faces.base import Box
from protoleak.video.events import TrackVerdict
from protoleak.video.outputs.verdict_style import STYLES, generator_or_label
from protoleak.video.sink import TrackedFace

RGB = tuple[int, int, int]
SMALLEST_TEXT = 12  # pixels
LABELS_KEPT = 256  # most frames show the labels of the frame before
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
TOO_BRIGHT_FOR_WHITE = 140  # of a plate's luma, 0 to 255


def draw_faces(image: UInt8Array, faces: Sequence[TrackedFace]) -> None:
    """Draws the box of every face, in the style of its verdict, and a label that stays in the image.

    Args:
        image: uint8 [H, W, 3] RGB, drawn into.
    """
    height, width = image.shape[:2]
    size = text_size(height, width)
    taken: list[tuple[int, int, int, int]] = []
    for face in faces:
        style = STYLES[face.verdict.label]
        _box(image, face.box, style.rgb, style.dash, max(2, round(min(height, width) / 240)))
    for face in faces:
        style = STYLES[face.verdict.label]
        label = fitting(label_texts(face.track, face.verdict), size, style.rgb, width)
        left, top = _free_place(face.box, label.shape[:2], (height, width), taken)
        paste(image, label, left, top)
        taken.append((left, top, label.shape[1], label.shape[0]))


def label_texts(track: int, verdict: TrackVerdict) -> tuple[str, ...]:
    """What a label may say, the fullest first: the next is for where there is no room."""
    name = generator_or_label(verdict)
    if verdict.label == "undecided":
        return f"#{track} {name}, faces: {verdict.evidence}", f"#{track} {name}", f"#{track} ?"
    p_value = f"p {verdict.p_value:.3f}"
    return f"#{track} {name}  {p_value}", f"{name} {p_value}", name, verdict.label


def text_size(height: int, width: int) -> int:
    """Pixels, for an image of that size."""
    return max(SMALLEST_TEXT, round(min(height, width) / 32))


def fitting(texts: Sequence[str], size: int, plate: RGB, width: int) -> UInt8Array:
    """The first of the texts whose label is no wider than `width`; if none is, the last, cut off."""
    for text in texts:
        label = text_label(text, size, plate)
        if label.shape[1] <= width:
            return label
    return label[:, :width]


@lru_cache(LABELS_KEPT)
def text_label(text: str, size: int, plate: RGB) -> UInt8Array:
    """Text on a plate of that colour, black or white as can be read, uint8 [h, w, 3]; not to be written to."""
    font = ImageFont.load_default(size)
    margin = max(2, size // 4)
    left, _, right, _ = font.getbbox(text)
    # As high for every text, with or without letters that reach below the line.
    _, top, _, bottom = font.getbbox("Ápg#_")
    box = (int(right - left) + 2 * margin, int(bottom - top) + margin)
    luma = 0.299 * plate[0] + 0.587 * plate[1] + 0.114 * plate[2]
    image = Image.new("RGB", box, plate)
    ink = BLACK if luma > TOO_BRIGHT_FOR_WHITE else WHITE
    ImageDraw.Draw(image).text((margin - left, margin // 2 - top), text, font=font, fill=ink)
    label = np.asarray(image)
    label.flags.writeable = False
    return label


def paste(image: UInt8Array, patch: UInt8Array, left: int, top: int) -> None:
    """Copies a patch into an image; what reaches over the border is cut off. `left` and `top` are not negative."""
    height, width = image.shape[:2]
    seen = patch[: max(height - top, 0), : max(width - left, 0)]
    image[top : top + seen.shape[0], left : left + seen.shape[1]] = seen


def _free_place(
    box: Box, label: tuple[int, ...], frame: tuple[int, int], taken: Sequence[tuple[int, int, int, int]]
) -> tuple[int, int]:
    """Left and top of a label: above the box, below it or in it, in the image, over no other label if that can be."""
    height, width = label[:2]
    left = min(max(round(box.left), 0), max(frame[1] - width, 0))
    tops = [round(box.top) - height, round(box.top + box.height), round(box.top), round(box.top) + height]
    tops = [min(max(top, 0), max(frame[0] - height, 0)) for top in tops]
    for top in tops:
        if not any(_overlap((left, top, width, height), other) for other in taken):
            return left, top
    return left, tops[0]


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return (
        one[0] < other[0] + other[2]
        and other[0] < one[0] + one[2]
        and one[1] < other[1] + other[3]
        and other[1] < one[1] + one[3]
    )


def _box(image: UInt8Array, box: Box, colour: RGB, dash: tuple[int, int] | None, thickness: int) -> None:
    left, top = round(box.left), round(box.top)
    right, bottom = round(box.left + box.width), round(box.top + box.height)
    for paint, wide in ((BLACK, thickness + 2), (colour, thickness)):  # the dark edge shows the box on its own colour
        before = wide // 2
        for line in (top, bottom):
            _stroke(image, line - before, wide, left - before, right + wide - before, paint, dash, thickness)
        for line in (left, right):
            turned = image.transpose(1, 0, 2)
            _stroke(turned, line - before, wide, top - before, bottom + wide - before, paint, dash, thickness)


def _stroke(
    image: UInt8Array,
    first_row: int,
    rows: int,
    start: int,
    end: int,
    colour: RGB,
    dash: tuple[int, int] | None,
    thickness: int,
) -> None:
    """Paints rows [first_row, first_row + rows) from column `start` to `end`, as far as they are in the image."""
    begin, stop = max(start, 0), min(end, image.shape[1])
    above, below = max(first_row, 0), min(first_row + rows, image.shape[0])
    if begin >= stop or above >= below:
        return
    columns = np.arange(begin, stop)
    if dash is not None:
        on, off = (length * thickness // 2 for length in dash)
        columns = columns[(columns - start) % (on + off) < on]
    image[above:below, columns] = colour
