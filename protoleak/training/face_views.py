"""Views of an image of a face: what may have happened to it between its maker and its reader.

Every class passes through the same distribution of alignments, scales, resamplers, retouching and writers, so that
none of these gives a class away. A view is drawn as plain data from a seed, the image's hash and a number; making it
gives the image as it would arrive and where the face is in it, and the looks are framed afterwards as deployed.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from typing import Literal, TypeVar

import cv2
import msgspec
import numpy as np
from PIL import Image, ImageFile

from protoleak.arrays import Float64Array, UInt8Array
from protoleak.faces.base import Face
from protoleak.images.film import through_video
from protoleak.images.framing import Box

Style = Literal["whole", "loose", "tight", "ffhq"]
Name = TypeVar("Name", bound=str)

STYLES: tuple[tuple[Style, float], ...] = (("whole", 0.3), ("loose", 0.35), ("tight", 0.1), ("ffhq", 0.25))
SMALLEST_FACE, LARGEST_FACE = 48.0, 380.0  # longer side of the face's box in the view, in pixels, log-uniform
LARGEST_ENLARGEMENT = 1.6
SMALLEST_SIDE, LARGEST_SIDE = 96, 1280  # of a view before its second resize, in pixels, where the image allows it
UNSCALED_PROBABILITY = 0.15
RETOUCH_PROBABILITY, SECOND_PROBABILITY, RESIZED_AGAIN = 0.3, 0.35, 0.5
# What was kept small and is shown large, as film on the web often is: without these, softness looks like a generator.
SOFTENED_PROBABILITY, SOFTEST, LEAST_SOFT = 0.25, 0.3, 0.85
LOWEST_QUALITY, HIGHEST_QUALITY = 45, 97
FINEST_FILM, COARSEST_FILM = 18, 38  # constant rate factors
FILTERS = ("bilinear", "bicubic", "lanczos", "box", "hamming", "cv_area", "cv_linear", "cv_cubic")
PILLOW_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
CV_FILTERS = {"cv_area": cv2.INTER_AREA, "cv_linear": cv2.INTER_LINEAR, "cv_cubic": cv2.INTER_CUBIC}
WriterKind = Literal["jpeg", "cv_jpeg", "webp", "png", "libx264", "libx265"]
WRITERS: tuple[tuple[WriterKind, float], ...] = (
    ("jpeg", 0.42), ("cv_jpeg", 0.1), ("webp", 0.13), ("png", 0.13), ("libx264", 0.14), ("libx265", 0.08),
)  # fmt: skip
RETOUCHES = ("unsharp", "denoise", "median", "blur", "motion", "gamma", "contrast", "colour", "grey", "noise")


class Writer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One round trip through a file format. `quality` is JPEG's, WebP's, or the CRF of a video codec.

    Attributes:
        kind: one of WRITERS.
        subsampling: of the chroma, as Pillow numbers it: 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0.
        shift: of the image from frame to frame of a film, in pixels.
    """

    kind: WriterKind
    quality: int = 0
    subsampling: int = 2
    progressive: bool = False
    shift: tuple[int, int] = (0, 0)


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
        view, place = _cut_out(image, face, self)
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
        return view, _jittered(place, x, y, math.exp(log_scale))


