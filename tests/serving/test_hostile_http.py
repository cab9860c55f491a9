"""What clients do who mean no good, and what pages of other sites have honest people's browsers do."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protoleak.serving.headers import is_own_name, whole_number
from tests.serving.conftest import png
from tests.serving.running import ENGINE, RunningServer, form

INFER = "/v2/models/protoleak/infer"
SECONDS, CONNECTIONS = 1, 6


@pytest.fixture(scope="module")
def narrow(tiny_bundle: Path) -> Iterator[RunningServer]:
    """With little patience and few connections, in whose front stands a proxy."""
    limits = ("--request-seconds", SECONDS, "--connections", CONNECTIONS)
    with RunningServer(tiny_bundle, *ENGINE, "--no-isolate", *limits, "--allow-host", "screening.example") as running:
        yield running


def said(server: RunningServer, sent: bytes, seconds: float = 10.0) -> bytes:
    """All that the server answers until it hangs up; TimeoutError where it doesn't."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        connection.sendall(sent)
        found = b""
        while part := connection.recv(65536):
            found += part
    return found


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /v1/screen HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
        # A body that no endpoint reads, and that never ends.
        b"GET /v1/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\nx",
        b"GET /v1/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /v1/hea",
        b"POST /v1/screen HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 1000000\r\n\r\nx",
    ],
    ids=["silence", "half a head", "a body for nobody", "half a second head", "half a body"],
)
def test_who_does_not_go_on_is_hung_up_on(narrow: RunningServer, sent: bytes) -> None:
    started = time.monotonic()
    said(narrow, sent, seconds=20.0)
    assert time.monotonic() - started > SECONDS * 0.9


