"""Live sources over HTTP: started by one request, read by another, ended by a third."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.paths import ROOT
from tests.serving.running import RunningServer
from tests.video.sources.media import av, write
from tests.video.sources.test_http import file_response, serving

EXAMPLE = ROOT / "examples" / "images" / "flux1_dev.jpg"


@pytest.fixture(scope="module")
def watching() -> Iterator[RunningServer]:
    """On the default bundle, which holds a face detector."""
    with RunningServer("--no-isolate", "--allow-streams", "127.0.0.1", "--streams-limit", 1) as running:
        yield running


def write_still(path: Path, frames: int) -> None:
    """A video of one picture with a face, 25 frames a second."""
    with Image.open(EXAMPLE) as picture:
        pixels = np.asarray(picture.convert("RGB").resize((480, 480)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 480, 480, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())


def events_of(server: RunningServer, path: str, last: int = 0) -> list[tuple[int, str, dict[str, object]]]:
    """Number, kind and data of all that comes until the server ends the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", path, headers={"Last-Event-ID": str(last)} if last else {})
    response = connection.getresponse()
    assert response.getheader("content-type", "").startswith("text/event-stream")
    found = []
    for block in response.read().decode().split("\n\n"):
        if block and not block.startswith(":"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    connection.close()
    return found


def test_the_faces_of_a_source_are_told_as_they_come(watching: RunningServer, tmp_path: Path) -> None:
    write_still(tmp_path / "clip.mp4", frames=20)
    with serving(file_response((tmp_path / "clip.mp4").read_bytes())) as address:
        body = json.dumps({"source": f"{address}/clip.mp4?key=secret", "every": 0.5, "minimum_evidence": 1}).encode()
        started = watching.ask("POST", "/v1/streams", body)
        assert started.status == 201
        assert "secret" not in started.body.decode()
        events = events_of(watching, started.json["events"])
    kinds = [kind for _, kind, _ in events]
    assert kinds[0] == "face"
    assert kinds[-2:] == ["track", "end"]
    assert events[0][2]["verdict"]["bundle"]["name"] == "default"  # type: ignore[index]
    assert "secret" not in json.dumps(events)
    assert events_of(watching, started.json["events"], last=events[0][0]) == events[1:]
    assert watching.ask("GET", f"/v1/streams/{started.json['id']}").json["state"] == "ended"
    assert watching.ask("DELETE", f"/v1/streams/{started.json['id']}").status == 204
    assert watching.ask("GET", started.json["events"]).status == 404


def test_a_stream_is_ended_by_a_request_and_more_than_allowed_are_refused(
    watching: RunningServer, tmp_path: Path
) -> None:
    write(tmp_path / "clip.mp4")
    data, over = (tmp_path / "clip.mp4").read_bytes(), threading.Event()

    def respond(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(data)
        over.wait(20)  # as a camera from which nothing comes for a while

    with serving(respond) as address:
        body = json.dumps({"source": f"{address}/clip.mp4"}).encode()
        started = watching.ask("POST", "/v1/streams", body)
        assert started.status == 201
        second = watching.ask("POST", "/v1/streams", body)
        assert (second.status, second.headers["retry-after"]) == (503, "1")
        assert [one["id"] for one in watching.ask("GET", "/v1/streams").json["data"] if one["state"] == "running"] == [
            started.json["id"]
        ]
        assert watching.ask("DELETE", f"/v1/streams/{started.json['id']}").status == 204
        assert watching.ask("DELETE", f"/v1/streams/{started.json['id']}").status == 404
        assert watching.ask("GET", "/v1/streams").json["data"] == []
        over.set()


@pytest.mark.parametrize(
    "body", [b"{}", b'{"source": 7}', b'{"source": "rtsp://127.0.0.1/x", "alpha": 1}', b'{"source": "/etc/passwd"}']
)
def test_a_request_for_something_else_is_400(watching: RunningServer, body: bytes) -> None:
    assert watching.ask("POST", "/v1/streams", body).status == 400
