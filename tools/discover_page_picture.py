"""Takes docs/images/discover_page.webp: what `protoleak discover` shows of clusters that it found.

    python tools/discover_page_picture.py

Pictures by two stand-ins for unknown generators, crops of examples/images in two colours, go through the first commands
of the guide docs/unknown_generator.md, on the small bundle of the tests, which knows neither colour. Chromium, driven
by Playwright, takes the picture of the page.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, its own folder is there instead

from protoleak.bundle.writer import write_bundle  # noqa: E402
from tests.conftest import FLOOR  # noqa: E402
from tests.tiny_bundle import tiny_bundle_files  # noqa: E402

OUT = ROOT / "docs" / "images" / "discover_page.webp"
COLOURS = {"first": (250, 250, 20), "second": (60, 200, 220)}
COUNT, SIDE = 26, 160
MOST_BYTES = 200_000


def main() -> int:
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser_path is None:
        print("no Chromium is installed to open the page with", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_bundle(folder / "BUNDLE", *tiny_bundle_files(floor=FLOOR))
        write_pictures(folder / "incoming")
        options = ["--bundle", "BUNDLE", "--engine", "onnxruntime"]
        protoleak(folder, "screen", "incoming", *options, "--out", "verdicts.jsonl", "--embeddings", "faces.parquet")
        given = ["verdicts.jsonl", *options, "--embeddings", "faces.parquet"]
        protoleak(folder, "discover", *given, "--out", "found")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--headless"])
            page = browser.new_page(viewport={"width": 1130, "height": 900}, device_scale_factor=1.25)
            page.goto((folder / "found" / "index.html").as_uri())
            shown = page.screenshot(full_page=True)
            browser.close()
    Image.open(io.BytesIO(shown)).convert("RGB").save(OUT, quality=75, method=6)
    size = OUT.stat().st_size
    print(f"{OUT.relative_to(ROOT)}: {size} bytes")
    return 0 if size <= MOST_BYTES else 1


def protoleak(folder: Path, *arguments: str) -> None:
    """Runs a command in a folder."""
    subprocess.run([sys.executable, "-m", "protoleak", *arguments], cwd=folder, check=True)


def write_pictures(folder: Path) -> None:
    """Crops of the example images in the colours of COLOURS."""
    folder.mkdir()
    random = np.random.default_rng(1)
    images = [Image.open(file).convert("L") for file in sorted((ROOT / "examples" / "images").glob("*.[jp][pn]g"))]
    for name, colour in COLOURS.items():
        for index in range(COUNT):
            image = images[index % len(images)]
            side = int(random.integers(min(image.size) // 3, min(image.size) // 2))
            left, top = (int(random.integers(0, length - side)) for length in image.size)
            crop = np.asarray(image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE)), np.float64)
            pixels = np.asarray(colour) + 0.6 * (crop - crop.mean())[..., None] + random.normal(0, 12, (SIDE, SIDE, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{name}{index:02d}.png")


if __name__ == "__main__":
    sys.exit(main())
