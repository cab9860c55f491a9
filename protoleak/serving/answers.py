"""Answers in JSON: what was asked for, or why there is nothing."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from protoleak.serving.refusal import Refusal

JSON = "application/json"


def json_answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Any value that msgspec encodes."""
    return Response(msgspec.json.encode(value), status, headers, JSON)


def refusal_answer(refusal: Refusal) -> Response:
    """A refusal's own body, status and headers."""
    return json_answer(refusal.body, refusal.status, refusal.headers)
