"""What a face costs outside the networks, stage by stage, and what it cost before: in one process, in turns.

The stages are wall time of one thread, which is how a single image is prepared. Beside them stand the call that a
pipeline makes, `prepare_image`, from bytes to looks with everything in between; libjpeg-turbo's own part of the
decoding; and whether hashing in a second thread while the first decodes would be faster.

"Before" is how 0.1 did it: each JPEG decoded twice (by Pillow for its pixels, at an eighth of its size for libjpeg's
warnings), both axes resized by Pillow, all looks asked for content, a thread started for each run's time limit. Both
ways must give the same pixels, looks and findings, or this script fails. The face detector is a network and not
counted; where a bundle looks at faces, a box in the middle stands for what it finds.

    python -m benchmarks.outside --json benchmarks/results/outside.json
    python -m benchmarks.outside examples/images/*.jpg --looks face,native,image
    python -m benchmarks.outside --jpegs 2000     # only compares: JPEGs of every kind, whole and damaged, with Pillow
"""

from __future__ import annotations

import argparse
import hashlib
import io
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from protoleak.arrays import UInt8Array
from protoleak.bench.inputs import drawn_images
from protoleak.environment.machine import describe_machine
from protoleak.errors import MediaError
from protoleak.files import write_whole
from protoleak.images import content
from protoleak.images.claims.read import read_claims
from protoleak.images.decode import decode
from protoleak.images.formats import jpeg
from protoleak.images.formats.examine import examine
from protoleak.images.framing import Framing, stand_in
from protoleak.images.open import open_image
from protoleak.runtime.engines.time_limit import time_limit
from protoleak.runtime.prepared import Prepared, framed_whole
from protoleak.runtime.preparing import prepare_image
from protoleak.strict_json import json_bytes
from tests.images.jpegs import jpegs

TARGET_MILLISECONDS = 1.5
RUNS_OF_A_FACE = 2  # of the two graphs, each with a time limit
Clock = Callable[[str], None]


def before(data: bytes, framing: Framing, tick: Clock) -> tuple[UInt8Array, str | None]:
    """The looks at an image, and what they lack, as 0.1 came to them."""
    hashlib.sha256(data).hexdigest()
    examine(data)
    for _ in jpeg.segments(data):  # once more, for its EXIF
        pass
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    tick("hash and header")
    jpeg.check_decoding(data, usual=True)
    image.load()
    tick("decode")
    read_claims(image, data)
    tick("claims")
    pixels = np.asarray(image)  # for the face detector
    shown = Image.fromarray(pixels)
    width, height = shown.size
    box = stand_in(width, height)
    looks = []
    for look in framing.looks:
        part = shown
        if look != "image":
            left, top, side = framing.square(look, width, height, box)
            part = Image.fromarray(np.asarray(shown.crop((left, top, left + side, top + side))))
        looks.append(_resized_by_pillow(part, framing.image_size))
    stacked = np.stack(looks)
    tick("frame")
    lacking = _lacking_by_all(stacked)
    tick("content")
    for _ in range(RUNS_OF_A_FACE * len(looks)):
        timer = threading.Timer(60.0, lambda: None)
        timer.daemon = True
        timer.start()
        timer.cancel()
    tick("time limits")
    return stacked, lacking


def after(data: bytes, framing: Framing, tick: Clock) -> tuple[UInt8Array, str | None]:
    """The same as it is now: the steps of `ImagePipeline.prepare`."""
    hashlib.sha256(data).hexdigest()
    declared = jpeg.examine(data)
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    tick("hash and header")
    pixels = jpeg.decode(data, image.mode, usual=declared.usual)
    assert pixels is not None, "grey or RGB, as whoever gives other images here is told"
    tick("decode")
    read_claims(image, data, declared.coded)
    tick("claims")
    looks = framing.frame(pixels, None)
    tick("frame")
    lacking = content.lacking(looks, min(pixels.shape[:2]))
    tick("content")
    for _ in range(RUNS_OF_A_FACE * len(looks)):
        with time_limit(60.0, lambda: None):
            pass
    tick("time limits")
    return looks, lacking


def as_called(data: bytes, framing: Framing, tick: Clock) -> Prepared:
    """What a pipeline calls for one image that is judged whole."""
    prepared = prepare_image(data, "image", upright=False, decode=decode, frame=partial(framed_whole, framing))
    tick("prepare_image")
    return prepared


def by_libjpeg(data: bytes, _framing: Framing, tick: Clock) -> UInt8Array:
    """Nothing but libjpeg-turbo's own decoding."""
    pixels = np.asarray(simplejpeg.decode_jpeg(data, "RGB"))
    tick("libjpeg")
    return pixels


