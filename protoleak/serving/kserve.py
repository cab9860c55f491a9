"""KServe's open inference protocol, version 2, with its extension for binary tensors, so that `tritonclient` asks this
server as it asks Triton: https://github.com/kserve/open-inference-protocol.

One model, `protoleak`: `image` BYTES [N] or [N, 1], encoded images, gives `verdicts` BYTES of that shape, each JSON
Lines as `protoleak screen --out` writes them, as in the repositories of `protoleak triton`.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from protoleak.serving.bodies import check_count, json_of
from protoleak.serving.headers import whole_number
from protoleak.serving.refusal import Refusal
from protoleak.serving.settings import RequestLimits
from protoleak.version import __version__

MODEL, VERSION = "protoleak", "1"
INPUT, OUTPUT, TYPE = "image", "verdicts", "BYTES"
HEADER_LENGTH = "Inference-Header-Content-Length"
LENGTH = struct.Struct("<I")

SERVER_METADATA: dict[str, Any] = {"name": MODEL, "version": __version__, "extensions": ["binary_tensor_data"]}
MODEL_METADATA: dict[str, Any] = {
    "name": MODEL,
    "versions": [VERSION],
    "platform": "protoleak",
    "inputs": [{"name": INPUT, "datatype": TYPE, "shape": [-1, 1]}],
    "outputs": [{"name": OUTPUT, "datatype": TYPE, "shape": [-1, 1]}],
}


_Parameter: TypeAlias = "str | int | float | bool"


class _Tensor(msgspec.Struct, frozen=True):
    name: str
    shape: list[int] = []
    datatype: str = TYPE
    data: list[str] | None = None
    parameters: dict[str, _Parameter] = {}


class _Wanted(msgspec.Struct, frozen=True):
    name: str
    parameters: dict[str, _Parameter] = {}


class _Request(msgspec.Struct, frozen=True):
    inputs: list[_Tensor]
    id: str | None = None
    outputs: list[_Wanted] | None = None
    parameters: dict[str, _Parameter] = {}


class Inference:
    """One request for inference, understood.

    Attributes:
        images: encoded, in order.

    Args:
        body: of the request.
        header_length: how many of its bytes are JSON; None for all of them, 0 for none: then it is one image.

    Raises:
        Refusal: it is not well formed, or asks for something else than this model has.
    """

    def __init__(self, body: bytes, header_length: str | None, limits: RequestLimits) -> None:
        self._shape: list[int] = [1]
        self._id: str | None = None
        self._binary = False
        if header_length is None:
            head, rest = body, b""
        elif (length := whole_number(header_length)) is not None and length <= len(body):
            head, rest = body[:length], body[length:]
        else:
            raise Refusal(400, "bad_request", f"{HEADER_LENGTH} {header_length[:20]!r} in a body of {len(body)} bytes")
        if not head and header_length is not None:
            self.images, self._shape, self._binary = [rest], [1, 1], True
            return
        asked = json_of(head, _Request, "an inference request")
        if len(asked.inputs) != 1 or asked.inputs[0].name != INPUT or asked.inputs[0].datatype != TYPE:
            raise Refusal(400, "bad_request", f"the one input is {INPUT!r}, {TYPE} [N]")
        tensor = asked.inputs[0]
        if asked.outputs is not None and any(wanted.name != OUTPUT for wanted in asked.outputs):
            raise Refusal(400, "bad_request", f"the one output is {OUTPUT!r}")
        self.images = _images(tensor, rest, limits)
        count = len(self.images)
        if tensor.shape not in ([count], [count, 1]) or not count:
            raise Refusal(
                400, "bad_request", f"{count} images in a tensor whose shape is neither [{count}] nor [{count}, 1]"
            )
        self._shape, self._id = tensor.shape, asked.id
        wanted = asked.outputs[0].parameters if asked.outputs else {}
        self._binary = bool(wanted.get("binary_data", asked.parameters.get("binary_data_output", False)))

    def answer(self, verdicts: Sequence[bytes]) -> tuple[bytes, dict[str, str]]:
        """The body of the response and its headers.

        Args:
            verdicts: JSON Lines, of each image.
        """
        output: dict[str, Any] = {"name": OUTPUT, "datatype": TYPE, "shape": self._shape}
        answer: dict[str, Any] = {"model_name": MODEL, "model_version": VERSION, "outputs": [output]}
        if self._id is not None:
            answer["id"] = self._id
        if not self._binary:
            output["data"] = [verdict.decode() for verdict in verdicts]
            return msgspec.json.encode(answer), {"Content-Type": "application/json"}
        raw = b"".join(LENGTH.pack(len(verdict)) + verdict for verdict in verdicts)
        output["parameters"] = {"binary_data_size": len(raw)}
        head = msgspec.json.encode(answer)
        return head + raw, {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}


def _images(tensor: _Tensor, rest: bytes, limits: RequestLimits) -> list[bytes]:
    if tensor.data is None:
        size = tensor.parameters.get("binary_data_size")
        if size != len(rest):
            raise Refusal(400, "bad_request", f"binary_data_size {str(size)[:20]}, and {len(rest)} bytes follow")
        return _binary_strings(rest, limits)
    check_count(len(tensor.data), limits)
    images = []
    for value in tensor.data:
        try:
            images.append(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            raise Refusal(400, "bad_request", f"data of {INPUT!r} in JSON is base64, and this isn't") from None
    return images


def _binary_strings(raw: bytes, limits: RequestLimits) -> list[bytes]:
    found: list[bytes] = []
    place = 0
    while place < len(raw):
        check_count(len(found) + 1, limits)
        if place + LENGTH.size > len(raw):
            raise Refusal(400, "bad_request", "a binary tensor that ends within a length")
        (length,) = LENGTH.unpack_from(raw, place)
        place += LENGTH.size
        if place + length > len(raw):
            raise Refusal(400, "bad_request", "a binary tensor that ends within an element")
        found.append(raw[place : place + length])
        place += length
    return found
