"""Takes the pictures of the guide docs/unknown_generator.md: of the pages and the terminal that its reader meets.

    python tools/guide_pictures.py

Its commands run as they are written there, on the small bundle of the tests. Stand-ins for a newcomer, for a generator
that is known and for photographs are crops of examples/images in four colours, since that bundle tells classes by their
colour. Chromium, driven by Playwright, takes the pictures.
"""

from __future__ import annotations

import html
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, its own folder is there instead

from protoleak.bundle.writer import write_bundle  # noqa: E402
from tests.conftest import FLOOR  # noqa: E402
from tests.tiny_bundle import CAMERA, IMAGE_SIZE, make_image, tiny_bundle_files  # noqa: E402

GUIDE = ROOT / "docs" / "unknown_generator.md"
OUT = ROOT / "docs" / "images"
MOST_BYTES = 330_000  # all of them together
SIDE = 160
AT_THE_GATE = 40  # images that the server is sent
PNG = {"Content-Type": "image/png"}
COLUMNS = 108  # of the terminal
ADDRESS = re.compile(r"serving on (http://\S+?):? ")
SHOWN_OF_INSPECT = ("Since", "Accusation", "What it is", "What it was before", "Enrolled: lemon", "Recalibrated")
SHOWN_LINES = 7  # of each such section
TERMINAL = """<meta charset="utf-8"><style>body { margin: 0; background: #fff }
pre { display: inline-block; width: 1040px; margin: 0; padding: 18px 22px; background: #16191d; color: #d7dce2;
font: 14px/1.5 "DejaVu Sans Mono", monospace; white-space: pre-wrap }
b { color: #fff } i { color: #ff9d8f; font-style: normal }
</style><pre>"""


@dataclass(frozen=True)
class Kind:
    """Crops of the example images in one colour.

    Attributes:
        noise: deviation of what is added to each pixel.
        contrast: factor on what the crop shows.
    """

    name: str
    colour: tuple[int, int, int]
    count: int
    noise: float
    contrast: float


INCOMING = (
    Kind("a", (250, 250, 20), 34, noise=6, contrast=0.2),  # a newcomer
    Kind("c", (112, 128, 225), 22, noise=34, contrast=0.2),  # photographs that the bundle doesn't recognise
    Kind("d", (190, 96, 66), 12, noise=26, contrast=0.03),  # by a generator that it knows
    Kind("e", (125, 130, 235), 20, noise=24, contrast=0.2),  # photographs that it does, and drift
)


