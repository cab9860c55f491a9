"""Operators that leave the shape as it is, or broadcast those of their inputs: arithmetic, activations, norms."""

from __future__ import annotations

from protoleak.bundle.onnx_model import BOOL, DTYPES, UINT8
from protoleak.bundle.operators.base import Result, Rule, Use, broadcast, sized_result


def same_size(use: Use) -> Result:
    """An output like the first input."""
    return sized_result(use, use.given(0).shape)


def _same_bool(use: Use) -> Result:
    return sized_result(use, use.given(0).shape, BOOL)


def _dropout(use: Use) -> Result:
    if len(use.inputs) > 1:
        raise ValueError("it has inputs that can make it random")
    return same_size(use)


def _cast(use: Use) -> Result:
    kind = use.integer("to", 0)
    if kind not in DTYPES:
        raise ValueError(f"it casts to element type {kind}")
    return sized_result(use, use.given(0).shape, kind)


def _broadcast(use: Use) -> Result:
    return sized_result(use, broadcast([use.given(index).shape for index in range(len(use.inputs))]))


def _compare(use: Use) -> Result:
    return sized_result(use, broadcast([use.given(0).shape, use.given(1).shape]), BOOL)


def _where(use: Use) -> Result:
    shape = broadcast([use.given(index).shape for index in range(3)])
    return sized_result(use, shape, use.given(1).element_type)


def _prelu(use: Use) -> Result:
    if broadcast([use.given(0).shape, use.given(1).shape]) != use.given(0).shape:
        raise ValueError("its slopes are larger than what they are for")
    return same_size(use)


def _quantize(use: Use) -> Result:
    zero = use.optional(2)
    return sized_result(use, use.given(0).shape, UINT8 if zero is None else zero.element_type)


def _dequantize(use: Use) -> Result:
    return sized_result(use, use.given(0).shape, use.given(1).element_type)


SAME_SIZE = (
    *("Abs", "BatchNormalization", "Ceil", "Celu", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu"),
    *("GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization"),
    *("LeakyRelu", "Log", "LogSoftmax", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin"),
    *("Softmax", "Softplus", "Softsign", "Sqrt", "Tanh"),
)
BROADCASTING = ("Add", "Div", "Max", "Min", "Mod", "Mul", "Pow", "Sub", "Sum")
COMPARING = ("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or")
RULES: dict[str, Rule] = {
    **dict.fromkeys(SAME_SIZE, same_size),
    **dict.fromkeys(("IsInf", "IsNaN", "Not"), _same_bool),
    **dict.fromkeys(BROADCASTING, _broadcast),
    **dict.fromkeys(COMPARING, _compare),
    "Cast": _cast,
    "DequantizeLinear": _dequantize,
    "Dropout": _dropout,
    "PRelu": _prelu,
    "QuantizeLinear": _quantize,
    "Where": _where,
}
