"""Runs a written repository in this process: its own model.py files and graphs, with what Triton would give them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime


class Tensor:
    def __init__(self, name: str, values: np.ndarray[Any, Any]) -> None:
        assert values.dtype != object or all(isinstance(one, bytes) for one in values.reshape(-1))
        self._name, self._values = name, values

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray[Any, Any]:
        return self._values

    def to_dlpack(self) -> np.ndarray[Any, Any]:
        return self._values

    @staticmethod
    def from_dlpack(name: str, values: np.ndarray[Any, Any]) -> Tensor:
        return Tensor(name, values)


class TritonError(Exception):
    INVALID_ARG = 3

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class InferenceResponse:
    def __init__(self, tensors: Sequence[Tensor], error: TritonError | None = None) -> None:
        self.tensors = {tensor.name(): tensor.as_numpy() for tensor in tensors}
        self.error = error


def get_input_tensor_by_name(request: dict[str, np.ndarray[Any, Any]], name: str) -> Tensor:
    return Tensor(name, request[name])


@contextmanager
def model(repository: Path, name: str) -> Iterator[Any]:
    """One Python model of a repository, loaded as Triton loads it."""
    models = "protoleak.serving.triton.python_models"
    with mock.patch.dict(sys.modules, {"triton_python_backend_utils": sys.modules[__name__]}):
        sys.modules.pop(models, None)
        folder = repository / name / "1"
        spec = importlib.util.spec_from_file_location("triton_model", folder / "model.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found = module.TritonPythonModel()
        found.initialize({"model_repository": str(repository / name), "model_version": "1"})
        yield found
        if hasattr(found, "finalize"):
            found.finalize()


def encoded(images: Sequence[bytes]) -> dict[str, np.ndarray[Any, Any]]:
    """A request's tensor `image` [N, 1]."""
    return {"image": np.array(list(images), dtype=np.object_).reshape(-1, 1)}


def ask_ensemble(repository: Path, requests: Sequence[Sequence[bytes]]) -> list[list[bytes]]:
    """The answers of the ensemble, one element per image; what several requests have for the graphs goes together."""
    with model(repository, "prepare") as prepare, model(repository, "decide") as decide:
        prepared = [response.tensors for response in prepare.execute([encoded(images) for images in requests])]
        looks = np.concatenate([tensors["looks"] for tensors in prepared])
        outputs = _run(repository, "attributor", _run(repository, "latent_encoder", {"looks": looks}))
        ends = np.cumsum([len(tensors["looks"]) for tensors in prepared])[:-1]
        parts = {name: np.split(values, ends) for name, values in outputs.items()}
        asked = [
            {"about": tensors["about"], **{name: values[index] for name, values in parts.items()}}
            for index, tensors in enumerate(prepared)
        ]
        return [list(response.tensors["verdicts"].reshape(-1)) for response in decide.execute(asked)]


def ask_single(repository: Path, requests: Sequence[Sequence[bytes]]) -> list[list[bytes]]:
    """The answers of the one Python model."""
    with model(repository, "protoleak") as single:
        responses = single.execute([encoded(images) for images in requests])
    return [list(response.tensors["verdicts"].reshape(-1)) for response in responses]


def _run(repository: Path, name: str, feeds: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    session = onnxruntime.InferenceSession(repository / name / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))
