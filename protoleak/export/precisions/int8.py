"""int8 by explicit Q/DQ nodes: ONNX Runtime's static quantisation, with ranges measured once on real images.

Weights are symmetric int8 per output channel, activations symmetric int8 per tensor, biases stay float: the form that
ONNX Runtime, OpenVINO and TensorRT all execute. Both sides of a layer are quantised, since ONNX Runtime's CPU kernels
take a layer for int8 only then. Everything else (normalisation, residual sums, softmax) stays float32.
docs/decisions/0007-precisions.md has the measurements.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protoleak.arrays import Array
from protoleak.bundle.report import Stage
from protoleak.choices import RangeMethod
from protoleak.errors import CalibrationError, CheckpointError, MissingExtra
from protoleak.export.onnx_graph import WEIGHTED_OPERATORS, prepared, weighted_layers

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

# What ONNX Runtime calls them. Its default of 128 bins leaves entropy nothing to choose from: with 128 levels the whole
# histogram is the only candidate. 512 bins let it cut off anything down to a quarter of the range.
METHOD_SETTINGS: dict[RangeMethod, tuple[str, dict[str, Any]]] = {
    "minmax": ("MinMax", {"symmetric": True}),
    "entropy": ("Entropy", {"symmetric": True, "num_bins": 512}),
    "percentile": ("Percentile", {"symmetric": True, "percentile": 99.99}),
}
PER_CHANNEL_OPSET = 13
QUANTISER_SETTINGS = {"WeightSymmetric": True, "ActivationSymmetric": True, "QuantizeBias": False}


class Quantiser:
    """One graph with the activation ranges of its layers; makes it again with any of them in int8.

    Attributes:
        layers: labels of all layers that can be int8, in the graph's order.
    """

    def __init__(self, model: bytes, stage: Stage, feeds: Iterator[Mapping[str, Array]], method: RangeMethod) -> None:
        """Measures the ranges.

        Args:
            model: fp32, serialised.
            feeds: inputs of one run each, from real images.

        Raises:
            CalibrationError: there is no input.
            CheckpointError: the graph has no backbone that can be found, or its opset is too old.
        """
        self._model = prepared(model)
        version = next(entry.version for entry in self._model.opset_import if not entry.domain)
        if version < PER_CHANNEL_OPSET:
            raise CheckpointError(
                f"the {stage.replace('_', ' ')} has ONNX opset {version}, and int8 per channel needs "
                f"{PER_CHANNEL_OPSET}: convert it (onnx.version_converter), or leave int8 out"
            )
        self._nodes = weighted_layers(self._model.graph, stage)
        self.layers = tuple(self._nodes)
        self._ranges = _measure_ranges(self._model, feeds, method)

    def quantised(self, layers: Collection[str]) -> bytes:
        """The model with these layers in int8 and all others in float32."""
        import onnx
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        nodes = {self._nodes[layer] for layer in layers}
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        if nodes:  # ONNX Runtime takes an empty list for all
            with _quiet():
                quantizer = QDQQuantizer(
                    model,
                    per_channel=True,
                    reduce_range=False,
                    weight_qType=QuantType.QInt8,
                    activation_qType=QuantType.QInt8,
                    tensors_range=self._ranges,
                    nodes_to_quantize=sorted(nodes),
                    nodes_to_exclude=[],
                    op_types_to_quantize=list(WEIGHTED_OPERATORS),
                    extra_options=dict(QUANTISER_SETTINGS),
                )
                quantizer.quantize_model()
                quantizer.model.topological_sort()
            model = quantizer.model.model
            _leave_others_in_float(model.graph, nodes)
        del model.graph.value_info[:]
        return bytes(model.SerializeToString())


def _leave_others_in_float(graph: GraphProto, quantised: Collection[str]) -> None:
    """Gives every layer that isn't quantised the float tensor, where a quantised one reads the same tensor in int8.

    ONNX Runtime's quantiser hands the rounded tensor to all of its readers, and so rounds a residual stream again at
    every block. A quantised layer's own output stays rounded for all, or its kernel would not be an int8 one.
    """
    producer = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if node.name in quantised or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for position, name in enumerate(node.input):
            dequantise = producer.get(name)
            if dequantise is None or dequantise.op_type != "DequantizeLinear" or dequantise.input[0] not in producer:
                continue
            original = producer[dequantise.input[0]].input[0]
            if original not in producer or producer[original].name not in quantised:
                node.input[position] = original


def _measure_ranges(model: ModelProto, feeds: Iterator[Mapping[str, Array]], method: RangeMethod) -> Any:
    import onnx
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    name, settings = METHOD_SETTINGS[method]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        calibrator = create_calibrator(
            path,
            list(WEIGHTED_OPERATORS),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=getattr(CalibrationMethod, name),
            extra_options=settings,
        )
        images = 0
        for feed in feeds:  # one by one: a call keeps every tensor of all of its images in memory
            calibrator.collect_data(_one_run(feed))
            images += 1
        if not images:
            raise CalibrationError("int8 needs real images to measure activation ranges on, and there is none")
        return calibrator.compute_data()


def _one_run(feed: Mapping[str, Array]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class OneRun(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self._feeds = iter([dict(feed)])

        def get_next(self) -> dict[str, Array] | None:
            return next(self._feeds, None)

    return OneRun()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without ONNX Runtime's advice to the root logger and to standard output, which concerns its own command line."""
    import contextlib
    import io

    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except ModuleNotFoundError as error:  # its quantisation tools import more than it depends on
        raise MissingExtra(str(error.name), "export") from None
    finally:
        logging.disable(previous)
