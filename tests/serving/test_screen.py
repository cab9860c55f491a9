"""POST /v1/screen says what `protoleak screen --out` writes, and refuses what it must not do."""

from __future__ import annotations

import base64
import io
import json
import socket
from pathlib import Path

import pytest
from PIL import Image

from protoleak.faces.haar import cascade_file
from tests.paths import ROOT
from tests.serving.conftest import png
from tests.serving.running import ENGINE, RunningServer, form, screened, without_times

JSON = "application/json"


def data_uri(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()


def test_raw_bodies_forms_and_data_uris_get_the_records_of_screen(
    server: RunningServer, tiny_bundle: Path, images: list[Path], tmp_path: Path
) -> None:
    expected = [without_times(record) for record in screened(tmp_path, images, tiny_bundle, *ENGINE)]
    data = [image.read_bytes() for image in images]
    raw = [server.screen(one).json for one in data]
    in_form = server.screen(*form(data)).json["data"]
    in_json = server.screen(json.dumps({"input": list(map(data_uri, data))}).encode(), JSON).json["data"]
    for found in (raw, in_form, in_json):
        assert [record["source"] for record in found] == [None] * len(images)
        assert [without_times(record) for record in found] == expected


def test_a_broken_file_fails_alone(server: RunningServer) -> None:
    first, broken, last = server.screen(*form([png(0, 1), b"\x89PNG no", png(1, 2)])).json["data"]
    assert (first["outcome"], last["outcome"]) == ("verdict", "verdict")
    assert (broken["error"]["code"], broken["outcome"], broken["verdict"]) == ("unreadable_image", "error", None)


def test_what_cannot_be_read_is_422_with_its_reason(server: RunningServer) -> None:
    reply = server.screen(b"no image at all")
    assert reply.status == 422
    assert reply.json["error"] == {"code": "unreadable_image", "message": "not an image but a text file"}


@pytest.mark.parametrize("text", ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/x.png", "photo.png"])
def test_paths_and_addresses_in_json_are_400(server: RunningServer, text: str) -> None:
    reply = server.screen(json.dumps({"input": [data_uri(png(0, 1)), text]}).encode(), JSON)
    assert (reply.status, reply.json["error"]["code"]) == (400, "not_a_data_uri")


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "code"),
    [
        ("/v1/screen?alpha=0.2", b"x", "image/png", 400, "bad_query"),
        ("/v1/screen", b'{"input": [], "alpha": 0.2}', JSON, 400, "bad_json"),
        ("/v1/screen", b'{"input": []}', JSON, 400, "no_image"),
        ("/v1/screen", b"x=1", "application/x-www-form-urlencoded", 415, "media_type"),
        ("/v1/screen", b"--mark\r\n", 'multipart/form-data; boundary="mark"', 400, "bad_form"),
        ("/v1/screen", form([b"0.2"], "alpha")[0], 'multipart/form-data; boundary="mark"', 400, "unknown_field"),
        ("/v1/screen", form([b"x"] * 17)[0], 'multipart/form-data; boundary="mark"', 400, "too_many_images"),
        ("/v1/nothing", b"x", "image/png", 404, "not_found"),
    ],
)
def test_what_is_not_taken_is_refused_with_a_code(
    server: RunningServer, path: str, body: bytes, kind: str, status: int, code: str
) -> None:
    reply = server.screen(body, kind, path)
    assert (reply.status, reply.json["error"]["code"]) == (status, code)


def test_an_encoded_body_is_refused(server: RunningServer) -> None:
    headers = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
    assert server.ask("POST", "/v1/screen", b"x", headers).json["error"]["code"] == "content_encoding"


def test_sixty_megapixels_are_refused_before_they_are_decoded(server: RunningServer) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((1000, 600), 80).resize((10_000, 6_000)).save(buffer, "JPEG", quality=30)
    reply = server.screen(buffer.getvalue(), "image/jpeg")
    assert reply.status == 422
    assert reply.json["error"]["message"].startswith("10000×6000 pixels are 60.0 megapixels, above the limit of 50")


def test_a_chunked_body_above_the_limit_is_413_and_not_kept(server: RunningServer) -> None:
    def peak() -> int:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0])

    before = peak()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/screen HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(33):
            connection.sendall(b"100000\r\n" + bytes(2**20) + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    # The body up to the limit, and not once more; in KiB.
    assert peak() - before < 50 * 1024


def test_every_face_of_the_examples_has_the_record_of_screen(tmp_path: Path) -> None:
    """On the default bundle, which looks at faces."""
    paths = sorted((ROOT / "examples" / "images").glob("*.jpg"))[:2]
    expected = screened(tmp_path, paths)
    with RunningServer("--no-isolate") as running:
        whole = [running.screen(path.read_bytes(), "image/jpeg").json for path in paths]
        faces = [running.screen(path.read_bytes(), "image/jpeg", "/v1/screen?faces=1").json["data"] for path in paths]
    assert [without_times(record) for record in whole] == [
        without_times(next(record for record in expected if record["source"] == str(path))) for path in paths
    ]
    assert [without_times(record) for image in faces for record in image] == [*map(without_times, expected)]


@pytest.mark.skipif(cascade_file() is not None, reason="OpenCV brings a cascade, which finds faces without a model")
def test_every_face_of_a_bundle_without_a_detector_is_refused_with_the_remedy(server: RunningServer) -> None:
    reply = server.screen(png(0, 1), path="/v1/screen?faces=1")
    assert (reply.status, reply.json["error"]["code"]) == (400, "no_detector")
    assert "--face-model" in reply.json["error"]["message"]
