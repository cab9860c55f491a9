"""Takes docs/images/serve_page.webp: what the page of `protoleak serve` shows of an image.

    python tools/serve_page_picture.py

The default bundle judges an image of examples/images that it was not trained on; nothing is drawn here that the page
did not show. Chromium, driven by Playwright, takes the picture.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGE = ROOT / "examples" / "images" / "grok2_image.jpg"
OUT = ROOT / "docs" / "images" / "serve_page.webp"
ADDRESS = re.compile(r"serving on (http://\S+?):? ")
MOST_BYTES = 200_000
WAIT = 120_000  # milliseconds


def main() -> int:
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser_path is None:
        print("no Chromium is installed to open the page with", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "protoleak", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        found = next(filter(None, map(ADDRESS.match, server.stderr)), None)
        try:
            if found is None:
                return 2  # it has said why
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--headless"])
                page = browser.new_page(viewport={"width": 1130, "height": 900}, device_scale_factor=1.5)
                page.goto(found[1])
                page.set_input_files("#files", IMAGE)
                page.wait_for_selector(".card.judged", timeout=WAIT)
                shown = page.locator(".card").screenshot()
                browser.close()
        finally:
            server.terminate()
    Image.open(io.BytesIO(shown)).convert("RGB").save(OUT, quality=80, method=6)
    size = OUT.stat().st_size
    print(f"{OUT.relative_to(ROOT)}: {size} bytes")
    return 0 if size <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
