"""A client stands where a Screener stands: the same calls give the same verdicts and the same errors."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("httpx2", reason="it speaks HTTP: pip install 'protoleak[client]'")

import protoleak
from protoleak.client import AsyncClient, Client
from protoleak.images.decode import ORIENTATION_TAG
from tests.paths import ROOT, TOKEN


@pytest.fixture(scope="module")
def client(server: str) -> Iterable[Client]:
    with Client(server, token=TOKEN) as client:
        yield client


def plain(outcome: protoleak.Verdict | protoleak.ProtoleakError) -> dict[str, Any]:
    """All that is said, but for the times."""
    if isinstance(outcome, protoleak.ProtoleakError):
        return {"type": type(outcome), "text": str(outcome), "source": outcome.source, "sha256": outcome.sha256}
    return {name: value for name, value in outcome.to_dict().items() if name != "milliseconds"} | {
        "type": type(outcome)
    }


def test_files_have_the_verdicts_that_a_screener_gives(
    client: Client, screener: protoleak.Screener, images: list[Path]
) -> None:
    given = images[2:5]
    assert [plain(one) for one in client(given)] == [plain(one) for one in screener(given)]


def test_faces_have_the_verdicts_that_a_screener_gives(
    client: Client, screener: protoleak.Screener, images: list[Path]
) -> None:
    group = Image.new("RGB", (1024, 512))
    for place, path in enumerate(images[:2]):
        group.paste(Image.open(path).convert("RGB").resize((512, 512)), (512 * place, 0))
    buffer = io.BytesIO()
    group.save(buffer, "PNG")
    found = client.faces(buffer.getvalue())
    assert len(found) == 2
    assert [plain(one) for one in found] == [plain(one) for one in screener.faces(buffer.getvalue())]


def test_what_is_in_memory_has_the_verdicts_that_a_screener_gives(
    client: Client, screener: protoleak.Screener, images: list[Path]
) -> None:
    data = images[0].read_bytes()
    expected = plain(screener(data)[0])
    uri = f"data:image/jpeg;base64,{b64encode(data).decode()}"
    with images[0].open("rb") as file:
        in_memory = [data, memoryview(data), uri, file]
        assert [plain(one) for one in client(in_memory)] == [expected] * 4


def test_pixels_have_the_verdicts_and_the_hashes_that_a_screener_gives(
    client: Client, screener: protoleak.Screener, images: list[Path]
) -> None:
    pixels = np.asarray(Image.open(images[0]).convert("RGB"))
    turned = Image.fromarray(pixels).rotate(90, expand=True).convert("RGBA")
    turned.getexif()[ORIENTATION_TAG] = 6
    for one in (turned, np.stack([pixels])):
        assert [plain(verdict) for verdict in client(one)] == [plain(verdict) for verdict in screener(one)]
    assert [plain(one) for one in client.faces(pixels)] == [plain(one) for one in screener.faces(pixels)]


def test_what_fails_keeps_its_place_and_its_message(
    client: Client, screener: protoleak.Screener, images: list[Path], tmp_path: Path
) -> None:
    broken, blank = tmp_path / "broken.jpg", tmp_path / "blank.png"
    broken.write_bytes(images[0].read_bytes()[:9000])
    Image.new("RGB", (300, 300), "grey").save(blank)
    given = [images[0], tmp_path / "nothing.jpg", broken, b"no image", images[1], np.zeros((9, 9, 3), np.uint8)]
    assert [plain(one) for one in client.each(given)] == [plain(one) for one in screener.each(given)]
    (refused,) = client.each([blank])
    assert isinstance(refused, protoleak.NoFaceError)
    assert str(refused).startswith(f"{blank}: no face of ")
    with pytest.raises(protoleak.NoFaceError):
        client.faces(blank)
    with pytest.raises(protoleak.MediaError, match=r"broken\.jpg"):
        client([images[0], broken])


def test_images_are_taken_as_they_are_needed(client: Client, images: list[Path]) -> None:
    taken = []

    def endless() -> Iterable[Path]:
        while True:
            taken.append(1)
            yield images[0]

    outcomes = client.each(endless(), batch_size=2)
    next(outcomes)
    assert len(taken) <= 3
    outcomes.close()


def test_a_server_says_what_judges(client: Client, screener: protoleak.Screener) -> None:
    said = client.bundle()
    assert said["sha256"] == screener.bundle.sha256
    assert said["alpha"] == screener.alpha


def test_asyncio_gives_the_same(server: str, client: Client, images: list[Path]) -> None:
    given = [images[0], b"no image"]
    expected = [plain(one) for one in client.each(given)]

    async def ask() -> None:
        async with AsyncClient(server, token=TOKEN) as waiting:
            assert [plain(one) async for one in waiting.each(given)] == expected
            assert [plain(one) for one in await waiting(images[0])] == expected[:1]
            (face,) = await waiting.faces(images[0])
            assert face.p_value == expected[0]["p_value"]
            (refused,) = [faces async for faces in waiting.each_face([b"no image"])]
            assert type(refused[0]) is protoleak.MediaError
            assert await waiting.bundle() == client.bundle()

    asyncio.run(ask())


def test_without_its_token_a_server_refuses_and_the_error_says_what_to_do(server: str, images: list[Path]) -> None:
    with (
        Client(server) as client,
        pytest.raises(protoleak.ServerError, match=r"401.*give the client the server's token"),
    ):
        client(images[0])
    with Client(server, token="another-token") as client, pytest.raises(protoleak.ServerError, match="401") as caught:
        client(images[0])
    assert "another-token" not in str(caught.value)


def test_a_client_loads_no_engine() -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = sys.modules['torch'] = None\n"
        "from protoleak.client import Client; Client()\n"
        "print([name for name in ('onnxruntime', 'openvino', 'torch', 'av') if sys.modules.get(name)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout == "[]\n", done.stderr


def test_without_its_package_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['httpx2'] = None\nfrom protoleak.client import Client; Client()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr.splitlines()[-1].endswith('httpx2 is not installed: pip install "protoleak[client]"')
