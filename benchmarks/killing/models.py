"""What is killed while it makes a model or a bundle: training, distillation, export."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from benchmarks.killing.runs import ROOT, Kind, start
from protoleak.bundle.bundle import Bundle
from tests.export.conftest import write_data
from tests.training.images import make_image as training_image
from tests.training.images import write_latent_encoder

SETTINGS = ROOT / "tests" / "cli" / "small_training.toml"


def of_training(folder: Path) -> Kind:
    """A training, whose weights are to be those of a run that nobody killed."""
    data, encoder, out = folder / "data", folder / "encoder.onnx", folder / "model"
    write_data(data, {"columns": "columns", "rows": "rows"}, (20, 6, 12, 4))
    write_latent_encoder(encoder)
    command = ["train", str(data), "--latent-encoder", str(encoder), "--out", str(out), "--settings", str(SETTINGS)]
    command += ["--epochs", "12", "--workers", "0"]
    return _of_model(command, out)


def of_distillation(folder: Path) -> Kind:
    """A student, likewise."""
    images, encoder, out = folder / "images", folder / "encoder.onnx", folder / "student"
    images.mkdir(parents=True)
    for index in range(16):
        training_image("rows", index, (64, 64)).save(images / f"{index}.png")
    write_latent_encoder(encoder)
    command = ["distill", "--teacher", str(encoder), "--data", str(images), "--out", str(out), "--widths", "4,4,4"]
    command += ["--blocks", "1,1,1", "--views", "1", "--epochs", "6", "--batch-size", "8", "--workers", "0"]
    return _of_model(command, out)


def _of_model(command: list[str], out: Path) -> Kind:
    """What is continued to the same weights. The first run to end says which these are."""
    first: list[str] = []

    def look() -> list[str]:
        wrong = []
        for path in out.rglob("*.json"):
            try:
                json.loads(path.read_bytes())
            except ValueError as error:
                wrong.append(f"{path.name}: {error}")
        return wrong

    def count() -> tuple[int, int]:
        found = sorted(out.rglob("*.safetensors"))
        if not found:
            return 1, 0
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()
        first.append(digest)
        return int(digest != first[0]), 0

    return Kind(command, [*command, "--resume"], look, count, out)


def of_export(folder: Path, cache: Path) -> Kind:
    """A bundle: there is none, or a whole one."""
    data, encoder, model, out = folder / "data", folder / "encoder.onnx", folder / "model", folder / "bundle"
    write_data(data, {"columns": "columns", "rows": "rows"}, (20, 6, 12, 4))
    write_latent_encoder(encoder)
    train = ["train", str(data), "--latent-encoder", str(encoder), "--out", str(model), "--settings", str(SETTINGS)]
    if status := start([*train, "--epochs", "2", "--workers", "0"], cache).wait():
        sys.exit(f"the model to export could not be trained: status {status}")
    command = ["export", str(model), "--data", str(data), "--out", str(out)]

    def look() -> list[str]:
        if not out.exists():
            return []
        try:
            Bundle.load(out)
        except Exception as error:  # whatever it is, the bundle is not valid
            return [f"bundle: {error}"]
        return []

    def count() -> tuple[int, int]:
        return int(not out.exists() or bool(look())), 0

    return Kind(command, command, look, count, out)
