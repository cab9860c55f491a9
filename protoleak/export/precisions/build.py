"""fp16 and int8 of a bundle's graphs, each held to the gate; int8 gives way layer by layer until it passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from protoleak.arrays import Array, Float32Array, UInt8Array
from protoleak.bundle.enrolment import record_file
from protoleak.bundle.report import GateResult, LayerNoise, Precisions, Stage
from protoleak.choices import Precision
from protoleak.errors import CalibrationError, DatasetError, EngineError
from protoleak.export.calibrate import Evaluation, EvaluationSetup, evaluate
from protoleak.export.images import ImageSet, spread, spread_pixels
from protoleak.export.onnx_graph import graph_metadata, prepared, with_metadata
from protoleak.export.precisions.fp16 import largest_magnitudes, to_float16
from protoleak.export.precisions.gate import compare_variants
from protoleak.export.precisions.int8 import Quantiser
from protoleak.export.precisions.sensitivity import rank_layers
from protoleak.export.runner import VariantRunner
from protoleak.export.settings import VariantSettings
from protoleak.faces.framer import Framer
from protoleak.progress import Progress, no_progress
from protoleak.runtime.engines import Graph, open_engine
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS

STAGES: tuple[Stage, ...] = ("latent_encoder", "attributor")
MAGNITUDE_IMAGES = 16
RANKING_IMAGES = 8


@dataclass(frozen=True)
class BuiltVariant:
    """A variant that passed the gate.

    Attributes:
        graphs: both graphs, serialised.
        evaluation: its own calibration, and its report, complete.
    """

    graphs: dict[Stage, bytes]
    evaluation: Evaluation


@dataclass(frozen=True)
class RefusedVariant:
    """A variant that didn't, and why, as a phrase."""

    reason: str


class VariantBuilder:
    """Makes variants of one bundle's fp32 graphs, with its images.

    Args:
        framer: of the bundle's framing.
        noise_bank: float32 [T, C, h, w].
        fp32: the variant whose graphs are given other precisions, and which these are compared with.
    """

    def __init__(
        self,
        setup: EvaluationSetup,
        framer: Framer,
        noise_bank: Float32Array,
        fp32: BuiltVariant,
        settings: VariantSettings,
        progress: Progress = no_progress,
    ) -> None:
        self._setup, self._manifest, self._framer = setup, setup.manifest, framer
        self._noise_bank, self._settings, self._progress = noise_bank, settings, progress
        self._graphs, self._reference = fp32.graphs, fp32.evaluation
        self._fp32 = self._runner(fp32.graphs)

    def build(self, precision: Precision) -> BuiltVariant | RefusedVariant:
        """Makes the variant and holds it to the gate.

        Raises:
            CalibrationError: int8 without a readable calibration image.
            DatasetError: there is no test image to compare on.
            CheckpointError: a graph cannot be given another precision.
        """
        return self._fp16() if precision == "fp16" else self._int8()

    def _fp16(self) -> BuiltVariant | RefusedVariant:
        graphs: dict[Stage, bytes] = {}
        layers: dict[Stage, dict[str, list[str]]] = {}
        images = self._calibration_pixels(MAGNITUDE_IMAGES)
        for stage in STAGES:
            feeds = self._feeds(stage, images, "measure magnitudes")
            largest = largest_magnitudes(prepared(self._graphs[stage]), feeds)
            half = to_float16(self._graphs[stage], stage, largest)
            graphs[stage] = half.model
            layers[stage] = {"fp16": list(half.layers), "fp32": list(half.out_of_range)}
        found = self._gated("fp16", graphs)
        if isinstance(found, RefusedVariant):
            return found
        return self._complete(graphs, *found, Precisions(layers=layers, images=len(images)))

    def _int8(self) -> BuiltVariant | RefusedVariant:
        images = self._calibration_pixels(self._settings.calibration_images)
        quantisers = {
            stage: Quantiser(
                self._graphs[stage],
                stage,
                self._feeds(stage, images, f"measure ranges of the {stage.replace('_', ' ')}"),
                self._settings.method,
            )
            for stage in STAGES
        }
        ranking: list[LayerNoise] = []
        everything = sum(len(quantiser.layers) for quantiser in quantisers.values())
        # `fewest` is known to pass when `passing` is set, and restoring everything leaves no int8; `too_few` fails.
        too_few, fewest = -1, everything
        passing: tuple[dict[Stage, bytes], Evaluation, GateResult] | None = None
        reason = ""
        restored = 0
        while fewest - too_few > 1:
            graphs = _without(quantisers, ranking[:restored])
            found = self._gated("int8", graphs)
            if isinstance(found, RefusedVariant):
                too_few, reason = restored, reason or found.reason
                if not ranking:
                    ranking = self._rank(quantisers, images)
            else:
                fewest, passing = restored, (graphs, *found)
            restored = (too_few + fewest) // 2
        if passing is None:
            if not everything:
                return RefusedVariant("neither graph has a layer that can be int8")
            return RefusedVariant(f"{reason}; with a single layer left in int8 it still does not pass")
        kept = {(item.stage, item.layer) for item in ranking[:fewest]}
        layers: dict[Stage, dict[str, list[str]]] = {
            stage: {
                "int8": [layer for layer in quantiser.layers if (stage, layer) not in kept],
                "fp32": [layer for layer in quantiser.layers if (stage, layer) in kept],
            }
            for stage, quantiser in quantisers.items()
        }
        precisions = Precisions(
            layers=layers,
            images=len(images),
            range_method=self._settings.method,
            returned_to_fp32=ranking[:fewest],
        )
        return self._complete(*passing, precisions)

    def _rank(self, quantisers: dict[Stage, Quantiser], images: Sequence[UInt8Array]) -> list[LayerNoise]:
        pixels = np.stack(spread(images, RANKING_IMAGES))
        feed = self._attributor_feed(pixels)

        def embed(stage: Stage, model: bytes) -> Float32Array:
            if stage == "latent_encoder":
                return self._runner(self._graphs | {stage: model}).stages(pixels)["embedding"]
            engine = open_engine("onnxruntime", Graph("attributor", model, ATTRIBUTOR_OUTPUTS))
            return engine.run(feed)["embedding"]

        count = sum(len(quantiser.layers) for quantiser in quantisers.values())
        return rank_layers(quantisers, embed, lambda done: self._progress("rank layers", done, count))

    def _gated(
        self, precision: Precision, graphs: dict[Stage, bytes]
    ) -> tuple[Evaluation, GateResult] | RefusedVariant:
        try:
            found = evaluate(precision, self._runner(graphs), self._setup, self._progress)
        except EngineError as error:
            return RefusedVariant(str(error))
        manifest = self._manifest
        gate = compare_variants(
            self._reference, found, manifest.generators, manifest.real_class, self._setup.alpha, self._settings.limits
        )
        return (found, gate) if gate.passes else RefusedVariant("; ".join(gate.failures))

    def _complete(
        self, graphs: dict[Stage, bytes], evaluation: Evaluation, gate: GateResult, precisions: Precisions
    ) -> BuiltVariant:
        metadata = graph_metadata(self._manifest)
        graphs = {stage: with_metadata(model, metadata) for stage, model in graphs.items()}
        report = msgspec.structs.replace(evaluation.report, gate=gate, size=sizes(graphs), precisions=precisions)
        return BuiltVariant(graphs, replace(evaluation, report=report))

    def _runner(self, graphs: dict[Stage, bytes]) -> VariantRunner:
        return VariantRunner(
            self._manifest, self._noise_bank, graphs["latent_encoder"], graphs["attributor"], self._framer.find
        )

    def _feeds(self, stage: Stage, images: Sequence[UInt8Array], what: str) -> Iterator[dict[str, Array]]:
        """What the runtime feeds a graph, image by image: pixels, or what fp32 encoder and noising make of them."""
        for done, image in enumerate(images, 1):
            yield {"image": image} if stage == "latent_encoder" else self._attributor_feed(image[None])
            self._progress(what, done, len(images))

    def _attributor_feed(self, images: UInt8Array) -> dict[str, Array]:
        """What fp32's encoder and noising make of uint8 [N, L, S, S, 3]."""
        name = self._manifest.attributor_input
        given = self._fp32.stages(images)[name]
        return {name: given.reshape(len(images), *self._manifest.attributor_input_shape)}

    def _calibration_pixels(self, count: int) -> list[UInt8Array]:
        return calibration_pixels(self._setup.images.calibration, count, self._framer)


