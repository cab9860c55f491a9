"""What Triton's Python backend loads: the steps of a repository behind the interface that it asks for.

`triton_python_backend_utils` exists only in a server's Python process: nothing else imports this module. The model.py
of each model in a repository names one of the classes here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import triton_python_backend_utils as server

from protoleak.bundle.bundle import Bundle
from protoleak.errors import ProtoleakError
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS
from protoleak.serving.triton.configuration import ABOUT, ENCODED, VERDICTS
from protoleak.serving.triton.decide import Decisions
from protoleak.serving.triton.graphs import LOOKS
from protoleak.serving.triton.prepare import Preparation, PreparedRequest
from protoleak.serving.triton.settings import BUNDLE_FOLDER, IMAGES_MAXIMUM, read_settings
from protoleak.serving.triton.single import Screening


class PrepareModel:
    """The first step of the ensemble; see `prepare.Preparation`."""

    def initialize(self, arguments: dict[str, str]) -> None:
        """Called once by the server. Raises ProtoleakError: the server says then why the model is not ready."""
        _check_numpy()
        folder = _folder(arguments)
        settings = read_settings(folder)
        self._prepare = Preparation(Bundle.load(folder / BUNDLE_FOLDER), settings.batch_maximum)

    def execute(self, requests: list[Any]) -> list[Any]:
        responses = []
        for request in requests:
            images = _images(request)
            if len(images) > IMAGES_MAXIMUM:
                responses.append(_too_many(len(images)))
                continue
            looks, about = self._prepare(images)
            known = np.array([msgspec.json.encode(about)], dtype=np.object_)
            responses.append(server.InferenceResponse([server.Tensor(LOOKS, looks), server.Tensor(ABOUT, known)]))
        return responses


class DecideModel:
    """The last step of the ensemble; see `decide.Decisions`."""

    def initialize(self, arguments: dict[str, str]) -> None:
        """See `PrepareModel.initialize`."""
        _check_numpy()
        folder = _folder(arguments)
        self._decide = Decisions(Bundle.load(folder / BUNDLE_FOLDER), read_settings(folder))

    def execute(self, requests: list[Any]) -> list[Any]:
        responses = []
        for request in requests:
            known = _tensor(request, ABOUT).reshape(-1)[0]
            outputs = {name: _tensor(request, name) for name in ATTRIBUTOR_OUTPUTS}
            found = self._decide(msgspec.json.decode(known, type=PreparedRequest), outputs)
            responses.append(_verdicts(found))
        return responses


class SingleModel:
    """Everything in one model; see `single.Screening`."""

    def initialize(self, arguments: dict[str, str]) -> None:
        """See `PrepareModel.initialize`."""
        _check_numpy()
        folder = _folder(arguments)
        self._screening = Screening(folder / BUNDLE_FOLDER, read_settings(folder))

    def execute(self, requests: list[Any]) -> list[Any]:
        images = [_images(request) for request in requests]
        answers = iter(self._screening([of for of in images if len(of) <= IMAGES_MAXIMUM]))
        return [_verdicts(next(answers)) if len(of) <= IMAGES_MAXIMUM else _too_many(len(of)) for of in images]

    def finalize(self) -> None:
        self._screening.close()


def _folder(arguments: dict[str, str]) -> Path:
    """Of the model's version: its model.py, settings and bundle."""
    return Path(arguments["model_repository"]) / arguments["model_version"]


def _tensor(request: Any, name: str) -> Any:
    return server.get_input_tensor_by_name(request, name).as_numpy()


def _images(request: Any) -> list[bytes]:
    return [bytes(one) for one in _tensor(request, ENCODED).reshape(-1)]


def _verdicts(found: list[bytes]) -> Any:
    answer = np.array(found, dtype=np.object_).reshape(-1, 1)
    return server.InferenceResponse([server.Tensor(VERDICTS, answer)])


def _too_many(count: int) -> Any:
    message = f"{count} images in one request, more than the {IMAGES_MAXIMUM} that one may hold: send several requests"
    return server.InferenceResponse([], server.TritonError(message, server.TritonError.INVALID_ARG))


def _check_numpy() -> None:
    """Raises ProtoleakError where this Python backend misreads this NumPy's arrays: each request would end the process,
    and health checks go on saying that it is ready."""
    values = np.arange(1, 6, dtype=np.uint8)
    seen = server.Tensor.from_dlpack("probe", server.Tensor("probe", values).to_dlpack()).as_numpy()
    if not np.array_equal(seen, values):
        raise ProtoleakError(
            f"the Python backend of this server cannot read arrays of NumPy {np.__version__}: "
            'pip install "numpy<2", where the server finds protoleak'
        )