class Hashing:
    """Hash and pixels of one image, hashed before decoding, or in a second thread meanwhile."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)

    def before(self, data: bytes, _framing: Framing, _tick: Clock) -> tuple[str, object]:
        """In this thread."""
        return hashlib.sha256(data).hexdigest(), decode(data, False)

    def beside(self, data: bytes, _framing: Framing, _tick: Clock) -> tuple[str, object]:
        """In the other."""
        digest = self._pool.submit(lambda: hashlib.sha256(data).hexdigest())
        decoded = decode(data, False)
        return digest.result(), decoded


def _resized_by_pillow(image: Image.Image, size: int) -> UInt8Array:
    width, height = image.size
    stretched = int(size * max(width, height) / min(width, height))
    new_width, new_height = (size, stretched) if width <= height else (stretched, size)
    narrowed = image.resize((new_width, height), Image.Resampling.BILINEAR)
    resized = narrowed.resize((new_width, new_height), Image.Resampling.BILINEAR)
    left, top = round((new_width - size) / 2.0), round((new_height - size) / 2.0)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def _lacking_by_all(looks: UInt8Array) -> str | None:
    luma = [cv2.cvtColor(look, cv2.COLOR_RGB2GRAY).astype(np.float32) for look in looks]
    contrast = max(float(look.std()) for look in luma)
    detail = max(float(np.abs(look - cv2.GaussianBlur(look, (0, 0), content.DETAIL_SCALE)).mean()) for look in luma)
    if contrast >= content.LOWEST_CONTRAST and detail >= content.LOWEST_DETAIL:
        return None
    return content.lacking(looks, content.SMALLEST_SIDE)


def stages(way: Callable[[bytes, Framing, Clock], object], data: bytes, framing: Framing) -> dict[str, float]:
    """Milliseconds of each stage of one image, and "all"."""
    spent: dict[str, float] = {}
    started = last = time.perf_counter()

    def tick(stage: str) -> None:
        nonlocal last
        now = time.perf_counter()
        spent[stage] = 1000 * (now - last)
        last = now

    way(data, framing, tick)
    return spent | {"all": 1000 * (time.perf_counter() - started)}


def compare_jpegs(count: int) -> None:
    """Opens so many made JPEGs, and compares each with Pillow and with libjpeg's warnings."""
    opened = refused = 0
    for name, data in jpegs(count):
        try:
            jpeg.check_part(data)
            warning = None
        except MediaError as error:
            warning = str(error)
        try:
            pixels = open_image(data).pixels
        except MediaError:
            refused += 1
            continue
        opened += 1
        with Image.open(io.BytesIO(data)) as image:
            same = np.array_equal(pixels, np.asarray(image.convert("RGB")))
        if warning or not same:
            raise SystemExit(f"{name}: {warning or 'not the pixels that Pillow has'}")
    print(f"{count} JPEGs: {opened} with Pillow's pixels, {refused} refused; none that libjpeg warns of was opened")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("images", nargs="*", type=Path, help="JPEGs, grey or RGB; left out, drawn ones of 512×512")
    parser.add_argument("--looks", default="image", help="of the bundle, as face,native,image")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--jpegs", type=int, help="only compare so many made JPEGs with Pillow")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    if options.jpegs:
        compare_jpegs(options.jpegs)
        return
    cv2.setNumThreads(1)
    framing = Framing(tuple(options.looks.split(",")))
    files = [path.read_bytes() for path in options.images] or drawn_images(4)
    for data in files:
        old, new = before(data, framing, lambda _: None), after(data, framing, lambda _: None)
        if not np.array_equal(old[0], new[0]) or old[1] != new[1]:
            raise SystemExit("the two ways differ")
    hashing = Hashing()
    ways: dict[str, Callable[[bytes, Framing, Clock], object]] = {
        "after": after,
        "as called": as_called,
        "libjpeg": by_libjpeg,
        "hash before": hashing.before,
        "hash beside": hashing.beside,
    }
    spent: dict[str, list[dict[str, float]]] = {name: [] for name in ("before", *ways)}
    for _ in range(options.rounds):
        for data in files:
            for name, way in ways.items():  # each behind the same work, as behind a network: its caches are cold
                old_times = stages(before, data, framing)
                spent[name].append(stages(way, data, framing))
                if name == "after":
                    spent["before"].append(old_times)
    print(f"{len(files)} JPEGs, looks {options.looks}, one thread, {options.rounds} rounds in turns; milliseconds")
    print(f"{'stage':<16}{'before':>10}{'after':>10}{'ratio':>8}      (minimum before, after)")
    rows = []
    for stage in spent["before"][0]:
        was, now = ([one[stage] for one in spent[way]] for way in ("before", "after"))
        ratio = statistics.median(a / b for a, b in zip(was, now, strict=True))
        row = {
            "stage": stage,
            "before_ms": statistics.median(was),
            "after_ms": statistics.median(now),
            "ratio": ratio,
            "before_minimum_ms": min(was),
            "after_minimum_ms": min(now),
        }
        rows.append(row)
        print(
            f"{stage:<16}{row['before_ms']:>10.3f}{row['after_ms']:>10.3f}{ratio:>8.2f}      "
            f"({min(was):.3f}, {min(now):.3f})"
        )
    others = {name: [one["all"] for one in spent[name]] for name in ways if name != "after"}
    for name, times in others.items():
        print(f"{name:<16}{'':>10}{statistics.median(times):>10.3f}{'':>8}      ({'':5}  {min(times):.3f})")
    beside = statistics.median(a / b for a, b in zip(others["hash beside"], others["hash before"], strict=True))
    print(f"hash beside decoding takes {beside:.2f} × the time of hash before decoding, on this machine's processors")
    result = {
        "what": "milliseconds outside the networks for one face, in one thread; medians, and medians of paired ratios",
        "images": [str(path) for path in options.images] or "4 drawn JPEGs of 512×512, quality 90",
        "looks": options.looks,
        "target_ms": TARGET_MILLISECONDS,
        "stages": rows,
        "others": [
            {"what": name, "median_ms": statistics.median(times), "minimum_ms": min(times)}
            for name, times in others.items()
        ],
        "hash_beside_ratio": beside,
        "machine": describe_machine(),
    }
    if options.json:
        write_whole(options.json, [json_bytes(result)])


if __name__ == "__main__":
    main()