def test_a_connection_that_was_idle_for_longest_makes_room(narrow: RunningServer) -> None:
    held = [socket.create_connection(("127.0.0.1", narrow.port), timeout=10) for _ in range(CONNECTIONS)]
    try:
        for one in held[1:]:
            one.sendall(b"GET /v1/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert one.recv(1000).startswith(b"HTTP/1.1 200")
        assert narrow.ask("GET", "/v1/health/live").status == 200
        assert held[0].recv(1000) == b""
    finally:
        for one in held:
            one.close()


def test_where_all_are_being_answered_the_newest_is_told_so(tiny_bundle: Path) -> None:
    slow = ("-m", "tests.serving.slow_server")
    request = b"POST /v1/screen HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n%s"
    image = png(0, 1)
    with (
        RunningServer(tiny_bundle, 1.0, "--connections", 1, command=slow) as running,
        socket.create_connection(("127.0.0.1", running.port), timeout=20) as first,
    ):
        first.sendall(request % (len(image), image))
        time.sleep(0.3)
        refused = running.ask("GET", "/v1/health/live")
        assert first.recv(1000).startswith(b"HTTP/1.1 200")
    assert (refused.status, refused.json["error"]["code"], refused.headers["retry-after"]) == (503, "crowded", "1")


def test_nothing_that_clients_send_fills_the_log(server: RunningServer) -> None:
    assert server.screen(b"hello--mark", 'multipart/form-data; boundary="mark"').status == 400
    for sent in (
        b"no HTTP\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(sent)
            assert connection.recv(100)
    said(server, b"POST /v1/screen HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert server.ask("GET", "/v1/health/live").status == 200
    assert len(server._lines) == 1  # where it serves


def test_a_path_with_a_slash_too_many_is_not_redirected(server: RunningServer) -> None:
    assert server.ask("GET", "/v1/bundle/").status == 404


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
        b"GET /\r\n\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 40_000,
        b"POST /v1/screen HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/screen HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    ],
    ids=["TLS", "no version", "no host", "a huge header", "a bad chunk", "two lengths"],
)
def test_what_is_not_http_is_a_refusal_like_any_other(server: RunningServer, sent: bytes) -> None:
    head, _, body = said(server, sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "bad_http"


def tensor(**more: object) -> bytes:
    return json.dumps(
        {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["eA=="]} | more]}
    ).encode()


@pytest.mark.parametrize(
    ("path", "body", "kind", "code"),
    [
        # Each takes minutes, or gigabytes, where it is read before it is counted.
        (INFER, tensor(shape=[2**63 - 1] * 300_000), "application/json", "bad_request"),
        (INFER, tensor(data=["eA=="] * 1_000_000), "application/json", "bad_json"),
        (INFER, tensor(shape=[-1, -1]), "application/json", "bad_request"),
        (INFER, tensor(parameters={"deep": [[]]}), "application/json", "bad_json"),
        ("/v1/screen", json.dumps({"input": ["a"] * 1_000_000}).encode(), "application/json", "bad_json"),
        ("/v1/screen", b'{"input": ' + b"[" * 1_000_000, "application/json", "bad_json"),
        ("/v1/screen", form([b""] * 100_000)[0], 'multipart/form-data; boundary="mark"', "too_many_images"),
        (
            "/v1/screen",
            form([b"\r\n--markx" * 3_000_000])[0],
            'multipart/form-data; boundary="mark"',
            "too_many_images",
        ),
    ],
    ids=["numbers", "strings of a tensor", "a shape", "a tree", "strings", "brackets", "parts", "boundaries"],
)
def test_bombs_are_refused_at_once(server: RunningServer, path: str, body: bytes, kind: str, code: str) -> None:
    started = time.monotonic()
    reply = server.screen(body, kind, path)
    assert (reply.status, reply.json["error"]["code"]) == (400, code)
    assert len(reply.body) < 500
    assert time.monotonic() - started < 5


def test_a_tensor_of_empty_images_is_counted_before_it_is_read(server: RunningServer) -> None:
    raw = struct.pack("<I", 0) * 1_000_000
    head = tensor(data=None, parameters={"binary_data_size": len(raw)}, shape=[1_000_000])
    reply = server.ask("POST", INFER, head + raw, {"Inference-Header-Content-Length": str(len(head))})
    assert (reply.status, reply.json["error"]["code"]) == (400, "too_many_images")


@pytest.mark.parametrize("text", ["²", "-1", "1" * 5000, "٣", ""])
def test_only_plain_digits_are_a_number(server: RunningServer, text: str) -> None:
    assert whole_number(text) is None
    if text.isascii() or text == "²":
        headers = {"Inference-Header-Content-Length": text}
        assert server.ask("POST", INFER, b"{}", headers).status == 400


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("localhost:8000", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("192.168.7.9", True),  # no other name can come to be an address
        ("screening.example:443", True),
        ("screening.example.evil.example", False),
        ("evil.example:8000", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_a_name_that_resolves_to_this_machine_is_not_its_name(host: str, own: bool) -> None:
    assert is_own_name(host.encode(), frozenset({"screening.example"})) == own


def test_a_page_that_gives_itself_out_as_this_server_gets_nothing(narrow: RunningServer) -> None:
    for method, path in (("GET", "/v1/bundle"), ("POST", "/v1/screen")):
        reply = narrow.ask(method, path, png(0, 1) if method == "POST" else None, {"Host": "evil.example"})
        assert (reply.status, reply.json["error"]["code"]) == (421, "unknown_host")
    assert narrow.ask("GET", "/v1/bundle", None, {"Host": "screening.example"}).status == 200


def test_pages_of_other_origins_cannot_have_a_browser_post(server: RunningServer) -> None:
    body, kind = form([png(0, 1)])
    headers = {"Content-Type": kind, "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    reply = server.ask("POST", "/v1/screen", body, headers)
    assert (reply.status, reply.json["error"]["code"]) == (403, "other_site")
    assert server.ask("POST", "/v1/screen", body, headers | {"Sec-Fetch-Site": "same-origin"}).status == 200


def test_an_answer_that_refuses_a_large_body_is_seen(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("12345678")
    with RunningServer(tiny_bundle, *ENGINE, "--no-isolate", "--token-file", tmp_path / "token") as running:
        assert running.screen(bytes(6 * 2**20)).status == 401


def test_an_image_of_nothing_but_escapes_fails_alone(server: RunningServer) -> None:
    body = b'{"input": ["data:image/png,%s"]}' % (b"%41" * 2_000_000)
    (record,) = server.screen(body, "application/json").json["data"]
    assert record["error"]["message"] == "not an image but a text file"
