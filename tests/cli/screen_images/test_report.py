"""The report on still images is whole, self-contained, and true at every moment."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
from html import unescape
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from protoleak.choices import MINIMUM_FACE
from protoleak.cli.screen_images.report import report as module
from protoleak.cli.screen_images.report.report import page_name
from tests.browser import chromium, opened
from tests.cli.conftest import FACES
from tests.look_bundle import SIDE, face_image, group_of_two
from tests.tiny_bundle import make_image

NAME = 'e <script>alert(1)</script> & "x".png'.replace("/", "_")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A group of two, an image without a face, a damaged file, and a face with a hostile name and claims."""
    folder = tmp_path_factory.mktemp("report") / "images"
    folder.mkdir()
    group_of_two().save(folder / "a_group.png")
    Image.fromarray(make_image(0, 5, 160, 180)).save(folder / "c_none.png")
    (folder / "d_damaged.png").write_bytes((folder / "a_group.png").read_bytes()[:200])
    claims = PngImagePlugin.PngInfo()
    claims.add_itxt("parameters", "<img src=x onerror=alert(1)>\nSteps: 20, Sampler: Euler, Seed: 1")
    face_image("rows", 13).save(folder / NAME, pnginfo=claims)
    return folder


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def test_every_input_is_in_it_with_hash_outcome_and_reason(screen, images: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "r.jsonl", tmp_path / "report"
    assert screen(images, images / "missing.png", *FACES, "--out", out, "--report", folder) == 1
    html = (folder / "report.html").read_text()
    text = text_of(html)
    for path in images.iterdir():
        assert str(path) in text
        assert hashlib.sha256(path.read_bytes()).hexdigest() in text
    for words in (
        "report on 5 images",
        "This report is complete",
        "missing.png: no such file",
        f"c_none.png: no face of {MINIMUM_FACE} pixels",
        "no face 1",
        "failed 2",
        "What the file says of itself",
        "PNG text: generated: parameters",
        f"SHA-256 {hashlib.sha256(out.read_bytes()).hexdigest()}",
        "onnxruntime",
        f"minimum_face {MINIMUM_FACE}",
    ):
        assert words in text, words
    images = [base64.b64decode(one) for one in re.findall(r"data:image/jpeg;base64,([^\"]+)", html)]
    assert len(images) == 3  # what could be read
    assert {max(Image.open(io.BytesIO(one)).size) for one in images} <= {180, SIDE, 320}


def test_names_and_claims_are_shown_and_not_obeyed(screen, images: Path, tmp_path: Path) -> None:
    screen(images / NAME, *FACES, "--report", tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "default-src 'none'" in html
    assert NAME in text_of(html.replace("&lt;", "‹").replace("&gt;", "›")).replace("‹", "<").replace("›", ">")


def test_it_is_whole_while_it_is_being_written(
    screen, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_WRITES", 0.0)
    seen: list[str] = []
    add = module.ImageReport.add

    def watched(self: module.ImageReport, *arguments: object) -> None:
        add(self, *arguments)  # type: ignore[arg-type]
        seen.append((tmp_path / "report.html").read_text())

    monkeypatch.setattr(module.ImageReport, "add", watched)
    screen(images, *FACES, "--report", tmp_path)
    assert len(seen) == 4
    for count, html in enumerate(seen, start=1):
        assert html.endswith("</html>\n")
        assert html.count('<section class="entry"') == count
        assert "being written: more is to come" in html
    assert "being written" not in (tmp_path / "report.html").read_text()


def test_many_images_are_several_pages_that_lead_to_each_other(
    screen, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENTRIES_A_PAGE", 3)
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(7):
        shutil.copy(images / "c_none.png", folder / f"{index}.png")
    screen(folder, "--report", tmp_path / "report")
    names = [page_name(number) for number in (1, 2, 3)]
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == sorted(names)
    pages = [(tmp_path / "report" / name).read_text() for name in names]
    assert [page.count('<section class="entry"') for page in pages] == [3, 3, 1]
    assert all(f'href="{name}"' in pages[0] for name in names[1:])
    screen(images / "a_group.png", "--report", tmp_path / "report", "--overwrite")
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["report.html"]


def test_a_resumed_run_reports_what_was_judged_before_too(screen, images: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "r.jsonl", tmp_path / "report"
    screen(images, *FACES, "--out", out, "--report", folder)
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(lines[:3]))
    screen(images, *FACES, "--out", out, "--report", folder, "--resume")
    html = (folder / "report.html").read_text()
    assert html.count('<section class="entry"') == 4
    assert html.count("data:image/jpeg;base64,") == 3


def test_an_earlier_report_and_an_image_of_its_name_are_not_lost(
    screen, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").write_text("mine")
    assert screen(images, "--report", tmp_path) == 2
    assert "--overwrite" in capsys.readouterr().err
    shutil.copy(images / "c_none.png", tmp_path / "report.html")
    before = (tmp_path / "report.html").read_bytes()
    assert screen(tmp_path / "report.html", "--report", tmp_path, "--overwrite") == 2
    assert "which is read" in capsys.readouterr().err
    assert (tmp_path / "report.html").read_bytes() == before


def test_it_is_for_images(screen, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"a video")
    assert screen(tmp_path / "clip.mp4", "--report", tmp_path / "report") == 2
    assert "--report is for images" in capsys.readouterr().err


def test_a_browser_shows_it_loads_nothing_and_prints_it_without_loss(screen, images: Path, tmp_path: Path) -> None:
    screen(images, *FACES, "--report", tmp_path)
    with chromium() as browser, opened(browser, tmp_path / "report.html") as page:
        assert page.locator("img.thumbnail").count() == 3
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 718, "height": 1000})  # A4 within its margins, in CSS pixels
        widest = page.evaluate(
            "Math.max(...[...document.querySelectorAll('*')].map(e => e.getBoundingClientRect().right))"
        )
        assert widest <= 718 + 1  # nothing is cut off at the edge of the paper
