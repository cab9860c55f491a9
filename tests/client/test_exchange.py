"""A busy server is asked again, as often as it says; every other refusal is an error of the package's."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("httpx2", reason="it speaks HTTP: pip install 'protoleak[client]'")

import protoleak
from protoleak.client import Client
from protoleak.client.exchange import Address
from tests.client.conftest import PlayedServer

IMAGE = b"any bytes"


def refusal(status: int, code: str = "some_code", message: str = "some reason", **headers: str) -> object:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return (status, named, {"error": {"code": code, "message": message}})


BUSY = refusal(503, "overloaded", "64 images wait", retry_after="0")
TAKEN = refusal(422, "unreadable_image", "not an image")  # the shortest answer that is one


def outcome_of(*answers: object, patience: float = 5) -> tuple[PlayedServer, object]:
    server = PlayedServer(*answers)  # type: ignore[arg-type]
    with server.listening() as address, Client(address, patience=patience, timeout=5) as client:
        try:
            (outcome,) = client.each([IMAGE])
        except protoleak.ProtoleakError as error:
            return server, error
        return server, outcome


def test_a_busy_server_is_asked_again_with_the_same_image() -> None:
    server, outcome = outcome_of(BUSY, BUSY, TAKEN)
    assert isinstance(outcome, protoleak.MediaError)
    assert [body for _, _, body in server.asked] == [IMAGE] * 3


def test_the_wait_is_the_one_that_the_server_asks_for() -> None:
    begun = time.monotonic()
    outcome_of(refusal(503, retry_after="1"), TAKEN)
    assert time.monotonic() - begun >= 1


def test_patience_ends_without_another_wait() -> None:
    begun = time.monotonic()
    _, outcome = outcome_of(refusal(503, "overloaded", "64 images wait", retry_after="20"), patience=1)
    assert time.monotonic() - begun < 10  # the server asked for 20
    assert type(outcome) is protoleak.ServerError
    assert "503: 64 images wait" in str(outcome)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(422, "no_face"), protoleak.NoFaceError),
        (refusal(422, "unreadable_image"), protoleak.MediaError),
        (refusal(413, "too_large"), protoleak.MediaError),
        (refusal(500, "engine_error"), protoleak.EngineError),
        (refusal(400), protoleak.ServerError),
        (refusal(401), protoleak.ServerError),
        (refusal(404), protoleak.ServerError),
        (refusal(500, "internal_error"), protoleak.ServerError),
        (refusal(504, "timeout"), protoleak.ServerError),
    ],
)
def test_every_refusal_is_an_error_of_the_package(answer: object, kind: type[protoleak.ProtoleakError]) -> None:
    server, outcome = outcome_of(answer)
    assert type(outcome) is kind
    assert "some reason" in str(outcome)
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"", b"<html>502 Bad Gateway</html>", b"[" * 100_000, b'{"verdict": "known"}'])
@pytest.mark.parametrize("status", [200, 302, 502])
def test_an_answer_that_no_server_of_ours_gives_is_an_error(status: int, body: bytes) -> None:
    _, outcome = outcome_of((status, {"Location": "http://127.0.0.1:1/"}, body))
    assert type(outcome) is protoleak.ServerError


def test_a_connection_that_is_lost_once_is_made_again() -> None:
    server, outcome = outcome_of((0, {}, b""), TAKEN)
    assert type(outcome) is protoleak.MediaError
    assert len(server.asked) == 2


def test_a_server_that_hangs_up_again_and_again_is_an_error() -> None:
    server, outcome = outcome_of((0, {}, b""))
    assert type(outcome) is protoleak.ServerError
    assert "no answer" in str(outcome)
    assert len(server.asked) == 2


def test_a_server_that_is_not_there_is_an_error() -> None:
    with Client("http://ann:secret@127.0.0.1:1") as client, pytest.raises(protoleak.ServerError) as caught:
        client(IMAGE)
    assert "http://127.0.0.1:1: no answer" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "host:8000", "ftp://host", "http://", "http://[bad"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(protoleak.ServerError, match="no address of a server"):
        Client(url)


def test_nothing_that_was_given_is_sent_but_the_image(tmp_path: pytest.TempPathFactory) -> None:
    path = tmp_path / "a-telling-name.jpg"  # type: ignore[operator]
    path.write_bytes(IMAGE)
    server = PlayedServer(TAKEN)  # type: ignore[arg-type]
    with server.listening() as address, Client(address) as client:
        list(client.each([path]))
    ((target, headers, body),) = server.asked
    assert body == IMAGE
    assert "telling" not in target + str(headers)


def test_a_source_is_named_in_the_path() -> None:
    address = Address("http://127.0.0.1:8000", source="desk & co")
    assert address.screening(every_face=False) == "/v1/screen?source=desk+%26+co"
    assert address.screening(every_face=True) == "/v1/screen?faces=1&source=desk+%26+co"
    assert Address("http://127.0.0.1:8000").screening(every_face=False) == "/v1/screen"
