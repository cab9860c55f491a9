"""What a published checkpoint says of itself: its tensors, read safely, and the network that their shapes belong to.

Class names, timesteps and flags are not stored in it; `published.py` takes those as options.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from protoleak.choices import BackboneKind
from protoleak.errors import CheckpointError, first_line
from protoleak.model.backbones import VIT_PATCH

TEMPORAL_POOL = "temporal_pool"
NETWORK_MODULES = ("backbone", "proto_head", "lse_agg")
OTHER_ENTRIES = ("am_head", "optimizer", TEMPORAL_POOL)  # read apart, or of use in training only
PROTOTYPES = "proto_head.protos"
HEAD = "backbone.encoder.head.weight"
VIT_POSITIONS = "backbone.encoder.base.encoder.pos_embedding"
STEMS = {
    "conv": "backbone.encoder.conv1.weight",
    "resnet": "backbone.encoder.base.conv1.weight",
    "efficientnet_b4": "backbone.encoder.base.features.0.0.weight",
    "vit_b_16": "backbone.encoder.base.conv_proj.weight",
}
# (blocks in the third stage, whether blocks are bottlenecks) tells the ResNets apart.
RESNETS: dict[tuple[int, bool], BackboneKind] = {
    (2, False): "resnet18",
    (6, True): "resnet50",
    (23, True): "resnet101",
}

WEIGHT_TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
COUNTS = "num_batches_tracked"
DEEPEST = 64  # mappings in one another

State = dict[str, torch.Tensor]


def load_tensors(path: Path, what: str) -> Mapping[str, Any]:
    """The mapping in a torch file, read without executing anything. `what` names it in errors."""
    if not path.is_file():
        raise CheckpointError(f"no {what} at {path}: give a file that torch.save wrote")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises errors of torch, pickle, zipfile and the system
        raise CheckpointError(
            f"{path} is not a {what} that can be read safely ({first_line(error)}): a file of tensors from "
            "torch.save is needed"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}: a {what} is a mapping of names to tensors")
    return content


def modules(content: Mapping[str, Any], path: Path) -> tuple[State, list[str]]:
    """The weights that the network has, under full names, and the names of top-level entries left out."""
    for name in ("backbone", "proto_head"):
        if not isinstance(content.get(name), Mapping):
            raise CheckpointError(
                f"{path} has no {name!r}, only {sorted(map(str, content))[:8]}: it is not a checkpoint of the "
                "published code"
            )
    known = (*NETWORK_MODULES, *OTHER_ENTRIES)
    unknown = [str(name) for name, value in content.items() if name not in known and flatten({"": value})]
    if unknown:
        raise CheckpointError(
            f"{path} has weights in {', '.join(unknown)}, which the published network does not have: importing the "
            "rest would make another network"
        )
    state: State = {}
    for module in (*NETWORK_MODULES, "am_head"):
        entry = content.get(module)
        if entry is None:
            continue
        if not isinstance(entry, Mapping) or not all(isinstance(value, torch.Tensor) for value in entry.values()):
            raise CheckpointError(f"{path}: {module!r} is not a state dict of tensors")
        for name, tensor in entry.items():
            check_weights(tensor, f"{module}.{name}", path)
            if module in NETWORK_MODULES:
                state[f"{module}.{name}"] = tensor
    tau = state.get("lse_agg.log_tau")
    if tau is not None and tau.numel() == 1:
        state["lse_agg.log_tau"] = tau.reshape(())
    return state, sorted(str(name) for name in content if name not in (*NETWORK_MODULES, TEMPORAL_POOL))


def check_weights(tensor: torch.Tensor, name: str, path: Path) -> None:
    """Refuses what is no plain array of finite floating-point numbers: sparse, quantised, complex, without data, or
    spread over fewer numbers than its shape says. Whole numbers are a batch normalisation's count of batches.

    Raises:
        CheckpointError: the message says what it is instead.
    """
    counts = name.endswith(COUNTS) and tensor.dtype == torch.int64 and tensor.ndim == 0
    unlike = [
        (tensor.layout is not torch.strided or tensor.is_nested, f"stored as {tensor.layout}"),
        (tensor.is_quantized, "quantised"),
        (tensor.device.type != "cpu", f"without data (device {tensor.device.type!r})"),
        (tensor.dtype not in WEIGHT_TYPES and not counts, f"{str(tensor.dtype).removeprefix('torch.')} numbers"),
    ]
    found = [text for wrong, text in unlike if wrong]
    if not found and tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        found = [f"of shape {tuple(tensor.shape)} over {tensor.untyped_storage().nbytes()} bytes"]
    if found:
        raise CheckpointError(
            f"{path}: {name} is {found[0]}, where plain floating-point weights are needed: save the state dict of the "
            "network as it was trained"
        )
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise CheckpointError(f"{path} has NaN or infinite weights in {name}: training had diverged")


def backbone_kind(state: State, path: Path) -> BackboneKind:
    """The kind of backbone, by the names of its parameters."""
    found = [kind for kind, stem in STEMS.items() if stem in state]
    if len(found) != 1:
        parts = sorted({".".join(name.split(".")[1:4]) for name in state if name.startswith("backbone.")})
        raise CheckpointError(
            f"{path}: no known backbone has parameters such as {parts[:4]} "
            f"({'several kinds' if found else 'no kind'} would fit): conv, resnet18, resnet50, resnet101, "
            "efficientnet_b4 and vit_b_16 are read"
        )
    if state[STEMS[found[0]]].ndim != 4:
        raise CheckpointError(
            f"{path}: {STEMS[found[0]]} has shape {tuple(state[STEMS[found[0]]].shape)}, no convolution"
        )
    if found[0] != "resnet":
        kinds: dict[str, BackboneKind] = {"conv": "conv", "efficientnet_b4": "efficientnet_b4", "vit_b_16": "vit_b_16"}
        return kinds[found[0]]
    stage = "backbone.encoder.base.layer3."
    blocks = len({name.removeprefix(stage).split(".")[0] for name in state if name.startswith(stage)})
    bottleneck = f"{stage}0.conv3.weight" in state
    if (blocks, bottleneck) not in RESNETS:
        raise CheckpointError(
            f"{path}: a ResNet with {blocks} {'bottleneck' if bottleneck else 'basic'} blocks in its third stage: only "
            "resnet18, resnet50 and resnet101 are read"
        )
    return RESNETS[blocks, bottleneck]


def prototypes_and_embedding_size(state: State, path: Path, generators: list[str]) -> tuple[torch.Tensor, int]:
    """The prototypes [K, M, D], and D, compared with the encoder's head and with the names given."""
    prototypes, head = state.get(PROTOTYPES), state.get(HEAD)
    if prototypes is None or prototypes.ndim != 3 or 0 in prototypes.shape:
        shape = None if prototypes is None else tuple(prototypes.shape)
        raise CheckpointError(f"{path}: {PROTOTYPES} has shape {shape}: generators × prototypes × embedding is needed")
    if head is None or head.ndim != 2:
        raise CheckpointError(f"{path}: {HEAD} is missing or no matrix: it is not a checkpoint of the published code")
    if prototypes.shape[2] != head.shape[0]:
        raise CheckpointError(
            f"{path}: the prototypes have {prototypes.shape[2]} features, the encoder's head gives {head.shape[0]}: "
            "these are parts of two checkpoints"
        )
    if prototypes.shape[0] != len(generators):
        raise CheckpointError(
            f"{path} has prototypes of {prototypes.shape[0]} generators, {len(generators)} were named "
            f"({', '.join(generators)}): name all of them, in the order of training"
        )
    return prototypes, int(head.shape[0])