def calibration_pixels(images: ImageSet, count: int, framer: Framer) -> list[UInt8Array]:
    """Up to `count` of the readable calibration images, spread over all generators: uint8 [L, S, S, 3] each.

    Raises:
        CalibrationError: no image can be read. Ranges are never measured on made-up data.
    """
    pixels = spread_pixels(images.paths, count, framer)
    if not pixels:
        raise CalibrationError(
            f"none of the {len(images.paths)} calibration images can be read: lower precisions need real images to "
            "measure ranges on"
        )
    return pixels


def sizes(graphs: dict[Stage, bytes]) -> dict[str, int]:
    """Bytes of each graph."""
    return {f"{stage}.onnx": len(model) for stage, model in graphs.items()}


def variant_files(name: str, variant: BuiltVariant, with_record: bool) -> dict[str, bytes]:
    """A bundle's files of one variant, by path.

    Args:
        with_record: whether generators can be enrolled in the bundle.
    """
    folder = f"variants/{name}"
    record = {record_file(name): variant.evaluation.record.to_bytes()} if with_record else {}
    return record | {
        **{f"{folder}/{stage}.onnx": model for stage, model in variant.graphs.items()},
        f"{folder}/calibration.npz": variant.evaluation.calibration.to_bytes(),
        f"{folder}/report.json": variant.evaluation.report.to_json(),
    }


def check_variants(precisions: Sequence[Precision], calibration: ImageSet, test: ImageSet) -> None:
    """Refuses, before any work, variants that these images cannot make or prove.

    Raises:
        CalibrationError: no image in the calibration split.
        DatasetError: no test image to hold a variant to the gate with.
    """
    if not precisions:
        return
    wanted = " and ".join(precisions)
    if not calibration.paths:
        raise CalibrationError(
            f"there are no calibration images for {wanted}: ranges are measured on real images, so one at least is "
            "needed"
        )
    if not test.paths:
        raise DatasetError(
            f"there are no test images, and {wanted} can only be written after a comparison with fp32 on some: give "
            "the data set a test split, or ask for fp32 alone"
        )


def _without(quantisers: dict[Stage, Quantiser], restored: Sequence[LayerNoise]) -> dict[Stage, bytes]:
    kept = {(item.stage, item.layer) for item in restored}
    return {
        stage: quantiser.quantised([layer for layer in quantiser.layers if (stage, layer) not in kept])
        for stage, quantiser in quantisers.items()
    }
