"""The endpoints: what is asked over HTTP, and what is answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import anyio
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from protoleak.serving import kserve
from protoleak.serving.access import Access
from protoleak.serving.bodies import drain, images_in, read_body
from protoleak.serving.drift import source_named
from protoleak.serving.headers import whole_number
from protoleak.serving.metrics import CONTENT_TYPE
from protoleak.serving.openapi import document
from protoleak.serving.page_files import page_files
from protoleak.serving.refusal import ClientLeft, Refusal, busy, of_error
from protoleak.serving.service import Judged, Service

T = TypeVar("T")

JSON = "application/json"
LARGE_BODY = 2**20  # bytes
# Nothing from elsewhere, no code but page.js, and previews of what was dropped there.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def build_app(service: Service) -> ASGIApp:
    """The application that a server runs."""
    endpoints = _Endpoints(service)
    routes = [
        Route("/v1/screen", endpoints.screen, methods=["POST"]),
        Route("/v1/bundle", endpoints.bundle),
        Route("/v1/drift", endpoints.drift),
        Route("/v1/health/live", endpoints.live),
        Route("/v1/health/ready", endpoints.ready),
        Route("/v1/metrics", endpoints.metrics),
        Route("/v1/openapi.json", endpoints.openapi),
        Route("/v1/streams", endpoints.start_stream, methods=["POST"]),
        Route("/v1/streams", endpoints.streams),
        Route("/v1/streams/{id}", endpoints.stream),
        Route("/v1/streams/{id}", endpoints.end_stream, methods=["DELETE"]),
        Route("/v1/streams/{id}/events", endpoints.stream_events),
        Route("/v2", endpoints.kserve_server),
        Route("/v2/health/live", endpoints.live),
        Route("/v2/health/ready", endpoints.ready),
    ]
    for version in ("", f"/versions/{kserve.VERSION}"):
        model = f"/v2/models/{kserve.MODEL}{version}"
        routes += [
            Route(model, endpoints.kserve_model),
            Route(f"{model}/ready", endpoints.ready),
            Route(f"{model}/infer", endpoints.infer, methods=["POST"]),
        ]
    routes += [Route(path, endpoints.page) for path in page_files()]
    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        Refusal: _refused,
        ClientLeft: _left,
        HTTPException: _http_error,
        Exception: _broken,
    }
    endpoints_alone = Starlette(routes=routes, exception_handlers=handlers)
    endpoints_alone.router.redirect_slashes = False  # to an address that the client's Host header would make up
    app: ASGIApp = endpoints_alone
    origins = service.settings.cors_origins
    app = Access(app, settings=service.settings, metrics=service.metrics, stopping=lambda: service.stopping)
    if origins:
        app = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
            expose_headers=["Retry-After"],
        )
    return app


class _Endpoints:
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
                return _json(_entry(one, every_face), refusal.status)
            return _json(_entry(one, every_face))
        return _json({"data": [_entry(one, every_face) for one in judged]})

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
        return _json(self._service.about())

    async def drift(self, _: Request) -> Response:
        """GET /v1/drift."""
        return _json({"data": self._service.drift()})

    async def live(self, _: Request) -> Response:
        """GET /v1/health/live: the process answers."""
        return _json({"live": True})

    async def ready(self, _: Request) -> Response:
        """GET /v1/health/ready: it would judge an image now."""
        why_not = self._service.why_not_ready
        self._service.metrics.ready.set(why_not is None)
        if why_not is not None:
            return _refusal(busy("not_ready", why_not))
        return _json({"ready": True})

    async def metrics(self, _: Request) -> Response:
        """GET /v1/metrics."""
        self._service.metrics.ready.set(self._service.why_not_ready is None)
        return Response(self._service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def openapi(self, _: Request) -> Response:
        """GET /v1/openapi.json."""
        return _json(document(self._service.settings.token is not None))

    async def start_stream(self, request: Request) -> Response:
        """POST /v1/streams: a live source is screened from now on."""
        body = await self._body(request, time.monotonic() + self._service.settings.limits.seconds)
        stream = self._service.streams.start(body, self._service.acquired)
        return _json(stream.record, 201, {"Location": f"/v1/streams/{stream.id}"})

    async def streams(self, _: Request) -> Response:
        """GET /v1/streams."""
        return _json({"data": self._service.streams.all()})

    async def stream(self, request: Request) -> Response:
        """GET /v1/streams/{id}."""
        return _json(self._service.streams.get(request.path_params["id"]).record)

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
        return _json(kserve.SERVER_METADATA)

    async def kserve_model(self, _: Request) -> Response:
        """GET /v2/models/protoleak."""
        return _json(kserve.MODEL_METADATA)

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


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, JSON)


def _refusal(refusal: Refusal) -> Response:
    return _json(refusal.body, refusal.status, refusal.headers)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _refusal(error)


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it; the count of answers says that it was so


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    return _json({"error": {"code": code, "message": error.detail}}, error.status_code, dict(error.headers or {}))


async def _broken(_: Request, error: Exception) -> Response:
    return _refusal(of_error(error))