def check_training_head(content: Mapping[str, Any], path: Path, generators: int, embedding_size: int) -> None:
    """`am_head` is used in training only, but what it says of K and D must agree."""
    entry = content.get("am_head")
    weight = entry.get("weight") if isinstance(entry, Mapping) else None
    if weight is not None and tuple(weight.shape) != (generators, embedding_size):
        raise CheckpointError(
            f"{path}: am_head.weight has shape {tuple(weight.shape)}, the prototypes are of {generators} generators "
            f"with {embedding_size} features: these are parts of two checkpoints"
        )


def vit_image_size(state: State, path: Path) -> int:
    """The side in pixels that a ViT works at, by the number of its positions."""
    positions = state.get(VIT_POSITIONS)
    if positions is None or positions.ndim != 3:
        raise CheckpointError(f"{path}: {VIT_POSITIONS} is missing or not [1, positions, features]")
    patches = int(positions.shape[1]) - 1  # one position is the class token's
    side = math.isqrt(max(patches, 0))
    if side < 1 or side * side != patches:
        raise CheckpointError(
            f"{path}: {VIT_POSITIONS} has {positions.shape[1]} positions, a class token and {patches} patches: "
            "a square number of patches is needed"
        )
    return side * VIT_PATCH


def flatten(content: Mapping[str, Any], prefix: str = "") -> State:
    """Tensors of nested mappings under dotted names.

    Raises:
        CheckpointError: mappings are nested more deeply than any state dict's, or hold themselves.
    """
    flat: State = {}
    if prefix.count(".") > DEEPEST:
        raise CheckpointError(f"mappings are nested more than {DEEPEST} deep: it is not a checkpoint of tensors")
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            flat[f"{prefix}{name}"] = value
        elif isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
    return flat
