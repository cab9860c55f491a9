"""What can be set of a model repository, and what its Python models read of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from protoleak.choices import EngineName
from protoleak.errors import ProtoleakError
from protoleak.strict_json import decode_json, json_bytes

Backend: TypeAlias = Literal["onnxruntime", "tensorrt"]
IMAGES_MAXIMUM = 16  # in one request
# Beside each Python model: how it is set, and the bundle.
SETTINGS_FILE, BUNDLE_FOLDER = "settings.json", "bundle"


@dataclass(frozen=True)
class RepositorySettings:
    """How a bundle is written as a model repository.

    Attributes:
        backend: of the server, that runs the graphs; of no concern to `single`.
        single: one Python model that does everything, with protoleak's own engines, in the place of the ensemble.
        variant: a precision of the bundle, or "auto".
        alpha: significance level; None for the bundle's own.
        engine: of protoleak, for `single`.
        batch_maximum: faces in one run of the graphs, and so in one image; for `single` images in one run.
        queue: requests that wait for a model; more are refused at once.
        instances: processes that prepare images.
        python_paths: folders where the server's Python finds protoleak and what it needs; none where it is installed.

    Raises:
        ProtoleakError: a value is outside its limits.
    """

    backend: Backend = "onnxruntime"
    single: bool = False
    variant: str = "auto"
    alpha: float | None = None
    engine: EngineName = "auto"
    batch_maximum: int = 16
    queue: int = 64
    instances: int = 2
    python_paths: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("batch_maximum", "queue", "instances"):
            if (value := getattr(self, name)) < 1:
                raise ProtoleakError(f"{name} is {value}: it has to be at least 1")


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """settings.json beside a Python model.

    Attributes:
        variant: of the bundle.
        alpha: significance level.
        engine: of protoleak for the single model; else the server's backend that runs the graphs.
        batch_maximum: see `RepositorySettings`.
    """

    variant: str
    alpha: float
    engine: str
    batch_maximum: int

    def to_json(self) -> bytes:
        return json_bytes(self)


def read_settings(folder: Path) -> ModelSettings:
    """Those of the Python model in a folder.

    Raises:
        ProtoleakError: there are none, or they are not what this version of protoleak writes.
    """
    file = folder / SETTINGS_FILE
    try:
        return decode_json(file.read_bytes(), ModelSettings)
    except (OSError, msgspec.DecodeError) as error:
        raise ProtoleakError(f"{file}: {error}: write the repository again with `protoleak triton`") from error
