"""Draws the README's image, docs/images/screening.webp: a frame of an annotated video and the top of the report on it.

    python tools/readme_picture.py

Three of the images in examples/images become a short clip, which `Screener.stream` screens with the default bundle as
any video; nothing is drawn here that it did not write. The bundle was not trained on them. Chromium, driven by
Playwright, takes the image of the report.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, its own folder is there instead

import protoleak  # noqa: E402
from protoleak.arrays import UInt8Array  # noqa: E402

# Each with the square of it that is shown.
IMAGES = (
    ("grok2_image.jpg", (0, 0, 720, 720)),
    ("photograph.jpg", (76, 0, 396, 320)),  # the person, without the flag and the rocket
    ("flux1_dev.jpg", (227, 0, 995, 768)),
)
OUT = ROOT / "docs" / "images" / "screening.webp"
MOST_BYTES = 200_000
CLIP = "portraits.mp4"
PANEL, HEIGHT = 426, 720  # pixels of each image's part of a frame
RATE, SECONDS, DRIFT = 12, 6, 24  # frames per second; of the clip; pixels that an image moves meanwhile
SHOWN_AT = 5.0  # seconds: all verdicts are there
FRAME_WIDTH, REPORT_WIDTH, GAP = 1000, 640, 20  # pixels in the README's image
REPORT_VIEW = 560  # CSS pixels of the browser's window
PAPER = (255, 255, 255)


def main() -> None:
    options = parser().parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clip(folder / CLIP)
        screen(folder / CLIP, folder / "out")
        frame = frame_at(folder / "out" / "annotated.mp4", SHOWN_AT)
        report = photographed(folder / "out" / "report.html", folder / "report.png")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    composed(frame, report).save(OUT, quality=options.quality, method=6)
    size = OUT.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{OUT} has {size:,} bytes, more than {MOST_BYTES:,}: give a lower --quality")
    print(f"wrote {OUT.relative_to(ROOT)}, {size:,} bytes")


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quality", type=int, default=88, help="of the WebP file")
    return options


def write_clip(path: Path) -> None:
    """A video of the images side by side, drifting slowly, as good as lossless."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"crf": "6"})
        stream.width, stream.height, stream.pix_fmt = PANEL * len(IMAGES), HEIGHT, "yuv444p"
        for image in frames():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())


def frames() -> Iterator[UInt8Array]:
    """uint8 [HEIGHT, PANEL · images, 3], RGB."""
    side = HEIGHT + DRIFT
    images = [Image.open(ROOT / "examples/images" / name).convert("RGB").crop(box) for name, box in IMAGES]
    panels = [np.asarray(image.resize((side, side), Image.Resampling.LANCZOS)) for image in images]
    left = (side - PANEL) // 2
    for index in range(RATE * SECONDS):
        step = round(DRIFT * (1 - index / (RATE * SECONDS)))
        yield np.concatenate([panel[step : step + HEIGHT, left : left + PANEL] for panel in panels], axis=1)


def screen(clip: Path, out: Path) -> None:
    """Everything that `protoleak screen CLIP --out OUT --annotate` writes."""
    os.chdir(clip.parent)  # the clip's name alone stands in the report
    with (
        protoleak.load(engine="onnxruntime") as screener,
        protoleak.open_output_folder(out, screener, annotate=True) as folder,
    ):
        for event in screener.stream(clip.name, sinks=[folder]):
            if isinstance(event, protoleak.TrackEvent):
                print(f"track {event.track}: {event.track_verdict.label} {event.track_verdict.nearest}")


def frame_at(video: Path, seconds: float) -> Image.Image:
    """The first frame that is shown at this time or later."""
    with av.open(str(video)) as file:
        for frame in file.decode(video=0):
            if frame.time is not None and frame.time >= seconds:
                image: Image.Image = frame.to_image()
                return image
    raise SystemExit(f"{video} ends before {seconds} s")


def photographed(page: Path, png: Path) -> Image.Image:
    """The top of a page, of the width and height that it has in the README's image."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("no Chromium is installed to open the report with")
    height = round(frame_height() * REPORT_VIEW / REPORT_WIDTH)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        scale = REPORT_WIDTH / REPORT_VIEW
        window = browser.new_page(viewport={"width": REPORT_VIEW, "height": height}, device_scale_factor=scale)
        window.goto(page.as_uri())
        window.screenshot(path=png)
        browser.close()
    return Image.open(png).convert("RGB")


def frame_height() -> int:
    return round(FRAME_WIDTH * HEIGHT / (PANEL * len(IMAGES)))


def composed(frame: Image.Image, report: Image.Image) -> Image.Image:
    """The frame on the left and the report on the right."""
    canvas = Image.new("RGB", (FRAME_WIDTH + GAP + REPORT_WIDTH, frame_height()), PAPER)
    canvas.paste(frame.resize((FRAME_WIDTH, frame_height()), Image.Resampling.LANCZOS), (0, 0))
    canvas.paste(report.crop((0, 0, REPORT_WIDTH, frame_height())), (FRAME_WIDTH + GAP, 0))
    return canvas


if __name__ == "__main__":
    main()
