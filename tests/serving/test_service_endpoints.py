"""What a server says of itself: health, bundle, metrics, OpenAPI; and the protocol that tritonclient speaks."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from protoleak.bundle.bundle import Bundle
from tests.serving.conftest import png
from tests.serving.running import RunningServer, without_times

INFER = "/v2/models/protoleak/infer"


def test_it_is_live_and_ready(server: RunningServer) -> None:
    for path in ("/v1/health/live", "/v1/health/ready", "/v2/health/live", "/v2/health/ready"):
        assert server.ask("GET", path).status == 200, path


def test_the_bundle_is_named_with_its_promise_and_the_limits(server: RunningServer, tiny_bundle: Path) -> None:
    about = server.ask("GET", "/v1/bundle").json
    bundle = Bundle.load(tiny_bundle)
    assert (about["sha256"], about["generators"]) == (bundle.sha256, list(bundle.manifest.generators))
    assert (about["alpha"], about["real_class"]) == (bundle.manifest.alpha, bundle.manifest.real_class)
    assert about["calibration"]["overall"] == len(bundle.variant("fp32").calibration.overall)
    assert about["engine"]["name"] == "onnxruntime"
    assert about["limits"]["queue"] == 64
    verdict = server.screen(png(0, 1)).json
    assert about["accusation_level"] == verdict["accusation_level"]


def test_metrics_are_what_prometheus_reads_and_count(server: RunningServer) -> None:
    def counted() -> dict[str, float]:
        text = server.ask("GET", "/v1/metrics").body.decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {sample.name + "".join(sample.labels.values()): sample.value for sample in samples}

    before = counted()
    label = server.screen(png(0, 1)).json["verdict"]
    server.screen(b"broken")
    after = counted()
    assert after[f"protoleak_images_total{label}"] == before.get(f"protoleak_images_total{label}", 0) + 1
    assert after["protoleak_images_totalerror"] == before.get("protoleak_images_totalerror", 0) + 1
    assert after["protoleak_requests_total422"] == before.get("protoleak_requests_total422", 0) + 1
    assert after["protoleak_batch_size_sum"] == before["protoleak_batch_size_sum"] + 1
    assert (after["protoleak_queue_depth"], after["protoleak_ready"]) == (0, 1)
    assert any(name.startswith("protoleak_build_info") for name in after)


def test_the_description_is_valid_openapi_and_answers_fit_it(server: RunningServer) -> None:
    openapi = pytest.importorskip("openapi_spec_validator", reason="the validator is not installed")
    import jsonschema

    document = server.ask("GET", "/v1/openapi.json").json
    openapi.validate(document)
    assert document["openapi"].startswith("3.1")
    schema = {"$ref": "#/components/schemas/JudgedRecord", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(server.screen(png(0, 1)).json)
    for path in ("/v1/screen", "/v1/bundle", "/v1/health/ready", "/v1/metrics", "/v1/streams"):
        assert path in document["paths"]


def test_the_page_comes_with_a_policy_that_lets_nothing_in(server: RunningServer) -> None:
    for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
        reply = server.ask("GET", path)
        assert (reply.status, reply.headers["content-type"].split(";")[0]) == (200, kind)
        assert reply.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_inference_in_json(server: RunningServer) -> None:
    image = png(1, 5)
    asked = {
        "id": "seven",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(image).decode()]}],
    }
    answer = server.screen(json.dumps(asked).encode(), "application/json", INFER).json
    (output,) = answer["outputs"]
    assert (answer["id"], output["shape"], output["datatype"]) == ("seven", [1], "BYTES")
    assert without_times(json.loads(output["data"][0])) == without_times(server.screen(image).json)


def test_inference_with_binary_tensors_and_of_one_image_as_it_is(server: RunningServer) -> None:
    images = [png(0, 5), png(1, 6)]
    raw = b"".join(struct.pack("<I", len(image)) + image for image in images)
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "BYTES",
                    "shape": [2, 1],
                    "parameters": {"binary_data_size": len(raw)},
                }
            ],
            "outputs": [{"name": "verdicts", "parameters": {"binary_data": True}}],
        }
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    reply = server.ask("POST", INFER, head + raw, headers)
    length = int(reply.headers["inference-header-content-length"])
    described, rest = json.loads(reply.body[:length]), reply.body[length:]
    assert described["outputs"][0]["shape"] == [2, 1]
    for image in images:
        (size,) = struct.unpack_from("<I", rest)
        assert without_times(json.loads(rest[4 : 4 + size])) == without_times(server.screen(image).json)
        rest = rest[4 + size :]
    assert rest == b""
    alone = server.ask("POST", INFER, images[0], {"Inference-Header-Content-Length": "0"})
    line = alone.body[int(alone.headers["inference-header-content-length"]) + 4 :]
    assert without_times(json.loads(line)) == without_times(server.screen(images[0]).json)


def test_what_cannot_be_read_is_a_line_like_any_other(server: RunningServer) -> None:
    reply = server.ask("POST", INFER, b"broken", {"Inference-Header-Content-Length": "0"})
    assert reply.status == 200
    record = json.loads(reply.body[int(reply.headers["inference-header-content-length"]) + 4 :])
    assert (record["outcome"], record["verdict"]) == ("error", None)


@pytest.mark.parametrize(
    ("body", "length"),
    [(b"{}", None), (b"{}", "9"), (b'{"inputs": [{"name": "other", "shape": [1], "data": ["eA=="]}]}', None)],
)
def test_an_inference_request_that_is_none_is_400(server: RunningServer, body: bytes, length: str | None) -> None:
    headers = {} if length is None else {"Inference-Header-Content-Length": length}
    assert server.ask("POST", INFER, body, headers).status == 400


def test_tritonclient_asks_it_as_it_asks_triton(server: RunningServer) -> None:
    client_module = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed")
    import numpy as np

    client = client_module.InferenceServerClient(f"127.0.0.1:{server.port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("protoleak")
    assert client.get_model_metadata("protoleak")["inputs"][0]["name"] == "image"
    image = png(2, 9)
    tensor = client_module.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([image], dtype=np.object_))
    answer = client.infer("protoleak", [tensor]).as_numpy("verdicts")
    assert without_times(json.loads(answer[0])) == without_times(server.screen(image).json)
    client.close()
