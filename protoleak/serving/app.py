"""The application that a server runs: which path asks which endpoint, who may ask, and how errors are answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from protoleak.serving import kserve
from protoleak.serving.access import Access
from protoleak.serving.answers import json_answer, refusal_answer
from protoleak.serving.endpoints import Endpoints
from protoleak.serving.page_files import page_files
from protoleak.serving.refusal import ClientLeft, Refusal, of_error
from protoleak.serving.service import Service


def build_app(service: Service) -> ASGIApp:
    """The application around a service."""
    endpoints = Endpoints(service)
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


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refusal_answer(error)


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it; the count of answers says that it was so


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    return json_answer({"error": {"code": code, "message": error.detail}}, error.status_code, dict(error.headers or {}))


async def _broken(_: Request, error: Exception) -> Response:
    return refusal_answer(of_error(error))