def main() -> int:
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser_path is None:
        print("no Chromium is installed to open the pages with", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        prepare(folder)
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--headless"])
        said = {line: run(folder, line) for line in commands()}
        take(browser, folder, said)
        browser.close()
    sizes = {file.name: file.stat().st_size for file in sorted(OUT.glob("guide_*.webp"))}
    print("\n".join(f"{size:>8,} bytes  {name}" for name, size in sizes.items()))
    return 0 if sum(sizes.values()) <= MOST_BYTES else 1


def commands() -> list[str]:
    """Those of the guide, but for what runs until it is stopped or asks that."""
    blocks = re.findall(r"^```\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("protoleak ") and not line.startswith("protoleak serve")]


def prepare(folder: Path) -> None:
    """The bundle and the folders that the guide starts with."""
    write_bundle(folder / "BUNDLE", *tiny_bundle_files(floor=FLOOR))
    (folder / "incoming").mkdir()
    random = np.random.default_rng(1)
    for kind in INCOMING:
        for index, image in enumerate(crops(kind, kind.count, random)):
            image.save(folder / "incoming" / f"{kind.name}{index:02d}.png")
    for place, number, count in (("cameras", CAMERA, 100), ("mine/dawn", 0, 12), ("mine/moss", 1, 12)):
        (folder / place).mkdir(parents=True)
        for index in range(count):
            pixels = make_image(number, 3000 + index, IMAGE_SIZE, IMAGE_SIZE)
            Image.fromarray(pixels).save(folder / place / f"{index:03d}.png")


def crops(kind: Kind, count: int, random: np.random.Generator) -> Iterator[Image.Image]:
    """Squares of the example images in turn."""
    images = [Image.open(file).convert("L") for file in sorted((ROOT / "examples" / "images").glob("*.[jp][pn]g"))]
    for index in range(count):
        yield crop(images[index % len(images)], kind, random)


def crop(image: Image.Image, kind: Kind, random: np.random.Generator) -> Image.Image:
    """A random square of a grey image, in a colour."""
    side = int(random.integers(min(image.size) // 3, min(image.size) // 2))
    left, top = (int(random.integers(0, length - side)) for length in image.size)
    part = np.asarray(image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE)), np.float64)
    shown = np.asarray(kind.colour) + kind.contrast * (part - part.mean())[..., None]
    return Image.fromarray(np.clip(shown + random.normal(0, kind.noise, shown.shape), 0, 255).astype(np.uint8))


def run(folder: Path, line: str, expected: int = 0) -> str:
    """What a command says on both streams."""
    arguments = [sys.executable, "-m", *shlex.split(line)]
    done = subprocess.run(
        arguments,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": str(COLUMNS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != expected:
        raise SystemExit(f"{line}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def take(browser: Browser, folder: Path, said: dict[str, str]) -> None:
    """All pictures."""
    lines = list(said)

    def line_with(words: str) -> str:
        return next(line for line in lines if words in line)

    with opened(browser, (folder / "report" / "report.html").as_uri(), 1130, 1000) as page:
        last = page.locator("tr").filter(has_text="like the calibration").bounding_box()
        assert last is not None
        save(page.screenshot(clip={"x": 0, "y": 0, "width": 1130, "height": last["y"] + last["height"] + 4}), "report")
    with opened(browser, (folder / "found" / "index.html").as_uri(), 1130, 900) as page:
        save(page.screenshot(full_page=True), "discover")
    marked = next(
        one["number"]
        for one in json.loads((folder / "found/clusters.json").read_text())["clusters"]
        if one["near_cameras"]
    )
    refused = f"protoleak enrol BUNDLE --data found --cluster {marked} --photographs cameras --out refused"
    enrolled = line_with("--generator lemon")
    terminal(browser, "enrol", [(refused, run(folder, refused, 2)), (enrolled, said[enrolled])])
    recalibrated = line_with("recalibrate")
    terminal(browser, "recalibrate", [(recalibrated, said[recalibrated])])
    inspected = line_with("inspect")
    signed = [line for line in lines if line.startswith("protoleak sign")]
    spoken = [(line, said[line]) for line in signed] + [(inspected, parts(said[inspected]))]
    terminal(browser, "signed", spoken)
    with opened(browser, (folder / "again" / "report.html").as_uri(), 1130, 1000) as page:
        card = page.locator("article, .card, section").filter(has_text="known: lemon").first
        save(card.screenshot(), "again")
    serve(browser, folder)


def parts(inspected: str) -> str:
    """The sections of `inspect` that are about signatures and additions; "…" for the others."""
    sections = inspected.strip().split("\n\n")
    kept = [index == 0 or one.startswith(SHOWN_OF_INSPECT) for index, one in enumerate(sections)]
    shown = [shortened(one) if keep else "…" for one, keep in zip(sections, kept, strict=True)]
    return "\n\n".join(one for index, one in enumerate(shown) if index == 0 or one != "…" or shown[index - 1] != "…")


def shortened(section: str) -> str:
    lines = section.splitlines()
    return "\n".join([*lines[:SHOWN_LINES], "  …"] if len(lines) > SHOWN_LINES else lines)


def serve(browser: Browser, folder: Path) -> None:
    """The server's page with an image of the newcomer, and what it says of drift."""
    line = next(line for line in GUIDE.read_text().splitlines() if line.startswith("protoleak serve"))
    command = [sys.executable, "-m", *shlex.split(line), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            address = next(filter(None, map(ADDRESS.match, server.stderr)))[1]
            with opened(browser, address, 1130, 1200) as page:
                page.locator("#accused", has_text="lemon").wait_for()  # the page's policy forbids evaluating a string
                save(page.screenshot(clip={"x": 0, "y": 0, "width": 1130, "height": 600}), "serve")
            for image in crops(INCOMING[-1], AT_THE_GATE, np.random.default_rng(1)):
                encoded = io.BytesIO()
                image.save(encoded, "PNG")
                ask(f"{address}/v1/screen?source=gate", encoded.getvalue())
            known = json.loads(ask(f"{address}/v1/drift"))
            metrics = ask(f"{address}/v1/metrics").decode()
        finally:
            server.terminate()
    gate = json.dumps({"data": [one for one in known["data"] if one["source"] == "gate"]}, indent=2)
    evidence = "\n".join(one for one in metrics.splitlines() if one.startswith("protoleak_drift"))
    base = "http://127.0.0.1:8000/v1"
    terminal(
        browser, "drift", [(f"curl {base}/drift", gate), (f"curl {base}/metrics | grep protoleak_drift", evidence)]
    )


def ask(address: str, body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(address, data=body, headers=PNG), timeout=120) as answer:
        return bytes(answer.read())


@contextmanager
def opened(browser: Browser, address: str, width: int, height: int) -> Iterator[Page]:
    """A page, in a window of so many CSS pixels."""
    page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=1)
    page.goto(address)
    yield page
    page.close()


def terminal(browser: Browser, name: str, spoken: list[tuple[str, str]]) -> None:
    """Commands and what they said, as a terminal shows them."""
    text = ""
    for line, said in spoken:
        shown = "\n".join(
            f"<i>{html.escape(one)}</i>" if one.startswith("error: ") else html.escape(one)
            for one in said.strip().splitlines()
        )
        text += f"<b>$ {html.escape(' '.join(line.split()))}</b>\n{shown}\n\n"
    page = browser.new_page(viewport={"width": 1100, "height": 400}, device_scale_factor=1)
    page.set_content(TERMINAL + text.strip() + "</pre>")
    save(page.locator("pre").screenshot(), name)
    page.close()


def save(png: bytes, name: str) -> None:
    Image.open(io.BytesIO(png)).convert("RGB").save(OUT / f"guide_{name}.webp", quality=45, method=6)


if __name__ == "__main__":
    sys.exit(main())
