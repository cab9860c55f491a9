"""Imports checkpoints of the published research code.

Such a checkpoint is a torch file with `backbone`, `proto_head` and perhaps `lse_agg`, `am_head` and `optimizer` (these
two serve training alone). Kind of backbone, K, M, D, input channels, gate and a ViT's image size are read from names
and shapes; class names, timesteps, latent encoder and temporal pool are not in it and must be given. Wherever both are
known they are compared. Checkpoints are read with `weights_only=True`, so nothing in them is executed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from protoleak.bundle.manifest import Schedule
from protoleak.errors import CheckpointError
from protoleak.model.attributor import AttributorConfig
from protoleak.model.backbones import IMAGE_CHANNELS, VIT_IMAGE_SIZE
from protoleak.model.checkpoint import TrainedModel, attributor_from_state
from protoleak.model.latent_encoder import LatentEncoder
from protoleak.model.model_config import LatentEncoderRecord, ModelConfig
from protoleak.model.published_state import (
    STEMS,
    TEMPORAL_POOL,
    State,
    backbone_kind,
    check_training_head,
    check_weights,
    flatten,
    load_tensors,
    modules,
    prototypes_and_embedding_size,
    vit_image_size,
)

UNIFORM: Final = "uniform"


def import_checkpoint(
    path: Path,
    latent_encoder: LatentEncoder,
    *,
    timesteps: Sequence[int],
    generators: Sequence[str],
    temporal: str | Path | None = None,
    real_class: str | None = None,
    low_frequency_components: int | None = None,
    image_size: int = 256,
    noise_seed: int = 0,
) -> TrainedModel:
    """Reads a published checkpoint into a TrainedModel, its network in evaluation mode.

    Args:
        path: the checkpoint.
        latent_encoder: the one that it was trained with.
        timesteps: those that it was trained with.
        generators: K class names in the order of its training (the published code sorts its folders' names).
        temporal: a torch file with the temporal pool's `query.weight` and `query.bias`, or "uniform" for the mean over
            timesteps. Needed with several timesteps and refused with one, since there is then no temporal pool.
        real_class: the one of `generators` that holds camera originals.
        low_frequency_components: k, where the checkpoint's input has the low-frequency half.
        image_size: S.
        noise_seed: of the frozen noise bank; published checkpoints were trained with unseeded noise, so any will do.

    Raises:
        CheckpointError: not such a checkpoint, or a contradiction; the message names both sides and the remedy.
    """
    content = load_tensors(path, "checkpoint")
    state, ignored = modules(content, path)
    kind = backbone_kind(state, path)
    prototypes, embedding_size = prototypes_and_embedding_size(state, path, list(generators))
    check_training_head(content, path, prototypes.shape[0], embedding_size)
    if not timesteps:
        raise CheckpointError("no timesteps given: name those that the checkpoint was trained with")

    stem_channels = int(state[STEMS["resnet" if kind.startswith("resnet") else kind]].shape[1])
    latent_shape = latent_encoder.latent_shape(image_size)
    _check_channels(path, stem_channels, latent_shape, latent_encoder.kind, low_frequency_components)
    temporal_kind, pool = _temporal_pool(temporal, content.get(TEMPORAL_POOL), len(timesteps), embedding_size, path)
    try:
        network = AttributorConfig(
            backbone=kind,
            in_channels=stem_channels,
            embedding_size=embedding_size,
            generators=int(prototypes.shape[0]),
            prototypes_per_generator=int(prototypes.shape[1]),
            timesteps=len(timesteps),
            gate=any(name.startswith("backbone.att.") for name in state),
            log_sum_exp=any(name.startswith("lse_agg.") for name in state),
            temporal=temporal_kind,
            vit_image_size=vit_image_size(state, path) if kind == "vit_b_16" else VIT_IMAGE_SIZE,
        )
        config = ModelConfig(
            generators=list(generators),
            real_class=real_class,
            image_size=image_size,
            schedule=Schedule(),
            timesteps=list(timesteps),
            noise_seed=noise_seed,
            low_frequency_components=low_frequency_components,
            latent_shape=latent_shape,
            upright="never",  # Image.open and convert("RGB"), and nothing else
            attributor=network,
            latent_encoder=LatentEncoderRecord(latent_encoder.kind, latent_encoder.fingerprint),
            provenance={
                "source": "published checkpoint",
                "checkpoint": path.name,
                "checkpoint_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "temporal": "none, one timestep" if len(timesteps) == 1 else temporal_kind,
                "not_imported": ignored,
            },
        )
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return TrainedModel(config, attributor_from_state(network, state | pool, str(path)), latent_encoder)


def _check_channels(
    path: Path, stem: int, latent_shape: tuple[int, int, int], encoder_kind: str, components: int | None
) -> None:
    latent = latent_shape[0]
    if components is None and stem == latent:
        return
    if components is not None and stem == 2 * latent:
        return
    network = f"{path}: the network takes {stem} channels"
    encoder = f"the latent encoder ({encoder_kind}) gives {latent}"
    if stem == IMAGE_CHANNELS:
        raise CheckpointError(
            f"{network}, {encoder}: the checkpoint was trained on pixels, not on latents; train one in latent mode"
        )
    if stem == latent:
        raise CheckpointError(
            f"{network} and {encoder}, so there is no low-frequency half, yet {components} low-frequency components "
            "were given: leave that option out"
        )
    if stem == 2 * latent:
        raise CheckpointError(
            f"{network} and {encoder}, so its input has a low-frequency half: give the number of its "
            "low-frequency components"
        )
    raise CheckpointError(f"{network}, {encoder}: give the latent encoder that the checkpoint was trained with")


def _temporal_pool(
    temporal: str | Path | None, stored: object, timesteps: int, embedding_size: int, checkpoint: Path
) -> tuple[Literal["attention", "uniform"], State]:
    """The pool's kind and its weights under our names. `stored` is what the checkpoint itself has of one, or None."""
    if timesteps == 1:
        if temporal is not None or stored is not None:
            source = f"given ({temporal})" if temporal is not None else f"in {checkpoint}"
            raise CheckpointError(
                f"a temporal pool is {source}, but only one timestep, where there is none: leave the pool out, or name "
                "all timesteps of the training"
            )
        return UNIFORM, {}
    if temporal is not None and stored is not None:
        raise CheckpointError(
            f"two temporal pools: one in {checkpoint} and one given ({temporal}); leave the option out"
        )
    if str(temporal) == UNIFORM:
        return UNIFORM, {}
    if temporal is not None:
        return "attention", _pool_weights(load_tensors(Path(temporal), "temporal pool"), Path(temporal), embedding_size)
    if isinstance(stored, Mapping):
        return "attention", _pool_weights(stored, checkpoint, embedding_size)
    raise CheckpointError(
        f"{checkpoint} goes with {timesteps} timesteps, and the published code never saves the temporal pool: give its "
        "weights with --temporal FILE, or --temporal uniform for the mean over timesteps"
    )


def _pool_weights(content: Mapping[str, Any], path: Path, embedding_size: int) -> State:
    tensors = flatten(content)
    pool: State = {}
    shapes = {"query.weight": (1, embedding_size), "query.bias": (1,)}
    for name, shape in shapes.items():
        found = [key for key in tensors if key == name or key.endswith(f".{name}")]
        if len(found) != 1:
            raise CheckpointError(
                f"{path} has {len(found)} entries {name!r}, 1 is needed; it holds {sorted(tensors)[:6]}: give the "
                "state dict of the temporal pool"
            )
        tensor = tensors[found[0]]
        check_weights(tensor, found[0], path)
        if tuple(tensor.shape) != shape:
            raise CheckpointError(
                f"{path}: {found[0]} has shape {tuple(tensor.shape)}, the checkpoint's embedding has {embedding_size} "
                f"features, so {shape} is needed: this pool belongs to another checkpoint"
            )
        pool[f"{TEMPORAL_POOL}.{name}"] = tensor
    return pool
