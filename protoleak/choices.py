"""What settings and options choose among. It imports nothing heavy, so that help texts can list the choices."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from protoleak.errors import SettingError

BackboneKind: TypeAlias = Literal[
    "conv", "second_order", "resnet18", "resnet50", "resnet101", "efficientnet_b4", "vit_b_16"
]
HeadKind: TypeAlias = Literal["prototype", "mahalanobis", "gaussian_mixture", "kernel_density", "tied_gaussian"]
KernelSpace: TypeAlias = Literal["whitened", "gated"]  # of a kernel density
DensitySpace: TypeAlias = Literal["whitened", "gated", "posterior"]
# Precisions of a bundle besides fp32, which every bundle has; and how the ranges of int8 are chosen.
Precision: TypeAlias = Literal["fp16", "int8"]
RangeMethod: TypeAlias = Literal["minmax", "entropy", "percentile"]
# What arithmetic may do with the types that a graph or network is written in. "exact" computes in these very types,
# "bf16" may compute float32 layers in bfloat16; "auto" takes the fastest that was proven.
Arithmetic: TypeAlias = Literal["exact", "bf16"]
Compute: TypeAlias = Literal["auto", "exact", "bf16"]
# What the attributor's graph takes: noised latents, or latents, of which it takes its first operation above the noise.
AttributorInput: TypeAlias = Literal["z_t", "z0"]
Stem: TypeAlias = Literal["auto", "above_noise", "below_noise"]
WeightType: TypeAlias = Literal["float32", "float16"]
EngineName: TypeAlias = Literal[
    "auto", "tensorrt", "tensorrt-rtx", "onnxruntime-tensorrt", "onnxruntime-cuda", "openvino", "onnxruntime"
]
PlanEngine: TypeAlias = Literal["tensorrt", "tensorrt-rtx"]
Split: TypeAlias = Literal["auto", "test", "all"]
OperatorName: TypeAlias = Literal[
    "jpeg", "webp", "crop", "resize", "rotation", "contrast", "brightness", "blur", "greyscale", "noise", "h264", "h265"
]

# The epoch whose weights a training keeps.
Keep: TypeAlias = Literal["best", "last"]
# How the weights of a network are found: by gradient descent, as linear discriminants, in closed form, or a part of it
# in each of these ways.
Solver: TypeAlias = Literal["descent", "discriminants", "both"]
# One framing of what is judged, see `images.framing`.
Look: TypeAlias = Literal["image", "face", "native"]
# Whether images are turned as their EXIF orientation says: always, or never, as published.
Upright: TypeAlias = Literal["auto", "never"]

LOOKS: tuple[Look, ...] = get_args(Look)
FACE_MARGIN = 0.25  # of the look "face", on every side, of the box's longer side: the square is 1.5 times the box
# One rule for training, calibration and screening: a network judges faces such as it learnt from.
FACE_SCORE, MINIMUM_FACE = 0.6, 32  # least confidence of the detector, and least side of the box in pixels
CROP_MARGIN = 0.25  # around a face where the bundle looks at images as a whole, as FACE_MARGIN is counted
DETECT_EVERY = 0.2  # seconds of a video: as long as nobody misses a face that comes into view
BACKBONE_KINDS: tuple[BackboneKind, ...] = get_args(BackboneKind)
HEAD_KINDS: tuple[HeadKind, ...] = get_args(HeadKind)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
RANGE_METHODS: tuple[RangeMethod, ...] = get_args(RangeMethod)
KEEPS: tuple[Keep, ...] = get_args(Keep)
SOLVERS: tuple[Solver, ...] = get_args(Solver)
ARITHMETICS: tuple[Arithmetic, ...] = get_args(Arithmetic)
COMPUTES: tuple[Compute, ...] = get_args(Compute)
STEMS: tuple[Stem, ...] = get_args(Stem)
WEIGHT_TYPES: tuple[WeightType, ...] = get_args(WeightType)
DENSITY_SPACES: tuple[DensitySpace, ...] = get_args(DensitySpace)
SPLITS: tuple[Split, ...] = get_args(Split)
OPERATOR_NAMES: tuple[OperatorName, ...] = get_args(OperatorName)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raises SettingError where a setting of this name is none of the choices."""
    if value not in choices:
        raise SettingError(name, f"is {value!r}: choose one of {', '.join(choices)}")
