"""Passwords are taken out of every name, however they are written; everything else stays."""

from __future__ import annotations

import pytest

from protoleak.video.sources.redaction import without_secrets


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("rtsp://admin:hunter2@camera:554/live", "rtsp://***@camera:554/live"),
        ("rtsp://admin:hun@ter2@camera/live@2", "rtsp://***@camera/live@2"),
        ("rtsp://admin:hun/ter2@camera/live", "rtsp://***@camera/live"),
        ("rtsp://admin:hun?ter2@camera/live", "rtsp://***@camera/live"),
        ("rtsp://admin:hun ter2@camera/live", "rtsp://***@camera/live"),
        ("rtsp://eyJhbGciOiJIUzI1NiJ9@camera/live", "rtsp://***@camera/live"),
        ("rtsp://admin@[fe80::1]:554/live", "rtsp://***@[fe80::1]:554/live"),
        ("https://host/x?token=abc&size=2", "https://host/x?***"),
        ("https://host/x?access=abc", "https://host/x?***"),
        ("https://host/x.mp4?X-Amz-Credential=AKIA&X-Amz-Signature=1", "https://host/x.mp4?***"),
        ("https://host/x#access_token=abc", "https://host/x#***"),
        ("https://host/x?q#part", "https://host/x?***"),
        ("https://host/live2/abcd-1234-efgh-5678", "https://host/live2/***"),
        ("https://host/4f3d9a1bc07e55d2/clip.mp4", "https://host/***/clip.mp4"),
        ("https://host/a-very-long-name-of-a-clip.mp4", "https://host/***.mp4"),
        ("https://host/x;jsessionid=1/y", "https://host/***/y"),
        (
            "gst:rtspsrc location=rtsp://a:hunter2@b user-pw=hunter2 user-id=me ! x",
            "gst:rtspsrc location=rtsp://***@b user-pw=*** user-id=*** ! x",
        ),
        (
            'gst:rtspsrc location="rtsp://a:hun ter2@b/live?key=1" ! x',
            'gst:rtspsrc location="rtsp://***@b/live?***" ! x',
        ),
        ("cannot open rtsp://a:hunter2@b/live: refused", "cannot open rtsp://***@b/live: refused"),
    ],
)
def test_secrets_become_stars(name: str, shown: str) -> None:
    assert without_secrets(name) == shown


@pytest.mark.parametrize(
    "name",
    [
        "rtsp://camera:554/live@2",
        "rtsp://192.168.0.8/Streaming/Channels/101",
        "http://[::1]:8080/clip.mp4",
        "clips/a@b:c.mp4",
        "gst:videotestsrc ! appsink",
        "0",
    ],
)
def test_names_without_secrets_stay_as_they_are(name: str) -> None:
    assert without_secrets(name) == name
