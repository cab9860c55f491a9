"""A trained or imported model on disk: a directory with nothing in it that is executed when it is read.

model.json                what the model is, and the SHA-256 of the weights
attributor.safetensors    the attribution network's weights, under the published code's names
latent_encoder/           a copy of the latent encoder
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch

from protoleak.arrays import Float32Array, UInt8Array
from protoleak.errors import CheckpointError, MissingExtra
from protoleak.files import replacing, why_refused
from protoleak.model.attributor import Attributor, AttributorConfig
from protoleak.model.latent_encoder import LatentEncoder, load_latent_encoder
from protoleak.model.model_config import ModelConfig
from protoleak.strict_json import decode_json, json_bytes

SCHEMA_VERSION = 1
MODEL_FILE = "model.json"
WEIGHTS_FILE = "attributor.safetensors"
LATENT_ENCODER_FOLDER = "latent_encoder"


@dataclass
class TrainedModel:
    """A model: what it is, its attribution network (in evaluation mode once loaded), and its latent encoder."""

    config: ModelConfig
    attributor: Attributor
    latent_encoder: LatentEncoder

    def encode(self, images: UInt8Array) -> Float32Array:
        """uint8 [N, S, S, 3] → z0 float32 [N, C, h, w], standardised where the model asks for it."""
        return self.config.standardised(self.latent_encoder.encode(images))


class _ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema_version: int
    attributor_sha256: str
    config: ModelConfig


def save_model(path: Path, model: TrainedModel) -> None:
    """Writes the model directory. It appears under its name only when it is complete; a model there is replaced.

    Raises:
        CheckpointError: something that is not a model is at `path`, or the disk refused.
        MissingExtra: safetensors is not installed.
    """
    try:
        from safetensors.torch import save
    except ImportError:
        raise MissingExtra("safetensors", "export") from None
    if path.exists() and not (path.is_dir() and ((path / MODEL_FILE).is_file() or not any(path.iterdir()))):
        raise CheckpointError(f"{path} exists and is not a model: choose another place, or move it away")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.attributor.state_dict().items()}
    weights = save(state)
    record = _ModelFile(SCHEMA_VERSION, hashlib.sha256(weights).hexdigest(), model.config)
    try:
        with replacing(path) as staged:
            staged.mkdir()
            (staged / WEIGHTS_FILE).write_bytes(weights)
            (staged / MODEL_FILE).write_bytes(json_bytes(record))
            model.latent_encoder.save(staged / LATENT_ENCODER_FOLDER)
    except OSError as error:
        raise CheckpointError(f"cannot write the model {path}: {why_refused(error)}") from error


def load_model(path: Path) -> TrainedModel:
    """Reads what `save_model` wrote; the network comes in evaluation mode.

    Raises:
        CheckpointError: a file is missing, changed or of another schema, or the parts do not belong together.
        MissingExtra: safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ImportError:
        raise MissingExtra("safetensors", "export") from None
    record = _read_model_file(path)
    try:
        weights = (path / WEIGHTS_FILE).read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path / WEIGHTS_FILE}: {error.strerror or error}; make it again") from error
    found = hashlib.sha256(weights).hexdigest()
    if found != record.attributor_sha256:
        raise CheckpointError(
            f"{path / WEIGHTS_FILE} was changed: SHA-256 {found[:12]}…, {MODEL_FILE} says "
            f"{record.attributor_sha256[:12]}…; copy or make the model again"
        )
    try:
        state = load(weights)
    except SafetensorError as error:
        raise CheckpointError(f"{path / WEIGHTS_FILE} is not a safetensors file: {error}") from error
    attributor = attributor_from_state(record.config.attributor, state, str(path / WEIGHTS_FILE))
    latent_encoder = load_latent_encoder(path / LATENT_ENCODER_FOLDER)
    if latent_encoder.fingerprint != record.config.latent_encoder.fingerprint:
        raise CheckpointError(
            f"{path / LATENT_ENCODER_FOLDER} was changed: its fingerprint is {latent_encoder.fingerprint[:12]}…, "
            f"{MODEL_FILE} says {record.config.latent_encoder.fingerprint[:12]}…; copy or make the model again"
        )
    return TrainedModel(record.config, attributor, latent_encoder)


def attributor_from_state(config: AttributorConfig, state: Mapping[str, torch.Tensor], where: str) -> Attributor:
    """The network with these weights, in evaluation mode; integers and floats keep their kind, floats become float32.

    Raises:
        CheckpointError: names or shapes differ from what `config` makes, or a weight is NaN or infinite.
    """
    with torch.device("meta"):  # shapes only: no time or random numbers are spent on weights that are replaced
        attributor = Attributor(config)
    expected = {name: tuple(tensor.shape) for name, tensor in attributor.state_dict().items()}
    missing, unexpected = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    problems = []
    if missing:
        problems.append(f"{len(missing)} missing, such as {missing[0]}")
    if unexpected:
        problems.append(f"{len(unexpected)} unexpected, such as {unexpected[0]}")
    for name in sorted(expected.keys() & state.keys()):
        if tuple(state[name].shape) != expected[name]:
            problems.append(f"{name} has shape {tuple(state[name].shape)}, {expected[name]} expected")
            break
    if problems:
        raise CheckpointError(f"the weights in {where} do not make a {config.backbone} network: {'; '.join(problems)}")
    converted = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    for name, tensor in converted.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{where} has NaN or infinite weights in {name}: the model is unusable; train it again"
            )
    attributor.load_state_dict(converted, assign=True)
    return attributor.eval()


def attributor_outputs(model: TrainedModel, z_t: Float32Array, batch_size: int = 64) -> dict[str, Float32Array]:
    """The network's outputs for noised latents float32 [N, T, C', h, w], by the names of AttributorTensors, as NumPy.

    The network is used in the mode that it is in; call `.eval()` first where it was trained.
    """
    parts: list[dict[str, Float32Array]] = []
    device = model.attributor.prototypes.device
    with torch.inference_mode():
        for start in range(0, len(z_t), batch_size):
            chunk = torch.from_numpy(np.ascontiguousarray(z_t[start : start + batch_size])).to(device)
            parts.append({name: value.cpu().numpy() for name, value in model.attributor(chunk)._asdict().items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _read_model_file(path: Path) -> _ModelFile:
    file = path / MODEL_FILE
    if not file.is_file():
        raise CheckpointError(f"{path} is not a model ({MODEL_FILE} is missing): make one with `protoleak train`")
    try:
        raw = file.read_bytes()
        version = decode_json(raw, _SchemaOnly).schema_version
        if version != SCHEMA_VERSION:
            newer = "upgrade protoleak" if version > SCHEMA_VERSION else "make the model again"
            raise CheckpointError(
                f"{file} has schema version {version}, this protoleak reads {SCHEMA_VERSION}: {newer}"
            )
        return decode_json(raw, _ModelFile)
    except (OSError, msgspec.DecodeError) as error:
        raise CheckpointError(f"{file} does not describe a model: {error}") from error


class _SchemaOnly(msgspec.Struct):
    schema_version: int
