"""The endpoints: what is asked over HTTP, and what is answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from protoleak.serving import kserve
from protoleak.serving.answers import json_answer, refusal_answer
from protoleak.serving.bodies import drain, images_in, read_body
from protoleak.serving.drift import source_named
from protoleak.serving.headers import whole_number
from protoleak.serving.metrics import CONTENT_TYPE
from protoleak.serving.openapi import document
from protoleak.serving.page_files import page_files
from protoleak.serving.refusal import Refusal, busy, of_error
from protoleak.serving.service import Judged, Service

T = TypeVar("T")

LARGE_BODY = 2**20  # bytes
# Nothing from elsewhere, no code but page.js, and previews of what was dropped there.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Endpoints:
    """Each method answers one endpoint."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def screen(self, request: Request) -> Response:
        """POST /v1/screen: verdicts on the images in the body."""
        until = time.monotonic() + self._service.settings.limits.seconds
        every_face, source = await self._asked(request)
        body = await self._body(request, until)
        kind, limits = request.headers.get("content-type", ""), self._service.settings.limits
        images, is_raw = await _understood(body, lambda: images_in(kind, body, limits))
        async with _watched(request) as left:
            judged = await self._service.outcomes(images, every_face, left, until, source)
        if is_raw:
            (one,) = judged
            if one.done.error is not None:
                refusal = of_error(one.done.error)
                return json_answer(_entry(one, every_face), refusal.status)
            return json_answer(_entry(one, every_face))
        return json_answer({"data": [_entry(one, every_face) for one in judged]})

    async def infer(self, request: Request) -> Response:
        """POST /v2/models/protoleak/infer."""
        limits = self._service.settings.limits
        until = time.monotonic() + limits.seconds
        body = await self._body(request, until)
        length = request.headers.get(kserve.HEADER_LENGTH)
        inference = await _understood(body, lambda: kserve.Inference(body, length, limits))
        async with _watched(request) as left:
            judged = await self._service.outcomes(inference.images, self._service.judge.by_face, left, until)
        lines = [b"\n".join(msgspec.json.encode(record) for record in _records(one)) for one in judged]
        content, headers = inference.answer(lines)
        return Response(content, headers=headers)

    async def bundle(self, _: Request) -> Response:
        """GET /v1/bundle."""
        return json_answer(self._service.about())

    async def drift(self, _: Request) -> Response:
        """GET /v1/drift."""
        return json_answer({"data": self._service.drift()})

    async def live(self, _: Request) -> Response:
        """GET /v1/health/live: the process answers."""
        return json_answer({"live": True})

    async def ready(self, _: Request) -> Response:
        """GET /v1/health/ready: it would judge an image now."""
        why_not = self._service.why_not_ready
        self._service.metrics.ready.set(why_not is None)
        if why_not is not None:
            return refusal_answer(busy("not_ready", why_not))
        return json_answer({"ready": True})

    async def metrics(self, _: Request) -> Response:
        """GET /v1/metrics."""
        self._service.metrics.ready.set(self._service.why_not_ready is None)
        return Response(self._service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def openapi(self, _: Request) -> Response:
        """GET /v1/openapi.json."""
        return json_answer(document(self._service.settings.token is not None))

    async def start_stream(self, request: Request) -> Response:
        """POST /v1/streams: a live source is screened from now on."""
        body = await self._body(request, time.monotonic() + self._service.settings.limits.seconds)
        stream = self._service.streams.start(body, self._service.acquired)
        return json_answer(stream.record, 201, {"Location": f"/v1/streams/{stream.id}"})

    async def streams(self, _: Request) -> Response:
        """GET /v1/streams."""
        return json_answer({"data": self._service.streams.all()})

    async def stream(self, request: Request) -> Response:
        """GET /v1/streams/{id}."""
        return json_answer(self._service.streams.get(request.path_params["id"]).record)

    async def end_stream(self, request: Request) -> Response:
        """DELETE /v1/streams/{id}."""
        self._service.streams.end(request.path_params["id"])
        return Response(status_code=204)

    async def stream_events(self, request: Request) -> Response:
        """GET /v1/streams/{id}/events: server-sent events."""
        stream = self._service.streams.get(request.path_params["id"])
        after = whole_number(request.headers.get("last-event-id", "")) or 0
        return StreamingResponse(self._service.streams.events(stream, after), media_type="text/event-stream")

    async def kserve_server(self, _: Request) -> Response:
        """GET /v2."""
        return json_answer(kserve.SERVER_METADATA)

    async def kserve_model(self, _: Request) -> Response:
        """GET /v2/models/protoleak."""
        return json_answer(kserve.MODEL_METADATA)

    async def page(self, request: Request) -> Response:
        """GET /: the page, and its two files."""
        content, kind = page_files()[request.url.path]
        return Response(content, headers={"Content-Type": kind, "Content-Security-Policy": POLICY})

    async def _asked(self, request: Request) -> tuple[bool, str | None]:
        """Whether a verdict on every face is wanted, and where the images are from."""
        every_face, source = False, None
        try:
            for name, value in request.query_params.multi_items():
                if name == "source":
                    source = source_named(value)
                elif name == "faces" and value in ("0", "1"):
                    every_face = every_face or value == "1"
                else:
                    raise Refusal(
                        400,
                        "bad_query",
                        f"{name[:20]}={value[:20]}: only faces=1 and source=NAME are taken; the significance level and "
                        "the rest are set where the server is started",
                    )
        except Refusal:
            await drain(request)
            raise
        return every_face, source

    async def _body(self, request: Request, until: float) -> bytes:
        """The request's body, read while there is room for what is in it."""
        try:
            _ = self._service.judge
            self._service.check_room_to_read()
        except Refusal:
            await drain(request)
            raise
        with self._service.reading():
            try:
                with anyio.fail_after(max(0.0, until - time.monotonic())):
                    return await read_body(request, self._service.settings.limits.body)
            except TimeoutError:
                raise Refusal(408, "timeout", "the body did not come in time", {"Connection": "close"}) from None


async def _understood(body: bytes, read: Callable[[], T]) -> T:
    """What `read` makes of a body; of a large one in a thread, so that others are answered meanwhile."""
    return read() if len(body) < LARGE_BODY else await asyncio.to_thread(read)


def _records(one: Judged) -> list[dict[str, Any]]:
    """As `protoleak screen --out` writes them."""
    return [record.to_dict(one.identity) for record in one.done.records]


def _entry(one: Judged, every_face: bool) -> dict[str, Any]:
    """What JSON says of one image."""
    entries = _records(one)
    if one.done.error is not None:
        return entries[0] | of_error(one.done.error).body
    for entry in entries:
        if entry["verdict"] is None:  # of one face, while others have verdicts
            entry["error"] = {"code": "engine_error", "message": entry["reason"]}
    return {"data": entries} if every_face else entries[0]


@contextlib.asynccontextmanager
async def _watched(request: Request) -> AsyncIterator[asyncio.Future[None]]:
    """A future that is done when the client has gone."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    watching = asyncio.ensure_future(watch())
    try:
        yield watching
    finally:
        watching.cancel()