def draw_face_view(seed: int, sha256: str, index: int) -> FaceView:
    """View number `index` of the image with that content; the same arguments give the same plan."""
    key = np.frombuffer(hashlib.sha256(f"{seed} {sha256} {index}".encode()).digest()[:16], dtype=np.uint64)
    random = np.random.Generator(np.random.Philox(key=key))
    style = _pick(random, STYLES)
    if style == "ffhq":
        shift_x, shift_y = (float(shift) for shift in random.normal(0, 0.015, 2))
        region = (float(random.uniform(0.92, 1.08)), 1.0, shift_x, shift_y)
    else:
        low, high = (1.35, 1.9) if style == "tight" else (1.8, 4.5)
        region = (
            float(math.exp(random.uniform(math.log(low), math.log(high)))),
            float(math.exp(random.uniform(math.log(0.7), math.log(1.4)))),
            float(random.uniform(0.35, 0.65)),
            float(random.uniform(0.35, 0.65)),
        )
    scaled = random.random() >= UNSCALED_PROBABILITY
    side = float(math.exp(random.uniform(math.log(SMALLEST_FACE), math.log(LARGEST_FACE))))
    retouches: list[tuple[str, float]] = []
    while random.random() < RETOUCH_PROBABILITY and len(retouches) < 3:
        retouches.append((RETOUCHES[int(random.integers(len(RETOUCHES)))], float(random.uniform(-1, 1))))
    softened = None
    if random.random() < SOFTENED_PROBABILITY:
        share = float(math.exp(random.uniform(math.log(SOFTEST), math.log(LEAST_SOFT))))
        softened = (share, FILTERS[int(random.integers(len(FILTERS)))], FILTERS[int(random.integers(len(FILTERS)))])
    again = random.random() < SECOND_PROBABILITY
    resized_again = again and random.random() < RESIZED_AGAIN
    return FaceView(
        style=style,
        region=region,
        face_side=side if scaled else None,
        resampler=FILTERS[int(random.integers(len(FILTERS)))],
        flip=bool(random.random() < 0.5),
        softened=softened,
        retouches=tuple(retouches),
        writer=_draw_writer(random),
        second_scale=float(random.uniform(0.5, 1.15)) if resized_again else None,
        second_resampler=FILTERS[int(random.integers(len(FILTERS)))],
        second_writer=_draw_writer(random) if again else None,
        jitter=_draw_jitter(random),
        noise_seed=int(random.integers(2**62)),
    )


