"""Writes a bundle as a model repository: a folder for each model, with its configuration and its version 1."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.variants import choose_variant
from protoleak.errors import ProtoleakError
from protoleak.faces.open import open_detector
from protoleak.faces.settings import FaceSettings
from protoleak.files import refused, replacing
from protoleak.runtime.judge import Judge
from protoleak.runtime.noising import Noising
from protoleak.serving.triton.configuration import (
    ATTRIBUTOR,
    DECIDE,
    LATENT_ENCODER,
    PREPARE,
    SERVED,
    WARM_UP,
    ensemble_files,
    single_file,
)
from protoleak.serving.triton.graphs import served_graphs
from protoleak.serving.triton.parity import ServedParity, check_parity
from protoleak.serving.triton.readme import PLANS_SCRIPT, PROBE, README, plans_script, readme
from protoleak.serving.triton.settings import BUNDLE_FOLDER, SETTINGS_FILE, ModelSettings, RepositorySettings

VERSION = "1"
CONFIGURATION, MODEL, ONNX = "config.pbtxt", "model.py", "model.onnx"
CLASSES = {PREPARE: "PrepareModel", DECIDE: "DecideModel", SERVED: "SingleModel"}
EXECUTABLE = 0o755
PROBE_SIDE = 64  # in pixels


@dataclass(frozen=True)
class WrittenRepository:
    """What was written.

    Attributes:
        variant: of the bundle, and why it was taken.
        parity: of the served graphs; None for `single`, which has none.
        models: their names.
    """

    variant: str
    why: str
    parity: ServedParity | None
    models: tuple[str, ...]


def write_repository(bundle: Bundle, out: Path, settings: RepositorySettings) -> WrittenRepository:
    """Writes the repository, which appears under its name only when it is complete. An earlier one there is replaced.

    Raises:
        ProtoleakError: something else is at `out`, the disk refused, the bundle has no such variant, alpha cannot be
            honoured, the ensemble is to serve enrolled generators, which its graphs don't know, or there is no face
            detector for a bundle that looks at faces.
        ParityError: the served graphs compute something else than the runtime.
        ModuleNotFoundError: onnx is not installed, which the ensemble's graphs are made with.
    """
    _check_place(out)
    enrolled = ", ".join(one.name for one in bundle.manifest.enrolled)
    if enrolled and not settings.single:
        raise ProtoleakError(
            f"{bundle.path}: {enrolled} was enrolled beside the graphs, which an ensemble serves as they are: "
            "give --single"
        )
    name, why = choose_variant(bundle.manifest, settings.variant, None if settings.single else settings.backend)
    variant = bundle.variant(name)
    alpha = Judge(bundle, variant, alpha=settings.alpha).alpha  # what cannot be honoured is said here, not by a server
    if bundle.manifest.preprocessing.framing.needs_face:
        open_detector(FaceSettings(), bundle)
    engine = settings.engine if settings.single else settings.backend
    beside = ModelSettings(variant=name, alpha=alpha, engine=engine, batch_maximum=settings.batch_maximum).to_json()
    probe, parity = probe_image(), None
    files: dict[str, bytes] = {PROBE: probe}
    if settings.single:
        configurations = single_file(settings)
        python_models: tuple[str, ...] = (SERVED,)
    else:
        configurations = ensemble_files(bundle.manifest, settings)
        python_models = PREPARE, DECIDE
        noising = Noising.of(bundle.manifest, bundle.noise_bank)
        served = served_graphs(variant.latent_encoder, variant.attributor, bundle.manifest, noising)
        parity = check_parity(bundle, variant, served)
        files[f"{LATENT_ENCODER}/{VERSION}/{ONNX}"] = served.latent_encoder
        files[f"{ATTRIBUTOR}/{VERSION}/{ONNX}"] = served.attributor
        if settings.backend == "tensorrt":
            files[PLANS_SCRIPT] = plans_script(bundle.manifest, settings).encode()
    for model, text in configurations.items():
        files[f"{model}/{CONFIGURATION}"] = text.encode()
    for model in python_models:
        files |= _python_model(model, bundle, beside, settings)
    for model in {PREPARE, SERVED} & set(python_models):
        files[f"{model}/warmup/{WARM_UP}"] = struct.pack("<I", len(probe)) + probe  # as a BYTES tensor goes on the wire
    files[README] = readme(bundle, name, alpha, settings, tuple(configurations)).encode()
    _write(out, files, tuple(configurations))
    return WrittenRepository(name, why, parity, tuple(configurations))


def probe_image() -> bytes:
    """A small PNG of noise, the same each time: what a probe sends goes through every model."""
    noise = np.random.default_rng(0).integers(0, 256, (PROBE_SIDE, PROBE_SIDE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def _python_model(model: str, bundle: Bundle, beside: bytes, settings: RepositorySettings) -> dict[str, bytes]:
    """Each Python model has a bundle of its own, since servers fetch models one by one from a bucket."""
    folder = f"{model}/{VERSION}"
    files = {f"{folder}/{BUNDLE_FOLDER}/{name}": data for name, data in bundle.contents().items()}
    files[f"{folder}/{SETTINGS_FILE}"] = beside
    lines = ['"""Written by `protoleak triton`; what it does is in the package."""\n']
    if settings.python_paths:
        lines += ["import sys\n", f"sys.path[:0] = {list(settings.python_paths)!r}\n"]
    lines.append(f"from protoleak.serving.triton.python_models import {CLASSES[model]} as TritonPythonModel\n")
    lines.append('__all__ = ["TritonPythonModel"]')
    files[f"{folder}/{MODEL}"] = ("\n".join(lines) + "\n").encode()
    return files


def _write(out: Path, files: Mapping[str, bytes], models: tuple[str, ...]) -> None:
    try:
        with replacing(out) as staged:
            for name, data in files.items():
                target = staged / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            for model in models:  # an ensemble's version is an empty folder
                (staged / model / VERSION).mkdir(parents=True, exist_ok=True)
            if (script := staged / PLANS_SCRIPT).is_file():
                script.chmod(EXECUTABLE)
    except OSError as error:
        raise refused(out, error) from error


def _check_place(out: Path) -> None:
    """Raises ProtoleakError where something is at `out` that this command has not written: it is never replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / SERVED / CONFIGURATION).is_file() or not (out / README).is_file():
        raise ProtoleakError(
            f"--out {out} exists and is no repository of protoleak's: choose another place, or move it away"
        )
