"""Events are posted as CloudEvents; an address that fails costs retries and counted events, never the run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pytest

from protoleak.errors import ProtoleakError
from protoleak.video.events import FailureEvent, GapEvent, TrackEvent, TrackVerdict
from protoleak.video.outputs.webhook import Webhook, WebhookSettings
from tests.http_server import serving_with

SOON = WebhookSettings(timeout=2, attempts=4, first_delay=0.01, longest_delay=0.05, grace=5)
VERDICT = TrackVerdict(
    label="undecided",
    generator=None,
    nearest=None,
    p_value=1.0,
    real_p_value=None,
    generated_p_value=None,
    e_value=1.0,
    real_e_value=None,
    generated_e_value=None,
    evidence=0,
    scores={},
)


def track(number: int, source: str = "rtsp://***@gate/live") -> TrackEvent:
    return TrackEvent(
        source=source,
        track=number,
        first_frame=0,
        last_frame=9,
        first_timestamp=0.0,
        last_timestamp=0.4,
        frames=10,
        frames_detected=4,
        track_verdict=VERDICT,
    )


class Receiver:
    """An address that answers as it is told and keeps what it took.

    Attributes:
        url: of it.
        statuses: of the next answers, then 204.
        headers: of the answers besides.
        taken: method, path, headers and body of every request.
        held: requests wait until it is set.
    """

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.taken: list[tuple[str, str, dict[str, str], bytes]] = []
        self.held = threading.Event()
        self.held.set()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, _, body in self.taken]

    @contextmanager
    def listening(self) -> Iterator[str]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.taken.append(("POST", self.path, dict(self.headers), body))
                receiver.held.wait(10)
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:  # what a redirect that was followed would come to
                receiver.taken.append(("GET", self.path, dict(self.headers), b"{}"))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with serving_with(Handler) as address:
            try:
                yield address
            finally:
                self.held.set()  # before the server is closed, which waits for its requests


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


def wait_for(holds: Callable[[], bool], seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_an_event_is_a_cloud_event_in_structured_json(receiver: Receiver) -> None:
    with receiver.listening() as address:
        webhook = Webhook(f"{address}/hook?to=desk", token="s3cret-token", settings=SOON)
        sink = webhook.sink()
        sink.event(track(3), None)
        webhook.source_failed(FailureEvent(source="97", message="no camera 97"))
        webhook.close()
    (_, path, headers, body), _ = receiver.taken
    assert path == "/hook?to=desk"
    assert headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert headers["Authorization"] == "Bearer s3cret-token"
    first, second = receiver.events
    assert first["specversion"] == second["specversion"] == "1.0"
    assert (first["type"], second["type"]) == ("protoleak.track", "protoleak.failure")
    assert first["id"] != second["id"]
    assert (first["subject"], "subject" in second) == ("track/3", False)
    assert first["datacontenttype"] == "application/json"
    assert first["time"].endswith("Z")
    made = datetime.fromisoformat(first["time"].replace("Z", "+00:00"))
    assert abs(datetime.now(made.tzinfo) - made) < timedelta(minutes=1)
    source = urlsplit(first["source"])
    assert (source.scheme, bool(source.netloc)) == ("protoleak", True)
    assert unquote(source.path[1:]) == "rtsp://***@gate/live"
    assert msgspec.json.decode(msgspec.json.encode(first["data"]), type=TrackEvent) == track(3)
    # The attributes' names are lower-case letters and digits, as the specification wants them.
    assert all(name.isalnum() and name.islower() for name in json.loads(body))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again_and_said_once(receiver: Receiver, status: int) -> None:
    said: list[str] = []
    receiver.statuses = [status, status]
    with receiver.listening() as address:
        webhook = Webhook(address, settings=SOON, notify=said.append)
        webhook.put(track(1))
        webhook.put(track(2))
        webhook.close()
    assert [event["data"]["track"] for event in receiver.events] == [1, 1, 1, 2]
    assert len({event["id"] for event in receiver.events[:3]}) == 1  # the receiver can tell that it is the same event
    assert (webhook.delivered, webhook.lost.total()) == (2, 0)
    assert len(said) == 2
    assert f"status {status}" in said[0]
    assert "taken again" in said[1]


def test_a_refusal_is_not_tried_again_and_the_next_event_is_posted(receiver: Receiver) -> None:
    receiver.statuses = [400]
    with receiver.listening() as address:
        webhook = Webhook(address, settings=SOON)
        webhook.put(track(1))
        webhook.put(track(2))
        webhook.close()
    assert [event["data"]["track"] for event in receiver.events] == [1, 2]
    assert webhook.lost == {"status 400 Bad Request": 1}
    assert "1 delivered, 1 lost (status 400 Bad Request: 1)" in webhook.summary


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    other = Receiver()
    with other.listening() as elsewhere, receiver.listening() as address:
        receiver.statuses, receiver.headers = [307], {"Location": elsewhere}
        webhook = Webhook(address, token="s3cret-token", settings=SOON)
        webhook.put(track(1))
        webhook.close()
    assert other.taken == []
    assert len(receiver.taken) == 1
    assert "redirect" in webhook.summary


def test_a_receiver_that_is_gone_gets_nothing_more(receiver: Receiver) -> None:
    receiver.statuses = [410]
    with receiver.listening() as address:
        webhook = Webhook(address, settings=SOON)
        webhook.put(track(1))
        wait_for(lambda: webhook.lost.total() == 1)
        webhook.put(track(2))
        webhook.close()
    assert len(receiver.taken) == 1
    assert webhook.lost == {"status 410 Gone": 2}


def test_the_queue_is_bounded_and_the_oldest_events_are_lost_and_counted(receiver: Receiver) -> None:
    receiver.held.clear()
    settings = WebhookSettings(timeout=10, queue=3, grace=10)
    with receiver.listening() as address:
        webhook = Webhook(address, settings=settings)
        webhook.put(track(0))
        wait_for(lambda: len(receiver.taken) == 1)  # it is on its way, and holds no place in the queue
        for number in range(1, 11):
            webhook.put(track(number))
        receiver.held.set()
        webhook.close()
    assert [event["data"]["track"] for event in receiver.events] == [0, 8, 9, 10]
    assert webhook.lost == {"the queue was full": 7}
    assert webhook.delivered == 4


def test_an_address_that_never_answers_ends_in_time_and_every_event_is_counted() -> None:
    webhook = Webhook("http://127.0.0.1:1/", settings=WebhookSettings(first_delay=0.5, grace=0.3))
    for number in range(5):
        webhook.put(track(number))
    begun = time.monotonic()
    webhook.close()
    assert time.monotonic() - begun < 2
    assert (webhook.delivered, webhook.lost.total()) == (0, 5)


def test_a_receiver_that_hangs_holds_up_neither_the_events_nor_the_end(receiver: Receiver) -> None:
    receiver.held.clear()
    with receiver.listening() as address:
        webhook = Webhook(address, settings=WebhookSettings(timeout=30))
        begun = time.monotonic()
        for number in range(100):
            webhook.put(track(number))
        assert time.monotonic() - begun < 1
        webhook.close(0.2)
        assert time.monotonic() - begun < 3
    assert webhook.lost.total() == 100


def test_a_user_in_the_address_is_basic_authentication_and_in_no_message() -> None:
    receiver, said = Receiver(), []
    receiver.statuses = [500]
    with receiver.listening() as address:
        host = address.removeprefix("http://")
        webhook = Webhook(f"http://ann:pass%40word@{host}/in?key=abc", settings=SOON, notify=said.append)
        webhook.put(GapEvent(source="0", timestamp=1.0, seconds=None, reason="no signal"))
        webhook.close()
    assert receiver.taken[0][2]["Authorization"] == "Basic YW5uOnBhc3NAd29yZA=="
    assert receiver.taken[0][1] == "/in?key=abc"
    for text in (*said, webhook.summary):
        assert host in text
        assert not any(secret in text for secret in ("ann", "pass", "abc"))


@pytest.mark.parametrize(
    "url", ["ftp://host/", "http://", "https:///path", "http://a b/", "http://h:99999/", "host/path"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ProtoleakError, match="no address to post to"):
        Webhook(url)
