"""Who may ask, and what every answer carries, around the endpoints."""

from __future__ import annotations

import hmac
from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protoleak.serving.bodies import drain
from protoleak.serving.headers import is_own_name
from protoleak.serving.metrics import Metrics
from protoleak.serving.page_files import page_files
from protoleak.serving.refusal import Refusal
from protoleak.serving.settings import ServeSettings

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
READING = ("GET", "HEAD", "OPTIONS")  # methods that change nothing and cost little
OTHER_SITES = (b"cross-site", b"same-site")  # as browsers say it, in Sec-Fetch-Site


class Access:
    """Wraps an application: the token, what pages of other sites have their browsers do, the headers of every answer,
    and the count of answers.

    Args:
        settings: whose token, names and origins are meant.
        stopping: whether the server takes nothing more; connections are then closed with their answers.
    """

    def __init__(
        self, app: ASGIApp, *, settings: ServeSettings, metrics: Metrics, stopping: Callable[[], bool]
    ) -> None:
        self._app, self._metrics, self._stopping = app, metrics, stopping
        self._token = None if settings.token is None else settings.token.encode()
        self._origins = settings.cors_origins
        self._names = frozenset(name.lower() for name in settings.allow_hosts)
        # With a token, no page of another site can ask anything; and where the server is open to all, so is this.
        self._by_name = bool(self._names) or (settings.token is None and not settings.open_to_all)
        self._headers = HEADERS if self._origins else (*HEADERS, NOT_SHARED)

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

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, sending)
            return
        self._metrics.rejected.labels(refusal.code).inc()
        if scope["method"] not in READING:
            await drain(Request(scope, receive))
        body = msgspec.json.encode(refusal.body)
        own = {"Content-Type": "application/json", "Content-Length": str(len(body)), **refusal.headers}
        headers = [(name.lower().encode(), value.encode()) for name, value in own.items()]
        await sending({"type": "http.response.start", "status": refusal.status, "headers": [*headers, CLOSING]})
        await sending({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Scope) -> Refusal | None:
        """Why a request doesn't come as far as the endpoints; None where it does."""
        if self._by_name and (host := _sent(scope, b"host")) and not is_own_name(host, self._names):
            name = host[:60].decode("latin-1")
            return Refusal(
                421,
                "unknown_host",
                f"no server of the name {name!r}: where a proxy in front passes that on, start this one with "
                "--allow-host NAME",
            )
        if self._token is not None and not _is_free(scope) and not _is_borne(scope, self._token):
            message = "a token is wanted: Authorization: Bearer TOKEN"
            return Refusal(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})
        is_from_elsewhere = scope["method"] not in READING and _sent(scope, b"sec-fetch-site") in OTHER_SITES
        if (
            is_from_elsewhere
            and "*" not in self._origins
            and _sent(scope, b"origin").decode("latin-1") not in self._origins
        ):
            return Refusal(
                403, "other_site", "pages of other origins may ask where the server was started with --cors-origin"
            )
        return None


def _sent(scope: Scope, name: bytes) -> bytes:
    """A header's value, empty where there is none; read as it came, since every request goes through here."""
    for one, value in scope["headers"]:
        if one == name:
            return bytes(value)
    return b""


def _is_borne(scope: Scope, token: bytes) -> bool:
    kind, _, given = _sent(scope, b"authorization").partition(b" ")
    return kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), token)


def _is_free(scope: Scope) -> bool:
    path, method = scope["path"], scope["method"]
    if method == "OPTIONS":  # a browser asks so before it sends a token
        return True
    return method in ("GET", "HEAD") and (path in page_files() or path.startswith(FREE))
