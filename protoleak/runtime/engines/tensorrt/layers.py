"""In which precision the layers of a built engine compute, read from what TensorRT says of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

# The narrowest first: a layer counts by the narrowest type that it reads. Words of TensorRT 10 and 11.
PRECISIONS = {
    "fp4": r"fp4",
    "int4": r"(?<!u)int4",
    "fp8": r"fp8",
    "int8": r"(?<!u)int8",
    "bf16": r"bf16|bfloat16",
    "fp16": r"half|(?<!b)fp16|(?<!b)float16",
    "fp32": r"fp32|float32|float(?!16|8|4)",
}
TENSOR = re.compile(r"\{[^{}]*\}")
SECTION = re.compile(r"(Inputs|Outputs): \[(.*?)\](?=, [A-Z]\w+:|$)")
DATA_TYPE = re.compile(r"(?:Datatype|DataType|Format/Datatype): ([^,}]+)")
REPORT = re.compile(r"^\s*(?:Engine )?Layer(?:s| Information):?\s*$", re.IGNORECASE)


def precisions_of_inspector(information: str) -> dict[str, int]:
    """Counts of layers by precision from `EngineInspector.get_engine_information(JSON)`; {} where it tells no types.

    Versions differ: 10.x says "Format/Datatype" of a tensor, 11.x "Datatype" and "Format".
    """
    try:
        layers = json.loads(information).get("Layers", [])
    except (json.JSONDecodeError, AttributeError):
        return {}
    return _count((_types(layer, "Inputs"), _types(layer, "Outputs")) for layer in layers if isinstance(layer, dict))


def is_layer_report(message: str) -> bool:
    """Whether a message of the builder's log is its report of all layers of the engine that it built."""
    return bool(REPORT.match(message.split("\n", 1)[0]))


def precisions_of_report(report: str) -> dict[str, int]:
    """Counts of layers by precision from the builder's report; {} where it tells no types."""
    body = report.split("I/O Tensors:")[0]

    def sections() -> Iterator[tuple[list[str], list[str]]]:
        for line in body.splitlines():
            found: dict[str, list[str]] = {"Inputs": [], "Outputs": []}
            for name, text in SECTION.findall(_tensors_joined(line)):
                found[name] = DATA_TYPE.findall(text)
            yield found["Inputs"], found["Outputs"]

    return _count(sections())


def precision_of(data_type: str) -> str | None:
    """The name of a floating or quantised type in TensorRT's words, or None for an index, a mask or pixels."""
    text = data_type.lower()
    return next((name for name, pattern in PRECISIONS.items() if re.search(pattern, text)), None)


def _tensors_joined(line: str) -> str:
    """Brackets inside a tensor's braces would end its section too early."""
    return TENSOR.sub(lambda match: match[0].replace("[", "(").replace("]", ")"), line)


def _types(layer: dict[str, Any], side: str) -> list[str]:
    tensors = [item for item in layer.get(side, []) if isinstance(item, dict)]
    return [str(value) for item in tensors for key, value in item.items() if "datatype" in key.lower()]


def _count(layers: Iterator[tuple[list[str], list[str]]]) -> dict[str, int]:
    narrowest_first = list(PRECISIONS)
    counts: Counter[str] = Counter()
    for inputs, outputs in layers:
        named = [name for name in map(precision_of, inputs) if name] or [
            name for name in map(precision_of, outputs) if name
        ]
        if named:
            counts[min(named, key=narrowest_first.index)] += 1
    return {name: counts[name] for name in reversed(narrowest_first) if counts[name]}
