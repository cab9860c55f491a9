"""Replaces the images and the clip of examples/ by ones that are free to show, of the test split where there is one.

    python tools/default_bundle/examples.py --data DATA

The generators' images are copied byte for byte; the clip is made from them and from NASA's photograph, which stays.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # run as a script, its own folder is there instead

from protoleak.arrays import UInt8Array  # noqa: E402
from tools.default_bundle.sources import KNOWN, parts_of  # noqa: E402

IMAGES, CLIP = ROOT / "examples" / "images", ROOT / "examples" / "clip.mp4"
# The smallest files of the test split, since a repository carries them; gemini_3_pro_image's have over half a megabyte.
SHOWN = {
    "stable_diffusion_3": "CC0, https://github.com/faker-js/assets-person-portrait",
    "flux1_dev": "MIT, https://github.com/maximus-powers/img-gen-bias-analysis",
    "grok2_image": "MIT, https://github.com/maximus-powers/img-gen-bias-analysis",
    "sdxl_turbo": "MIT, https://github.com/maximus-powers/img-gen-bias-analysis",
}
# Made by scripts of this repository, or free already: they stay as they are.
KEPT = {
    "unknown_decoder.jpg": "made by this project's zoo: a portrait through a decoder that the bundle has never seen",
    "photograph.jpg": "public domain: NASA's portrait of Eileen Collins, as scikit-image brings it along",
}
MOST_BYTES = 1_000_000
HEIGHT, WIDTH, RATE, SECONDS, DRIFT = 360, 640, 25, 3, 20  # pixels, frames per second, pixels an image moves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="as build.py takes it")
    data = parser.parse_args().data
    for old in IMAGES.iterdir():
        if old.name not in KEPT:
            old.unlink()
    notice = ["Where the images come from, and on what terms they are shown.", ""]
    for collection in KNOWN:
        if collection.label in SHOWN:
            files = [file for file, part in parts_of(data, collection).items() if part == "test"]
            smallest = min(files, key=lambda file: file.stat().st_size)
            name = collection.label + smallest.suffix
            shutil.copyfile(smallest, IMAGES / name)
            notice.append(f"{name}: {SHOWN[collection.label]}, {smallest.name}")
    notice += [f"{name}: {text}" for name, text in KEPT.items()]
    notice.append(f"../{CLIP.name}: made from stable_diffusion_3.jpg and photograph.jpg")
    (IMAGES / "NOTICE").write_text("\n".join(notice) + "\n")
    write_clip()
    size = CLIP.stat().st_size + sum(file.stat().st_size for file in IMAGES.iterdir())
    if size > MOST_BYTES:
        raise SystemExit(f"the examples have {size:,} bytes, more than {MOST_BYTES:,}")
    print(f"wrote {IMAGES.relative_to(ROOT)} and {CLIP.relative_to(ROOT)}, {size:,} bytes")


def write_clip() -> None:
    """The portrait and the photograph side by side, drifting slowly, as a video platform compresses it."""
    with av.open(str(CLIP), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in frames():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())


def frames() -> Iterator[UInt8Array]:
    """uint8 [HEIGHT, WIDTH, 3], RGB."""
    side = HEIGHT + DRIFT
    portrait = Image.open(IMAGES / "stable_diffusion_3.jpg").convert("RGB")
    photograph = Image.open(IMAGES / "photograph.jpg").convert("RGB").crop((76, 0, 396, 320))  # the person alone
    panels = [np.asarray(image.resize((side, side), Image.Resampling.LANCZOS)) for image in (portrait, photograph)]
    left, width = (side - WIDTH // 2) // 2, WIDTH // 2
    for index in range(RATE * SECONDS):
        step = round(DRIFT * index / (RATE * SECONDS))
        yield np.concatenate([panel[step : step + HEIGHT, left : left + width] for panel in panels], axis=1)


if __name__ == "__main__":
    main()