def moved(face: Face, matrix: Float64Array) -> Face:
    """A face after an affine map float64 [2, 3] of its image. The box keeps its shape: its centre is mapped, and its
    sides are multiplied with the square root of the map's determinant, which is exact for similarities."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    x, y = matrix[:, :2] @ np.array(face.box.centre) + matrix[:, 2]
    width, height = face.box.width * scale, face.box.height * scale
    landmarks = face.landmarks
    if landmarks is not None:
        points = np.array(landmarks) @ matrix[:, :2].T + matrix[:, 2]
        landmarks = tuple((float(one), float(other)) for one, other in points)
    return Face(Box(float(x - width / 2), float(y - height / 2), width, height), face.score, landmarks)


def resize(view: UInt8Array, width: int, height: int, resampler: str) -> UInt8Array:
    """uint8 [h, w, 3] to that size."""
    if resampler in PILLOW_FILTERS:
        return np.asarray(Image.fromarray(view).resize((width, height), PILLOW_FILTERS[resampler]))
    method = CV_FILTERS[resampler]
    if method == cv2.INTER_AREA and width > view.shape[1]:
        method = cv2.INTER_LINEAR
    return np.asarray(cv2.resize(view, (width, height), interpolation=method))


def write(view: UInt8Array, writer: Writer) -> UInt8Array:
    """Through a file format and back. Video codecs give even sides, by leaving the last row or column out."""
    if writer.kind == "png":
        return view
    if writer.kind == "libx264" or writer.kind == "libx265":
        return through_video(view, writer.kind, writer.quality, writer.shift)
    if writer.kind == "cv_jpeg":
        settings = [cv2.IMWRITE_JPEG_QUALITY, writer.quality, cv2.IMWRITE_JPEG_PROGRESSIVE, int(writer.progressive)]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(view, cv2.COLOR_RGB2BGR), settings)
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None, "OpenCV has just written it"
        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    buffer = io.BytesIO()
    if writer.kind == "jpeg":
        # Pillow holds a progressive file in a buffer that it reckons by the area: too small for what is nearly noise.
        ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 2 * view.size)
        Image.fromarray(view).save(
            buffer, "JPEG", quality=writer.quality, subsampling=writer.subsampling, progressive=writer.progressive
        )
    else:
        Image.fromarray(view).save(buffer, "WEBP", quality=writer.quality, method=2)
    return np.asarray(Image.open(buffer).convert("RGB"))


def retouch(view: UInt8Array, kind: str, amount: float, random: np.random.Generator) -> UInt8Array:
    """What phones and editors do; `amount` from −1 to 1 is its strength (and direction, where there is one)."""
    strength = abs(amount)
    if kind == "unsharp":
        soft = cv2.GaussianBlur(view, (0, 0), 0.7 + 1.3 * strength)
        return np.asarray(cv2.addWeighted(view, 1.3 + strength, soft, -0.3 - strength, 0))
    if kind == "denoise":
        return np.asarray(cv2.bilateralFilter(view, 5, 8 + 25 * strength, 2.0))
    if kind == "median":
        return np.asarray(cv2.medianBlur(view, 3))
    if kind == "blur":
        return np.asarray(cv2.GaussianBlur(view, (0, 0), 0.4 + 0.9 * strength))
    if kind == "motion":
        return _moved_while_exposed(view, 2 + 5 * strength, math.pi * amount)
    if kind == "gamma":
        table = np.clip(255 * (np.arange(256) / 255) ** math.exp(0.4 * amount), 0, 255).astype(np.uint8)
        return np.asarray(cv2.LUT(view, table))
    values = view.astype(np.float32)
    if kind == "contrast":
        mean = values.mean()
        values = mean + math.exp(0.35 * amount) * (values - mean)
    elif kind == "colour":
        values *= np.exp(random.uniform(-0.12, 0.12, 3)).astype(np.float32)
        grey = values.mean(axis=2, keepdims=True)
        values = grey + math.exp(0.4 * amount) * (values - grey)
    elif kind == "grey":
        values = np.repeat((values @ np.array([0.299, 0.587, 0.114], np.float32))[..., None], 3, axis=2)
    elif kind == "noise":
        values += random.normal(0, 1 + 5 * strength, values.shape).astype(np.float32)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def ffhq_matrix(landmarks: Float64Array, zoom: float, shift: tuple[float, float], side: float) -> Float64Array:
    """The similarity [2, 3] of FFHQ's alignment, from YuNet's five landmarks to a square of that side."""
    right_eye, left_eye, _, right_mouth, left_mouth = landmarks
    if right_eye[0] > left_eye[0]:  # a flipped image
        right_eye, left_eye, right_mouth, left_mouth = left_eye, right_eye, left_mouth, right_mouth
    eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
    eye_to_eye, eye_to_mouth = left_eye - right_eye, mouth - eyes
    x = eye_to_eye - np.array([-eye_to_mouth[1], eye_to_mouth[0]])
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8) / max(np.hypot(*x), 1e-6) * zoom
    y = np.array([-x[1], x[0]])
    centre = eyes + eye_to_mouth * 0.1 + 2 * shift[0] * x + 2 * shift[1] * y
    rows = np.stack([x, y]) / (x @ x) * (side / 2)
    return np.concatenate([rows, (side / 2 - rows @ centre)[:, None]], axis=1)


def _cut_out(image: UInt8Array, face: Face, plan: FaceView) -> tuple[UInt8Array, Face]:
    height, width = image.shape[:2]
    if plan.style == "ffhq" and face.landmarks is not None:
        zoom, _, shift_x, shift_y = plan.region
        unit = ffhq_matrix(np.array(face.landmarks), zoom, (shift_x, shift_y), 1.0)
        scale = float(np.hypot(*unit[0, :2]))  # of a square of side 1, per pixel of the image
        native = 1 / scale
        side = (
            native
            if plan.face_side is None
            else min(plan.face_side / (_side(face) * scale), native * LARGEST_ENLARGEMENT)
        )
        side = int(min(max(side, SMALLEST_SIDE), LARGEST_SIDE))
        over = 2 * side if 2 * side < 1.5 * native else side  # FFHQ is warped large, then reduced by Lanczos
        matrix = unit * over
        source, place = image, face
        reduce = native / over
        if reduce > 2:  # keeps the warp from aliasing
            small = (max(1, round(width * 1.5 / reduce)), max(1, round(height * 1.5 / reduce)))
            source = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA))
            matrix = matrix @ np.array([[width / small[0], 0, 0], [0, height / small[1], 0], [0, 0, 1]])
        warped = cv2.warpAffine(source, matrix, (over, over), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        place = moved(face, unit * side)
        return (np.asarray(warped) if over == side else resize(np.asarray(warped), side, side, "lanczos")), place
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    if plan.style in ("loose", "tight") or (plan.style == "ffhq"):
        longer, aspect, share_x, share_y = plan.region if plan.style != "ffhq" else (2.4, 1.0, 0.5, 0.5)
        wide = longer * _side(face) * min(1.0, aspect)
        tall = longer * _side(face) * min(1.0, 1 / aspect)
        x, y = face.box.centre
        left, top = max(0.0, x - share_x * wide), max(0.0, y - share_y * tall)
        right, bottom = min(float(width), left + wide), min(float(height), top + tall)
        if right - left < 32 or bottom - top < 32:
            left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    box = tuple(round(edge) for edge in (left, top, right, bottom))
    region = np.ascontiguousarray(image[box[1] : box[3], box[0] : box[2]])
    place = moved(face, np.array([[1.0, 0, -box[0]], [0, 1.0, -box[1]]]))
    high, wide_px = region.shape[:2]
    scale = 1.0 if plan.face_side is None else min(plan.face_side / _side(face), LARGEST_ENLARGEMENT)
    scale = max(scale, min(SMALLEST_SIDE / min(high, wide_px), LARGEST_ENLARGEMENT))
    scale = min(scale, LARGEST_SIDE / max(high, wide_px))
    if scale != 1.0:
        new = max(32, round(wide_px * scale)), max(32, round(high * scale))
        region = resize(region, *new, plan.resampler)
        place = moved(place, np.array([[new[0] / wide_px, 0, 0], [0, new[1] / high, 0]]))
    return region, place


def _softened(view: UInt8Array, share: float, down: str, up: str) -> UInt8Array:
    height, width = view.shape[:2]
    return resize(resize(view, max(16, round(width * share)), max(16, round(height * share)), down), width, height, up)


def _moved_while_exposed(view: UInt8Array, length: float, angle: float) -> UInt8Array:
    """Blurred along a line of that length, in pixels, in that direction."""
    reach = math.ceil(length / 2)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for along in np.linspace(-length / 2, length / 2, 8 * reach):
        kernel[round(reach + along * math.sin(angle)), round(reach + along * math.cos(angle))] += 1
    return np.asarray(cv2.filter2D(view, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT))


def _side(face: Face) -> float:
    """The longer side of its box."""
    return max(face.box.width, face.box.height)


def _jittered(face: Face, x: float, y: float, scale: float) -> Face:
    """A face as another detector, or another frame, might have found it."""
    centre_x, centre_y = face.box.centre
    width, height = face.box.width * scale, face.box.height * scale
    left, top = centre_x + x * _side(face) - width / 2, centre_y + y * _side(face) - height / 2
    return Face(Box(left, top, width, height), face.score, face.landmarks)


def _draw_jitter(random: np.random.Generator) -> tuple[float, float, float]:
    x, y, log_scale = random.normal(0, (0.03, 0.03, 0.06))
    return float(x), float(y), float(log_scale)


def _draw_writer(random: np.random.Generator) -> Writer:
    kind = _pick(random, WRITERS)
    quality = int(random.integers(LOWEST_QUALITY, HIGHEST_QUALITY + 1))
    if kind in ("libx264", "libx265"):
        quality = int(random.integers(FINEST_FILM, COARSEST_FILM + 1))
    return Writer(
        kind=kind,
        quality=quality,
        subsampling=int(random.choice([0, 1, 2], p=[0.35, 0.1, 0.55])),
        progressive=bool(random.random() < 0.3),
        shift=(int(random.integers(-3, 4)), int(random.integers(-3, 4))),
    )


def _pick(random: np.random.Generator, choices: Sequence[tuple[Name, float]]) -> Name:
    names, shares = zip(*choices, strict=True)
    chosen: Name = names[int(np.searchsorted(np.cumsum(shares), random.random() * sum(shares), side="right"))]
    return chosen
