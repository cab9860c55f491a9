"""Who may ask, and what every answer carries, around the endpoints."""

from __future__ import annotations

import hmac
import http
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protoleak.serving.metrics import Metrics
from protoleak.serving.page_files import page_files

# What tells nothing of images, and is asked by those who have no token: probes, Prometheus, and a browser that opens
# the page, which then sends the token that is typed there.
FREE = ("/v1/health/", "/v2/health/", "/v1/metrics", "/v2/models/protoleak/ready")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)
NOT_SHARED = (b"cross-origin-resource-policy", b"same-origin")
CLOSING = (b"connection", b"close")


class Access:
    """Wraps an application: the token, the headers of every answer, and the count of answers.

    Args:
        token: that must be borne; None for none.
        stopping: whether the server takes nothing more; connections are then closed with their answers.
        shared: whether pages of other origins may read answers.
    """

    def __init__(
        self, app: ASGIApp, *, token: str | None, metrics: Metrics, stopping: Callable[[], bool], shared: bool
    ) -> None:
        self._app, self._metrics, self._stopping = app, metrics, stopping
        self._token = None if token is None else token.encode()
        self._headers = HEADERS if shared else (*HEADERS, NOT_SHARED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":  # none is spoken here
                await send({"type": "websocket.close", "code": 1000})
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(str(message["status"])).inc()
                # As they are sent, without an object for them: every answer goes through here.
                sent = [*message["headers"], *self._headers]
                if self._stopping() and CLOSING not in sent:
                    sent.append(CLOSING)
                message["headers"] = sent
            await send(message)

        if self._token is None or _is_free(scope) or self._borne(scope):
            await self._app(scope, receive, sending)
            return
        self._metrics.rejected.labels("unauthorized").inc()
        message = "a token is wanted: Authorization: Bearer TOKEN"
        body = f'{{"error":{{"code":"unauthorized","message":"{message}"}}}}'.encode()
        await sending(
            {
                "type": "http.response.start",
                "status": http.HTTPStatus.UNAUTHORIZED.value,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode()),
                    (b"www-authenticate", b"Bearer"),
                    (b"connection", b"close"),
                ],
            }
        )
        await sending({"type": "http.response.body", "body": body})

    def _borne(self, scope: Scope) -> bool:
        kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        assert self._token is not None
        return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)


def _is_free(scope: Scope) -> bool:
    path, method = scope["path"], scope["method"]
    if method == "OPTIONS":  # a browser asks so before it sends a token
        return True
    return method in ("GET", "HEAD") and (path in page_files() or path.startswith(FREE))
