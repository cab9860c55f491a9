"""The description of the endpoints for programs: OpenAPI 3.1, with the schemas of the types that are sent."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from protoleak.faces.still_images import FaceVerdict
from protoleak.runtime.drift import DriftEvent
from protoleak.runtime.verdict import Verdict
from protoleak.serving.drift import LONGEST_NAME, SourceDrift
from protoleak.serving.kserve import MODEL
from protoleak.serving.settings import RequestLimits
from protoleak.serving.stream import StreamRecord, StreamRequest
from protoleak.version import __version__
from protoleak.video.events import FaceEvent, FailureEvent, GapEvent, TrackEvent

TYPES = (
    Verdict,
    FaceVerdict,
    FaceEvent,
    TrackEvent,
    GapEvent,
    FailureEvent,
    DriftEvent,
    SourceDrift,
    StreamRequest,
    StreamRecord,
    RequestLimits,
)
REFERENCE = "#/components/schemas/{name}"
JSON = "application/json"
OUTCOMES = ("verdict", "no_face", "error")


@cache
def document(with_token: bool) -> dict[str, Any]:
    """The whole document.

    Args:
        with_token: requests must bear a token.
    """
    _, components = msgspec.json.schema_components(TYPES, ref_template=REFERENCE)
    security: list[dict[str, list[str]]] = [{"token": []}] if with_token else []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "protoleak",
            "version": __version__,
            "summary": "Tells which generative model made a face image, and says so when it knows none.",
            "description": "A verdict is one piece of evidence, with a stated rate of error. It proves nothing alone.",
        },
        "security": security,
        "paths": _paths(),
        "components": {
            "schemas": components | _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas() -> dict[str, Any]:
    error = {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
    }
    record = {
        "description": "A line of verdicts.jsonl, as `protoleak screen --out` writes it; of an image without a verdict "
        "it holds `error` too.",
        "type": "object",
        "required": ["schema", "outcome", "sha256", "verdict", "alpha", "bundle", "settings"],
        "properties": {
            "schema": {"const": 1},
            "outcome": {"enum": list(OUTCOMES)},
            "sha256": {"type": ["string", "null"]},
            "face": {"type": ["integer", "null"]},
            "faces": {"type": ["integer", "null"]},
            "reason": {"type": ["string", "null"]},
            "settings": {"type": "object"},
            "error": error,
        },
    }
    judged = {"allOf": [_reference("Record"), {"anyOf": [_reference("FaceVerdict"), _reference("Verdict")]}]}
    return {
        "Record": record,
        "JudgedRecord": judged,
        "Error": {"type": "object", "required": ["error"], "properties": {"error": error}},
        "Faces": {"type": "object", "required": ["data"], "properties": {"data": _list(_reference("Record"))}},
        "Answer": {"anyOf": [_reference("JudgedRecord"), _reference("Faces"), _reference("Answers")]},
        "Answers": {
            "type": "object",
            "required": ["data"],
            "properties": {"data": _list({"anyOf": [_reference(name) for name in ("Record", "Faces", "Error")]})},
        },
        "DataUris": {
            "type": "object",
            "required": ["input"],
            "additionalProperties": False,
            "properties": {"input": _list({"type": "string", "pattern": "^data:"})},
        },
        "Drift": {
            "type": "object",
            "required": ["data"],
            "properties": {"data": _list(_reference("SourceDrift"))},
        },
        "Form": {
            "type": "object",
            "required": ["image"],
            "additionalProperties": False,
            "properties": {"image": _list({"type": "string", "format": "binary"})},
        },
    }


def _paths() -> dict[str, Any]:
    faces = {
        "name": "faces",
        "in": "query",
        "description": "1 for a verdict on each face; else on the largest, or on the whole where the bundle looks "
        "at no faces.",
        "schema": {"enum": ["0", "1"]},
    }
    source = {
        "name": "source",
        "in": "query",
        "description": "Where the images are from, as a camera or a desk: evidence is kept for each that they are not "
        "like the calibration's. What is named so is shown to whoever reads the metrics.",
        "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME},
    }
    name = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    images = {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {"schema": _reference("Form")},
        JSON: {"schema": _reference("DataUris")},
    }
    events = {"text/event-stream": {"schema": {"type": "string"}}}
    return {
        "/v1/screen": {
            "post": _operation(
                "Verdicts on images: on one as it is, or on several in a form or as data: URIs",
                _answers(_reference("Answer"), 400, 401, 403, 408, 413, 415, 422, 500, 503, 504),
                parameters=[faces, source],
                body=images,
            )
        },
        "/v1/bundle": {
            "get": _operation("What judges, what it promises, and the limits", _answers({"type": "object"}, 401, 503))
        },
        "/v1/drift": {
            "get": _operation(
                "The evidence, source by source, that images are not like those of the calibration",
                _answers(_reference("Drift"), 401),
            )
        },
        "/v1/health/live": {"get": _free("Whether the process answers", _answers({"type": "object"}))},
        "/v1/health/ready": {"get": _free("Whether it would judge an image now", _answers({"type": "object"}, 503))},
        "/v1/metrics": {
            "get": _free(
                "Counts, for Prometheus",
                {"200": {"description": "as text", "content": {"text/plain": {"schema": {"type": "string"}}}}},
            )
        },
        "/v1/streams": {
            "post": _operation(
                "Screens a live source from now on",
                _answers(_reference("StreamRecord"), 400, 401, 403, 408, 413, 415, 503, good="201"),
                body={JSON: {"schema": _reference("StreamRequest")}},
            ),
            "get": _operation("The live sources", _answers({"type": "object"}, 401)),
        },
        "/v1/streams/{id}": {
            "get": _operation("A live source", _answers(_reference("StreamRecord"), 401, 404), parameters=[name]),
            "delete": _operation(
                "Ends the screening of a live source",
                {"204": {"description": "it ends"}} | _errors(401, 403, 404),
                parameters=[name],
            ),
        },
        "/v1/streams/{id}/events": {
            "get": _operation(
                "The events of a live source, as they come: face, track, gap, failure, drift and end",
                {"200": {"description": "server-sent events", "content": events}} | _errors(401, 404),
                parameters=[name],
            )
        },
    } | _inference_paths()


def _inference_paths() -> dict[str, Any]:
    """The open inference protocol's, which its own specification describes to the last field."""
    tensors = {JSON: {"schema": {"type": "object"}}, "application/octet-stream": {"schema": {"type": "string"}}}
    health = _free("As under /v1/health", _answers({"type": "object"}, 503))
    model = f"/v2/models/{MODEL}"
    return {
        "/v2": {"get": _operation("The server, in the open inference protocol", _answers({"type": "object"}, 401))},
        "/v2/health/live": {"get": health},
        "/v2/health/ready": {"get": health},
        model: {"get": _operation("The model: its inputs and outputs", _answers({"type": "object"}, 401))},
        f"{model}/ready": {"get": health},
        f"{model}/infer": {
            "post": _operation(
                "Verdicts on images in a tensor, each as JSON Lines",
                {"200": {"description": "well", "content": tensors}}
                | _errors(400, 401, 403, 408, 413, 415, 500, 503, 504),
                body=tensors,
            )
        },
    }


def _operation(
    summary: str,
    responses: dict[str, Any],
    *,
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _free(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return _operation(summary, responses) | {"security": []}


def _answers(schema: dict[str, Any], *errors: int, good: str = "200") -> dict[str, Any]:
    return {good: {"description": "well", "content": {JSON: {"schema": schema}}}} | _errors(*errors)


def _errors(*codes: int) -> dict[str, Any]:
    known = (*codes, 421) if 401 in codes else codes  # whoever wants a token, or none, looks at the name as well
    return {
        str(code): {"description": ERRORS[code], "content": {JSON: {"schema": _reference("Error")}}} for code in known
    }


ERRORS = {
    400: "not well formed, or it asks for something that is not given: an address, a path, another significance level",
    401: "a token is wanted",
    403: "not allowed here",
    404: "there is no such thing",
    408: "the body did not come in time",
    413: "the body is too large",
    415: "a type or encoding that is not taken",
    421: "the server is asked by a name that is not its own",
    422: "an image that cannot be read, is too large, or holds no face",
    500: "the engines gave nothing that is a result, or the server is broken",
    503: "no room, or not ready: come again after Retry-After seconds",
    504: "no verdict in time",
}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": REFERENCE.format(name=name)}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}
