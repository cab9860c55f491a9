"""Passwords are taken out of every name, however they are written; everything else stays."""

from __future__ import annotations

import pytest

from protoleak.video.sources.redaction import without_secrets


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("rtsp://admin:hunter2@camera:554/live", "rtsp://admin:***@camera:554/live"),
        ("rtsp://admin:hun@ter2@camera/live@2", "rtsp://admin:***@camera/live@2"),
        ("rtsp://admin:hun/ter2@camera/live", "rtsp://admin:***@camera/live"),
        ("https://host/x?token=abc&size=2", "https://host/x?token=***&size=2"),
        ("https://host/x?api_key=abc", "https://host/x?api_key=***"),
        (
            "gst:rtspsrc location=rtsp://a:hunter2@b user-pw=hunter2 ! x",
            "gst:rtspsrc location=rtsp://a:***@b user-pw=*** ! x",
        ),
    ],
)
def test_secrets_become_stars(name: str, shown: str) -> None:
    assert without_secrets(name) == shown


@pytest.mark.parametrize(
    "name",
    ["rtsp://camera:554/live@2", "rtsp://admin@camera/live", "clips/a@b:c.mp4", "gst:videotestsrc ! appsink", "0"],
)
def test_names_without_secrets_stay_as_they_are(name: str) -> None:
    assert without_secrets(name) == name
