"""The page of the server in a real browser: what it takes, what it shows, and that everybody can use it."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("httpx2", reason="the client asks the same server: pip install 'protoleak[client]'")

from protoleak.cli.screen_images.report.report import READING
from protoleak.client import Client
from protoleak.faces.still_images import FaceVerdict
from tests.browser import chromium, fits
from tests.paths import ROOT, TOKEN

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMAGE = ROOT / "examples" / "images" / "grok2_image.jpg"
WAIT = 120_000  # milliseconds, of a busy machine
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
REFUSED = re.compile(r"status of (401|422|503)")  # the browser's own line about an answer that was expected


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(*CAMERA) as browser:
        yield browser


@pytest.fixture(scope="module")
def server(default_server: str) -> str:
    return default_server


@pytest.fixture(scope="module")
def expected(server: str) -> FaceVerdict:
    """What the server says of IMAGE."""
    with Client(server, token=TOKEN) as client:
        (verdict,) = client.faces(IMAGE)
    return verdict


@contextmanager
def page_of(browser: Browser, server: str, *, token: str | None = TOKEN, **options: Any) -> Iterator[Page]:
    """The page with its token given; afterwards it must have broken nothing and asked nobody but its server."""
    page = browser.new_page(viewport={"width": options.pop("width", 1280), "height": 800}, **options)
    page.set_default_timeout(WAIT)
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server)
    if token is not None:
        give_token(page, token)
        page.wait_for_selector("#access", state="hidden")
    yield page
    page.close()
    assert [text for text in complaints if not REFUSED.search(text)] == []
    assert [url for url in asked if not url.startswith((f"{server}/", "data:", f"blob:{server}/"))] == []


def give_token(page: Page, token: str) -> None:
    page.get_by_label("This server asks for a token").fill(token)
    page.keyboard.press("Enter")


def done(page: Page, cards: int = 1) -> None:
    """Waits until so many images have been judged."""
    page.wait_for_selector(f".card:nth-child({cards})")
    page.wait_for_selector(".card.waiting", state="detached")


def test_an_image_shows_its_verdict_with_all_that_it_rests_on(
    browser: Browser, server: str, expected: FaceVerdict
) -> None:
    with page_of(browser, server) as page:
        page.set_input_files("#files", IMAGE)
        done(page)
        card = page.locator(".card")
        text = card.inner_text()
        named = expected.label if expected.generator is None else f"{expected.label}: {expected.generator}"
        assert named in text
        for value, level in (
            (expected.p_value, expected.alpha),
            (expected.real_p_value, expected.accusation_level),
            (expected.generated_p_value, expected.acquittal_level),
        ):
            if value is not None and level is not None:
                relation = "at most" if value <= level else "above"
                assert re.search(rf"{value:.3f}, {relation} .* of {level:g}:", text), text
        for prototype in (expected.why.nearest_prototype, expected.why.runner_up):
            assert f"number {prototype.index}" in text
            assert prototype.generator in text
        for look, share in expected.why.look_weights.items():
            assert re.search(rf"{look}\s+{100 * share:.1f} %", text)
        for step, share in expected.why.timestep_weights.items():
            assert re.search(rf"timestep {step}\s+{100 * share:.1f} %", text)
        card.locator("summary").click()
        assert expected.image.sha256 in card.inner_text()
        assert named.replace(":", ",") in page.get_by_role("status").inner_text()
        assert fits(page)


def test_the_box_lies_on_the_face_whatever_the_size_of_the_picture(
    browser: Browser, server: str, expected: FaceVerdict
) -> None:
    with page_of(browser, server) as page:
        page.set_input_files("#files", IMAGE)
        done(page)
        for width in (1280, 400):
            page.set_viewport_size({"width": width, "height": 800})
            picture = page.locator(".picture img").bounding_box()
            box = page.locator(f".picture rect.{expected.label}").bounding_box()
            assert picture is not None
            assert box is not None
            scale = picture["width"] / expected.image.width
            # The line is 3 pixels wide, half of it outside.
            assert box["x"] - picture["x"] == pytest.approx(scale * expected.box.left, abs=2.5)
            assert box["y"] - picture["y"] == pytest.approx(scale * expected.box.top, abs=2.5)
            assert box["width"] == pytest.approx(scale * expected.box.width, abs=4)
            assert fits(page)


def test_images_are_dropped_and_pasted(browser: Browser, server: str, expected: FaceVerdict) -> None:
    data = b64encode(IMAGE.read_bytes()).decode()
    give = """([data, kind]) => {
        const bytes = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], `${kind}.jpg`, { type: "image/jpeg" }));
        const options = { dataTransfer: transfer, clipboardData: transfer, bubbles: true, cancelable: true };
        const event = kind === "drop" ? new DragEvent("drop", options) : new ClipboardEvent("paste", options);
        document.getElementById("drop").dispatchEvent(event);
        return event.defaultPrevented;
    }"""
    with page_of(browser, server) as page:
        assert page.evaluate(give, [data, "drop"])
        assert page.evaluate(give, [data, "paste"])
        done(page, 2)
        cards = page.locator(".card").all()
        assert [card.locator("h3").inner_text() for card in cards] == ["drop.jpg", "paste.jpg"]
        assert all(expected.label in card.locator("header .badge").inner_text() for card in cards)


def test_what_fails_says_why_in_the_servers_words_and_alone(browser: Browser, server: str, tmp_path: Path) -> None:
    text = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    text.write_text("no image at all")
    with Client(server, token=TOKEN) as client:
        (refused,) = client.each([text.read_bytes()])
    with page_of(browser, server) as page:
        page.set_input_files("#files", [text, IMAGE])
        done(page, 2)
        first, second = page.locator(".card").all()
        assert text.name in first.locator("h3").inner_text()  # a name is text, never a tag
        assert str(refused).removeprefix("image 0: ") in first.locator(".error").inner_text()
        assert second.locator(".error").count() == 0
        assert second.locator(".picture svg").count() == 1


def test_a_token_is_asked_for_and_a_wrong_one_is_said(browser: Browser, server: str) -> None:
    with page_of(browser, server, token=None) as page:
        field = page.get_by_label("This server asks for a token")
        field.wait_for()
        page.set_input_files("#files", IMAGE)  # it waits for the token
        give_token(page, "a-wrong-token")
        page.wait_for_selector("#token-error:not(:empty)")
        assert "token" in page.locator("#token-error").inner_text()
        assert field.evaluate("field => field === document.activeElement")
        give_token(page, TOKEN)
        done(page)
        assert page.locator(".card .picture svg").count() == 1
        assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0


def test_a_busy_server_is_asked_again(browser: Browser, server: str) -> None:
    with page_of(browser, server) as page:
        refusals = [
            {
                "status": 503,
                "headers": {"Retry-After": "1"},
                "body": json.dumps({"error": {"code": "overloaded", "message": "64 images wait"}}),
            }
        ]
        page.route("**/v1/screen*", lambda route: route.fulfill(**refusals.pop()) if refusals else route.continue_())
        page.set_input_files("#files", IMAGE)
        page.get_by_text("The server is busy").wait_for()
        done(page)
        assert page.locator(".card .picture svg").count() == 1
        assert page.locator(".card .error").count() == 0


def test_a_picture_is_taken_with_the_camera(browser: Browser, server: str) -> None:
    with page_of(browser, server) as page:
        with page.expect_request("**/v1/screen*") as sent:
            page.get_by_role("button", name="Take a picture").click()
            page.get_by_role("button", name="Take it").click()
        assert sent.value.headers["content-type"] == "image/png"  # compressing once more would change what is judged
        done(page)
        assert page.locator(".card h3").inner_text() == "camera.png"
        assert not page.locator("#camera").is_visible()
        assert page.evaluate("document.getElementById('video').srcObject === null")  # the camera is off


def test_everything_can_be_done_with_the_keyboard(browser: Browser, server: str) -> None:
    with page_of(browser, server) as page:
        assert focused(page) == "Choose files"  # where it goes once there is a token
        page.keyboard.press("Shift+Tab")
        assert focused(page) == "Skip to the results"
        page.keyboard.press("Tab")
        assert focused(page) == "Choose files"
        chosen_with_the_keyboard(page, [IMAGE, IMAGE])
        done(page, 2)
        assert focused(page) == "Choose files"  # what comes in takes the focus from nobody
        page.keyboard.press("Tab")
        assert focused(page) == "Take a picture"
        page.keyboard.press("Tab")
        assert focused(page) == "Remove all"
        page.keyboard.press("Tab")
        assert focused(page) == "Remove"
        page.keyboard.press("Enter")
        assert focused(page) == "Remove"  # of the other one
        assert page.locator(".card").count() == 1
        page.keyboard.press("Space")
        assert focused(page) == "Choose files"
        assert page.locator("#results").is_hidden()


def chosen_with_the_keyboard(page: Page, files: list[Path]) -> None:
    """Opens the chooser of files by Enter, again where Chromium without a screen swallowed the key."""
    from playwright.sync_api import TimeoutError as NothingOpened

    for _ in range(5):
        with suppress(NothingOpened):
            with page.expect_file_chooser(timeout=4000) as chooser:
                page.keyboard.press("Enter")
            chooser.value.set_files(files)
            return
        assert focused(page) == "Choose files"
    pytest.fail("Enter opened no chooser of files in five tries")


def focused(page: Page) -> str:
    text: str = page.evaluate("document.activeElement.textContent.trim()")
    return text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_shuts_anybody_out(browser: Browser, server: str, tmp_path: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="it brings axe-core: pip install .[dev]")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"x")
    with page_of(browser, server, color_scheme=scheme) as page:
        page.set_input_files("#files", [IMAGE, broken])
        done(page, 2)
        page.locator("summary").first.click()
        found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_whoever_wants_no_motion_has_none(browser: Browser, server: str) -> None:
    with page_of(browser, server, reduced_motion="reduce") as page:
        page.route("**/v1/screen*", lambda _: None)  # never answered
        page.set_input_files("#files", IMAGE)
        page.wait_for_selector(".card.waiting")
        assert page.evaluate("document.getAnimations().length") == 0


def test_the_page_says_what_a_verdict_is_not(browser: Browser, server: str) -> None:
    with page_of(browser, server, width=390) as page:
        text = " ".join(page.locator("main").inner_text().split())
        assert READING[0].split(". ")[0] in text
        assert "The worst error that it can make is to accuse a real person" in text
        assert fits(page)
