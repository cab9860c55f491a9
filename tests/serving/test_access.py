"""Who may ask: tokens, other hosts, pages of other origins, and hosts of live sources."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from protoleak.cli.app import main
from protoleak.errors import ProtoleakError
from protoleak.serving.refusal import Refusal
from protoleak.serving.settings import ServeSettings
from protoleak.serving.streams import Streams
from tests.serving.conftest import png
from tests.serving.running import ENGINE, RunningServer

TOKEN = "a-token-of-some-length"


def test_a_token_is_wanted_where_one_is_set(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    arguments = (tiny_bundle, *ENGINE, "--no-isolate", "--token-file", tmp_path / "token", "--host", "0.0.0.0")
    with RunningServer(*arguments, "--cors-origin", "https://desk.example") as running:

        def status(method: str, path: str, token: str | None = None) -> int:
            headers = {"Content-Type": "image/png"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
            return running.ask(method, path, png(0, 1) if method == "POST" else None, headers).status

        assert status("POST", "/v1/screen") == 401
        assert status("POST", "/v1/screen", TOKEN + "x") == 401
        assert status("POST", "/v1/screen", TOKEN) == 200
        assert status("GET", "/v1/bundle") == 401
        assert status("GET", "/v1/openapi.json") == 401
        for path in ("/v1/health/live", "/v1/health/ready", "/v1/metrics", "/v2/health/ready", "/", "/page.js"):
            assert status("GET", path) == 200, path
        asked = {"Origin": "https://desk.example", "Access-Control-Request-Method": "POST"}
        assert running.ask("OPTIONS", "/v1/screen", None, asked).headers["access-control-allow-origin"] == (
            "https://desk.example"
        )
        assert running.ask("OPTIONS", "/v1/screen", None, asked | {"Origin": "https://other.example"}).status == 400


def test_without_a_token_other_hosts_are_refused_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert capsys.readouterr().err == (
        "error: --host 0.0.0.0: others reach it: give --token-file FILE, or --no-token if that is meant\n"
    )


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"token": TOKEN, "open_to_all": True}, "--no-token"),
        ({"workers": 2, "stream_hosts": ("gate",)}, "--allow-streams"),
        ({"stream_hosts": ("rtsp://gate/stream",)}, "give a host, or HOST:PORT"),
        ({"cors_origins": ("desk.example",)}, "--cors-origin"),
        ({"grace": 0.0}, "grace"),
    ],
)
def test_settings_that_contradict_are_errors(changed: dict[str, object], named: str) -> None:
    with pytest.raises(ProtoleakError, match=named):
        ServeSettings(**changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_this_machine_needs_no_token(host: str) -> None:
    assert ServeSettings(host=host).token is None


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("rtsp://evil/stream", "host_not_allowed"),
        ("rtsp://gate@evil/stream", "host_not_allowed"),
        ("rtsp://evil/@gate/stream", "bad_source"),
        ("rtsp://evil\\@gate/stream", "bad_source"),
        ("rtsp://evil#@gate/stream", "bad_source"),
        ("rtsp://gate:8554/stream", "host_not_allowed"),
        ("file:///etc/passwd", "bad_source"),
        ("/etc/passwd", "bad_source"),
        ("0", "bad_source"),
        ("gst:videotestsrc", "bad_source"),
        ("concat:rtsp://gate/x", "bad_source"),
    ],
)
def test_live_sources_elsewhere_are_refused(source: str, code: str) -> None:
    streams = Streams(["gate:554", "10.0.0.7"], 4, lambda: False, lambda _: None)
    with pytest.raises(Refusal) as refused:
        streams._check(source)
    assert refused.value.code == code


@pytest.mark.parametrize("source", ["rtsp://gate:554/a?b=c", "rtsp://user:pass@10.0.0.7/x", "HTTPS://10.0.0.7:8/x"])
def test_live_sources_of_the_list_are_taken(source: str) -> None:
    Streams(["gate:554", "10.0.0.7"], 4, lambda: False, lambda _: None)._check(source)


def test_live_sources_without_what_reads_them_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert main(["serve", "--allow-streams", "gate", "--port", "0"]) == 2
    assert "protoleak[video]" in capsys.readouterr().err


def test_no_live_source_is_taken_unless_a_host_is_named(server: RunningServer) -> None:
    reply = server.ask("POST", "/v1/streams", b'{"source": "rtsp://127.0.0.1/x"}')
    assert (reply.status, reply.json["error"]["code"]) == (403, "streams_not_allowed")
