"""What other arithmetic and other storage of a bundle's latent encoder cost in verdicts, and give in time.

    python benchmarks/computes.py --bundle protoleak/default_bundle --data WORK/known --unknown WORK/unknown \
        --photographs WORK/photographs --left-out WORK/left_out.npz --json benchmarks/results/computes.json

Compares, in OpenVINO, with exact computing of fp32, each with conformal lists of its own, by the gate of `export`:

- bf16
- the encoder in int8 per channel (`minmax`, `percentile`), all of it and with the layers that harm the embedding most
  given back, what isn't int8 in bf16
- both graphs with their large weights stored as float16

Every image is framed once. Times are those of both graphs, taken in turns, the shortest of many; compare them with one
another, on an idle machine. docs/decisions/0029-calibrated-computes.md speaks of the results.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from protoleak.arrays import Array, UInt8Array
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.enrolment import Record
from protoleak.bundle.report import GateLimits, GateResult
from protoleak.calibration.conformal_fit import LeftOutMargins, calibrate
from protoleak.calibration.temperature import fit_temperature
from protoleak.choices import Arithmetic, RangeMethod
from protoleak.dataset import read_dataset
from protoleak.environment.machine import Machine, describe_machine
from protoleak.errors import MediaError
from protoleak.export.calibrate import Evaluation
from protoleak.export.images import ImageSet, folder_of_images, in_order_of, split, unknown_generators
from protoleak.export.precisions.gate import compare_variants
from protoleak.export.precisions.int8 import Quantiser
from protoleak.export.report import Measured, VariantOutputs, measure_variant
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.files import write_whole
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.executors import Executor, Graphs, open_executor
from protoleak.runtime.timings import time_executors
from protoleak.strict_json import json_bytes

RANGE_IMAGES, RANKED_IMAGES = 64, 16
# Range method → how many layers are given back: minmax is too far off for that to help.
RESTORED: dict[RangeMethod, tuple[int, ...]] = {"minmax": (0,), "percentile": (0, 3, 6)}
LARGE = 1024  # elements of a weight that is stored in another type
ENGINE = "openvino"


class Row(msgspec.Struct, frozen=True):
    """One way to compute the bundle.

    Attributes:
        bytes: of both graphs.
        milliseconds: of both graphs for one face.
        speedup: the time of exact computing of fp32, taken in turns with this row's, over this row's.
        verdicts: "known test images", "camera test images", "unknown generators", "real faces" → verdict → images.
        gate: against exact computing of fp32; None for that itself.
    """

    name: str
    bytes: int
    milliseconds: float
    speedup: float
    verdicts: dict[str, dict[str, int]]
    gate: GateResult | None


class Report(msgspec.Struct, frozen=True):
    """The results."""

    machine: Machine
    bundle: str
    noise_db: dict[str, dict[str, float]]
    rows: list[Row]


@dataclass(frozen=True)
class Faces:
    """All images, framed: uint8 [n, L, S, S, 3], with set and label of each."""

    pixels: UInt8Array
    sets: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]

    def of(self, name: str) -> npt.NDArray[np.bool_]:
        return np.equal(self.sets, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    for name in ("data", "unknown", "photographs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--left-out", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bundle = Bundle.load(options.bundle)
    faces = framed(bundle, options.data, options.unknown, options.photographs)
    left_out = None if options.left_out is None else LeftOutMargins.read(options.left_out)
    variant = bundle.variant("fp32")
    encoder, attributor = variant.latent_encoder, variant.attributor
    ways: dict[str, tuple[bytes, bytes, Arithmetic]] = {
        "fp32 exact": (encoder, attributor, "exact"),
        "fp32 bf16": (encoder, attributor, "bf16"),
        "weights stored as float16": (stored_as_half(encoder), stored_as_half(attributor), "exact"),
        "weights of the attributor stored as float16": (encoder, stored_as_half(attributor), "exact"),
    }
    noise: dict[str, dict[str, float]] = {}
    for method, counts in RESTORED.items():
        quantiser, noise[method] = ranked(bundle, faces, method)
        worst = sorted(noise[method], key=lambda layer: noise[method][layer])
        for count in counts:
            model = quantiser.quantised([layer for layer in quantiser.layers if layer not in worst[:count]])
            ways[f"encoder int8 {method}, {count} layers restored, bf16"] = (model, attributor, "bf16")
    rows: list[Row] = []
    reference: Evaluation | None = None
    for name, (latent_encoder, network, compute) in ways.items():
        with_graphs = opened(bundle, latent_encoder, network, compute)
        found = evaluation(bundle, with_graphs, faces, left_out)
        reference = reference or found
        gate = None
        if found is not reference:
            manifest = bundle.manifest
            gate = compare_variants(
                reference, found, manifest.generators, manifest.real_class, manifest.alpha, GateLimits()
            )
        exact = opened(bundle, encoder, attributor, "exact")
        looks, size = faces.pixels.shape[1:3]
        spent = time_executors({"exact": exact, name: with_graphs}, looks, size)
        size_of_both = len(latent_encoder) + len(network)
        speedup = 1.0 if gate is None else round(spent["exact"] / spent[name], 2)
        rows.append(Row(name, size_of_both, spent[name], speedup, verdicts(bundle, found), gate))
        print(line(rows[-1]), flush=True)
        exact.close()
        with_graphs.close()
    report = Report(describe_machine(), bundle.sha256, noise, rows)
    if options.json is not None:
        write_whole(options.json, [json_bytes(report)])


def line(row: Row) -> str:
    """A row in words."""
    said = f"{row.name}: {row.bytes / 1e6:.2f} MB, {row.milliseconds:.1f} ms ({row.speedup:.2f} × exact)"
    if row.gate is None:
        return said
    return (
        said
        + f"; same generator {row.gate.generator_agreement:.2%}, same side {row.gate.verdict_agreement:.2%}; "
        + ("; ".join(row.gate.failures) or "passes")
    )


def framed(bundle: Bundle, data: Path, unknown: Path, photographs: Path) -> Faces:
    """Every image that an export measures on."""
    dataset = in_order_of(bundle.manifest.generators, read_dataset(data, bundle.manifest.real_class))
    sets: list[ImageSet] = [split(dataset, name) for name in ("validation", "calibration", "test")]
    sets += [*unknown_generators(unknown), folder_of_images("real faces", photographs)]
    detector = bundle.path / "face_detector.onnx"
    framing = bundle.manifest.preprocessing.framing
    framer = Framer(framing, LargestFace(detector) if framing.needs_face else None)
    pixels, names, labels = [], [], []
    for images in sets:
        for path, label in zip(images.paths, images.labels, strict=True):
            try:
                pixels.append(framer.file(path))
            except MediaError:
                continue
            names.append(images.name)
            labels.append(int(label))
    return Faces(np.stack(pixels), np.array(names), np.array(labels))


def opened(bundle: Bundle, encoder: bytes, attributor: bytes, compute: Arithmetic) -> Executor:
    graphs, options = Graphs.of(encoder, attributor), EngineOptions(compute=compute)
    return open_executor(ENGINE, graphs, bundle.manifest, bundle.noise_bank, options=options)


def evaluation(bundle: Bundle, executor: Executor, faces: Faces, left_out: LeftOutMargins | None) -> Evaluation:
    """What an export would have: the outputs on all images, with conformal lists of their own."""
    outputs = [executor.run(face).outputs for face in faces.pixels]
    scores = np.concatenate([one["class_score"] for one in outputs])
    densities = np.concatenate([one["log_density"] for one in outputs])

    def of(name: str) -> VariantOutputs:
        return VariantOutputs(scores[faces.of(name)], densities[faces.of(name)])

    manifest, lists = bundle.manifest, of("calibration")
    calibration = calibrate(
        lists.log_density,
        lists.class_score,
        manifest.generators,
        fit_temperature(of("validation").class_score, faces.labels[faces.of("validation")]),
        faces.labels[faces.of("calibration")],
        manifest.real_class,
        left_out,
        bundle.variant("fp32").calibration.accusation_share,
    )
    known = ("validation", "calibration", "test", "real faces")
    unknown = {name: of(name) for name in dict.fromkeys(faces.sets.tolist()) if name not in known}
    measured = Measured(of("test"), faces.labels[faces.of("test")], unknown, of("real faces"))
    report = measure_variant("fp32", calibration, manifest.generators, manifest.real_class, manifest.alpha, measured)
    nothing = np.zeros((0, manifest.embedding_size))
    record = Record.of(nothing, nothing, scores[:0], densities[:0], faces.labels[:0])
    return Evaluation(calibration, record, measured, report, {}, ())


def verdicts(bundle: Bundle, found: Evaluation) -> dict[str, dict[str, int]]:
    """What is said of the images, by the runtime's rule."""
    manifest, measured = bundle.manifest, found.measured
    real = -1 if manifest.real_class is None else manifest.generators.index(manifest.real_class)

    def said(outputs: VariantOutputs) -> list[str]:
        return outputs.verdicts(found.calibration, manifest.generators, manifest.real_class, manifest.alpha)

    test = said(measured.test)
    sets = {
        "known test images": [one for one, label in zip(test, measured.labels, strict=True) if label != real],
        "camera test images": [one for one, label in zip(test, measured.labels, strict=True) if label == real],
        "unknown generators": [one for outputs in measured.unknown.values() for one in said(outputs)],
        "real faces": [] if measured.real_faces is None else said(measured.real_faces),
    }
    return {name: {label: of.count(label) for label in ("known", "real", "unknown")} for name, of in sets.items()}


