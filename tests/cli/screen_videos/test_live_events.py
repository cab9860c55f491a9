"""`protoleak screen --live-events`: every event of videos is posted, and what is lost is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("av", reason="PyAV reads and writes the videos: pip install 'protoleak[video]'")

from tests.cli.conftest import Run
from tests.cli.screen_videos.test_run import WHOLE
from tests.json_lines import json_lines
from tests.video.outputs.test_webhook import Receiver


def test_the_events_that_are_posted_are_those_that_are_written(
    video: Path, tiny_bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver, out, token = Receiver(), tmp_path / "out", tmp_path / "token"
    token.write_text("a-token-of-ours\n")
    with receiver.listening() as address:
        given = ("--bundle", tiny_bundle, "--out", out, "--live-events", f"{address}/?key=abc")
        assert run("screen", video, *given, "--live-events-token-file", token, *WHOLE) == 0
    assert {headers["Authorization"] for _, _, headers, _ in receiver.taken} == {"Bearer a-token-of-ours"}
    posted = [event["data"] for event in receiver.events]
    written = json_lines(out / "verdicts.jsonl")
    (source,) = json.loads((out / "tracks.json").read_text())["sources"]
    assert posted == [*written, *source["tracks"]]
    said = capsys.readouterr().err
    assert f"{len(posted)} delivered" in said
    assert not any(secret in said for secret in ("abc", "a-token-of-ours"))


def test_events_that_are_lost_are_said_and_the_status_says_so_too(
    video: Path, tiny_bundle: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver = Receiver()
    receiver.statuses = [403] * 100
    with receiver.listening() as address:
        assert run("screen", video, "--bundle", tiny_bundle, "--live-events", address, *WHOLE) == 1
    printed = capsys.readouterr()
    assert f"0 delivered, {len(receiver.taken)} lost (status 403 Forbidden: {len(receiver.taken)})" in printed.err
    assert "1 track: " in printed.out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--live-events", "file:///etc/passwd"), "no address to post to"),
        (("--live-events", "http://127.0.0.1:1", "--live-events-token-file", "/nowhere"), "no such file"),
        (("--live-events-token-file", "/nowhere"), "is for --live-events URL"),
    ],
)
def test_what_cannot_be_posted_to_is_one_line_before_anything_is_screened(
    video: Path, tiny_bundle: Path, run: Run, capsys: pytest.CaptureFixture[str], given: tuple[str, ...], said: str
) -> None:
    assert run("screen", video, "--bundle", tiny_bundle, *given, *WHOLE) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert said in errors[0]


def test_images_have_no_live_events(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("screen", tmp_path / "x.jpg", "--live-events", "http://127.0.0.1:1") == 2
    assert "--live-events is for videos" in capsys.readouterr().err
