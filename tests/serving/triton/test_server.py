"""A real Triton server answers as `protoleak screen` does; see server.py for what is real of it."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from protoleak.cli.app import main
from tests.serving.triton.examples import check_lines, nine_examples, screened
from tests.serving.triton.server import RunningServer, python_paths, running_server, with_python_for_graphs

http = pytest.importorskip("tritonclient.http", reason='pip install "tritonclient[http,grpc]"')
grpc = pytest.importorskip("tritonclient.grpc", reason='pip install "tritonclient[http,grpc]"')

THREADS = 18


def written(out: Path, *options: str, bundle: Path | None = None) -> Path:
    paths = [part for path in python_paths() for part in ("--python-path", path)]
    assert main(["triton", *([] if bundle is None else [str(bundle)]), "--out", str(out), *paths, *options]) == 0
    return out


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("triton")
    with running_server(with_python_for_graphs(written(folder / "repository")), folder) as server:
        yield server


def ask(module: ModuleType, address: str, images: list[bytes]) -> list[bytes]:
    """The answers for one request, through tritonclient."""
    with module.InferenceServerClient(address) as client:
        given = module.InferInput("image", [len(images), 1], "BYTES")
        given.set_data_from_numpy(np.array([[image] for image in images], dtype=np.object_))
        return list(client.infer("protoleak", [given]).as_numpy("verdicts").reshape(-1))


def ask_in_threads(server: RunningServer, images: list[bytes]) -> list[list[bytes]]:
    """Each of THREADS threads asks for every image once, half of them by HTTP and half by gRPC."""
    answers: list[list[bytes]] = [[] for _ in range(THREADS)]
    failures: list[BaseException] = []

    def work(index: int) -> None:
        module, address = ((http, server.http), (grpc, server.grpc))[index % 2]
        try:
            for place in range(len(images)):
                answers[index] += ask(module, address, [images[(place + index) % len(images)]])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [
        [found[(place - index) % len(images)] for place in range(len(images))] for index, found in enumerate(answers)
    ]


def test_eighteen_threads_get_what_screen_says(ensemble: RunningServer, tmp_path: Path) -> None:
    images = nine_examples(tmp_path)
    expected = screened(images, None, tmp_path / "verdicts.jsonl")
    before = {model: ensemble.counter("nv_inference_exec_count", model) for model in ("latent_encoder", "attributor")}
    for found in ask_in_threads(ensemble, [path.read_bytes() for path in images]):
        for path, answer in zip(images, found, strict=True):
            check_lines(answer, expected[str(path)])
    for model, executions in before.items():  # images of several requests went together
        assert ensemble.counter("nv_inference_exec_count", model) - executions < THREADS * len(images)


def test_several_images_in_a_request_and_a_broken_one_among_them(ensemble: RunningServer, tmp_path: Path) -> None:
    images = nine_examples(tmp_path)[:2]
    expected = screened(images, None, tmp_path / "verdicts.jsonl")
    data = [path.read_bytes() for path in images]
    first, broken, last = ask(http, ensemble.http, [data[0], b"no image", data[1]])
    check_lines(first, expected[str(images[0])])
    check_lines(last, expected[str(images[1])])
    assert json.loads(broken)["outcome"] == "error"


def test_a_file_may_be_the_whole_body(ensemble: RunningServer, tmp_path: Path) -> None:
    """As the README's curl sends it, which is its probe too."""
    (path,) = nine_examples(tmp_path)[:1]
    expected = screened([path], None, tmp_path / "verdicts.jsonl")
    answered = subprocess.run(
        [
            "curl", "--fail", "--silent", "--include", "--data-binary", f"@{path}",
            "-H", "Inference-Header-Content-Length: 0",
            f"http://{ensemble.http}/v2/models/protoleak/infer", "--output", "-",
        ],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    headers, body = answered.split(b"\r\n\r\n", 1)
    (length,) = (
        int(line.split(b":")[1]) for line in headers.splitlines() if line.lower().startswith(b"inference-header")
    )
    element = body[length:]
    assert int.from_bytes(element[:4], "little") == len(element) - 4
    check_lines(element[4:], expected[str(path)])


def test_more_than_sixteen_images_are_refused_and_the_server_goes_on(ensemble: RunningServer) -> None:
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException, match="16"):
        ask(http, ensemble.http, [b"x"] * 17)
    (answer,) = ask(http, ensemble.http, [b"x"])
    assert json.loads(answer)["outcome"] == "error"


def test_the_single_model_says_the_same_and_a_full_queue_refuses(tmp_path: Path) -> None:
    from tritonclient.utils import InferenceServerException

    images = nine_examples(tmp_path)
    expected = screened(images, None, tmp_path / "verdicts.jsonl")
    data = [path.read_bytes() for path in images]
    repository = written(tmp_path / "repository", "--single", "--engine", "onnxruntime", "--queue", "20")
    with running_server(repository, tmp_path) as server:
        for path, answer in zip(images, ask_in_threads(server, data)[0], strict=True):
            check_lines(answer, expected[str(path)])
        assert server.counter("nv_inference_exec_count", "protoleak") < THREADS * len(images)
        refused: list[str] = []
        answered: list[bytes] = []

        def work() -> None:
            try:
                answered.extend(ask(grpc, server.grpc, [data[0]]))
            except InferenceServerException as error:
                refused.append(str(error))

        threads = [threading.Thread(target=work) for _ in range(80)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answered) + len(refused) == 80
        assert refused
        assert all("Exceeds maximum queue size" in message for message in refused)
        for answer in answered:
            check_lines(answer, expected[str(images[0])])
    assert server.process.returncode == 0


def test_the_production_form_loads_as_far_as_this_server_can(tiny_bundle: Path, tmp_path: Path) -> None:
    """Python models are ready; the graphs lack their backend here, which is the only thing that is said of them."""
    repository = written(tmp_path / "repository", bundle=tiny_bundle)
    with running_server(repository, tmp_path, strict=False) as server:
        states = states_of(server)
    assert states["prepare"]["state"] == states["decide"]["state"] == "READY"
    for graph in ("latent_encoder", "attributor"):
        assert states[graph]["state"] == "UNAVAILABLE"
        assert "unable to find backend library for backend 'onnxruntime'" in states[graph]["reason"]


def states_of(server: RunningServer) -> dict[str, dict[str, Any]]:
    """Model → its state in the server's index, once none is loading any more."""
    with http.InferenceServerClient(server.http) as client:
        while True:
            states = {each["name"]: each for each in client.get_model_repository_index()}
            if all(each.get("state") in ("READY", "UNAVAILABLE") for each in states.values() if "state" in each):
                return states
            time.sleep(0.1)