def ranked(bundle: Bundle, faces: Faces, method: RangeMethod) -> tuple[Quantiser, dict[str, float]]:
    """The encoder's layers with the signal-to-noise ratio of the embedding, in dB, when each alone is int8."""
    variant = bundle.variant("fp32")
    lists = np.flatnonzero(faces.of("calibration"))
    chosen = [lists[index * len(lists) // RANGE_IMAGES] for index in range(RANGE_IMAGES)]

    def feeds() -> Iterator[Mapping[str, Array]]:
        for index in chosen:
            yield {"image": faces.pixels[index]}

    quantiser = Quantiser(variant.latent_encoder, "latent_encoder", feeds(), method)
    some = chosen[:: RANGE_IMAGES // RANKED_IMAGES]

    def embedding(encoder: bytes) -> npt.NDArray[Any]:
        executor = opened(bundle, encoder, variant.attributor, "exact")
        found = np.concatenate([executor.run(faces.pixels[index]).outputs["embedding"] for index in some])
        executor.close()
        return found

    exact = embedding(variant.latent_encoder)
    noise = {}
    for layer in quantiser.layers:
        changed = embedding(quantiser.quantised([layer]))
        ratio = exact.var(axis=0).sum() / ((changed - exact) ** 2).sum(axis=1).mean()
        noise[layer] = round(float(10 * np.log10(ratio)), 2)
    return quantiser, noise


def stored_as_half(model: bytes) -> bytes:
    """The same graph with its large weights in float16, each cast back to float32 before it is used."""
    graph = onnx.load_from_string(model)
    casts = []
    for tensor in graph.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= LARGE:
            name, stored = tensor.name, f"{tensor.name}_half"
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), stored))
            casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return bytes(graph.SerializeToString())


if __name__ == "__main__":
    main()
