"""A small but complete bundle with real ONNX graphs, for tests: two generators and a camera class, by colour.

The latent encoder is one strided convolution; the attributor has every stage of the real one (shared encoder, gate,
temporal attention, prototypes, log-sum-exp, kernel density). Prototypes, density and calibration come from running the
graph on seeded images of three kinds, so verdicts are real ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from protoleak.bundle import manifest as manifests
from protoleak.bundle import reader as bundle_files
from protoleak.bundle.calibration import Calibration
from protoleak.bundle.class_statistics import CLASS_STATISTICS
from protoleak.bundle.enrolment import ENROLMENT, Record, ScoreConstants, record_file
from protoleak.bundle.report import BundleReport
from protoleak.bundle.writer import array_bytes, write_bundle
from protoleak.calibration.class_statistics import fit_class_statistics
from protoleak.choices import Look
from protoleak.diffusion import NoiseSchedule, noise_bank, noised_latents
from protoleak.images.framing import Framing
from protoleak.latent_statistics import second_order_statistics
from protoleak.metrics.report import ClosedSet, Estimate, RealFaces, Share
from protoleak.runtime.conformal import real_margin
from protoleak.runtime.engines import Graph, open_engine

GENERATORS = ["dawn", "moss", "camera"]
CAMERA = 2
COLOURS = [(200, 90, 60), (60, 170, 80), (90, 100, 190)]
IMAGE_SIZE, LATENT_SHAPE, TIMESTEPS, COMPONENTS, SEED = 64, (4, 8, 8), (0, 200), 3, 11
EMBEDDING, PROTOTYPES, CALIBRATION_IMAGES = 24, 2, 60
POSTERIOR = manifests.Density("posterior")
NAMES = ["embedding", "gate", "timestep_weight", "prototype_distance", "class_score", "log_density"]


def make_image(kind: int | None, seed: int, height: int = 80, width: int = 72) -> np.ndarray:
    """uint8 [height, width, 3]: noise about the colour of one class; None for a kind that no class has."""
    generator = np.random.default_rng([seed, 99 if kind is None else kind])
    colour = (250, 250, 20) if kind is None else COLOURS[kind]
    noise = generator.normal(0, 25, (height, width, 3))
    return np.clip(np.asarray(colour) + generator.normal(0, 4, 3) + noise, 0, 255).astype(np.uint8)


def _weights(name: str, *shape: int, seed: int) -> onnx.TensorProto:
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else shape[0]
    values = np.random.default_rng(seed).standard_normal(shape) / np.sqrt(fan_in)
    return numpy_helper.from_array(values.astype(np.float32), name)


def _constant(name: str, values: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def model_bytes(
    nodes: list[onnx.NodeProto], inputs: list[tuple[str, int, list[object]]], outputs: list[str], tensors: list[object]
) -> bytes:
    """A serialised model, opset 20."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def latent_encoder() -> bytes:
    """image uint8 [N, 64, 64, 3] → z0 float32 [N, 4, 8, 8]."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["planes", "scale"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "one"], ["centred"]),
        helper.make_node("Conv", ["centred", "kernel"], ["z0"], kernel_shape=[8, 8], strides=[8, 8]),
    ]
    kernel = (
        np.random.default_rng(1).standard_normal((4, 3, 1, 1)) * np.ones((1, 1, 8, 8)) / 640
    )  # tame: α/σ is 34 at timestep 0
    tensors = [_constant("scale", 2 / 255), _constant("one", 1.0), _constant("kernel", kernel)]
    return model_bytes(nodes, [("image", TensorProto.UINT8, ["n", IMAGE_SIZE, IMAGE_SIZE, 3])], ["z0"], tensors)


def attributor(
    prototypes: np.ndarray, reference: np.ndarray, looks: int, components: int | None, floor: float | None = None
) -> bytes:
    """z_t float32 [N, 2·looks, 8, 8, 8] → the six outputs; half the channels without the low-frequency part.
    `reference` float32 [R, D]: gated training embeddings.

    With a `floor` the log density is that of the prototypes, as in `calibration.posterior`, with none auxiliary.
    """
    steps, channels = looks * len(TIMESTEPS), (1 if components is None else 2) * LATENT_SHAPE[0]
    node = helper.make_node
    nodes = [
        node("Reshape", ["z_t", "flat_shape"], ["flat"]),
        node("Conv", ["flat", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("GlobalAveragePool", ["r1"], ["pooled"]),
        node("Flatten", ["pooled"], ["features"]),
        node("Gemm", ["features", "w2", "b2"], ["h_flat"], transB=1),
        node("Reshape", ["h_flat", "steps_shape"], ["h"]),
        node("MatMul", ["h", "w3"], ["gate_in"]),
        node("Sigmoid", ["gate_in"], ["g"]),
        node("MatMul", ["h", "query"], ["attention"]),
        node("Softmax", ["attention"], ["weight"], axis=1),
        node("Mul", ["h", "weight"], ["h_weighted"]),
        node("Mul", ["g", "weight"], ["g_weighted"]),
        node("ReduceSum", ["h_weighted", "axis1"], ["embedding"], keepdims=0),
        node("ReduceSum", ["g_weighted", "axis1"], ["gate"], keepdims=0),
        node("Squeeze", ["weight", "axis2"], ["timestep_weight"]),
        node("Unsqueeze", ["embedding", "axes12"], ["h4"]),
        node("Unsqueeze", ["gate", "axes12"], ["g4"]),
        node("Sub", ["h4", "prototypes"], ["difference"]),
        node("Mul", ["difference", "difference"], ["squared"]),
        node("Mul", ["squared", "g4"], ["gated"]),
        node("ReduceSum", ["gated", "axis3"], ["prototype_distance"], keepdims=0),
        node("Neg", ["prototype_distance"], ["negative"]),
        node("ReduceLogSumExp", ["negative", "axis2"], ["class_score"], keepdims=0),
        node("Mul", ["embedding", "gate"], ["density_vector"]),
        node("Unsqueeze", ["density_vector", "axis1"], ["v3"]),
        node("Sub", ["v3", "reference"], ["offsets"]),
        node("Mul", ["offsets", "offsets"], ["offsets2"]),
        node("ReduceSum", ["offsets2", "axis2"], ["distance2"], keepdims=0),
        node("Mul", ["distance2", "minus_half"], ["exponent"]),
        node("ReduceLogSumExp", ["exponent", "axis1"], ["log_density"], keepdims=0),
    ]
    if floor is not None:
        kernel = next(index for index, one in enumerate(nodes) if one.output[0] == "density_vector")
        nodes[kernel:] = [
            node("ReduceMax", ["class_score", "axis1"], ["best"], keepdims=0),
            node("ReduceLogSumExp", ["class_score", "axis1"], ["every"], keepdims=0),
            node("Sub", ["best", "every"], ["share"]),
            node("Sub", ["best", "floor"], ["above"]),
            node("Min", ["above", "zero"], ["lacking"]),
            node("Add", ["share", "lacking"], ["log_density"]),
        ]
    scale = 0.5 / max(float(np.median(_nearest(reference))), 1e-12)
    tensors = [
        *([] if floor is None else [_constant("floor", floor), _constant("zero", 0.0)]),
        _weights("w1", 16, channels, 3, 3, seed=2),
        _weights("w2", EMBEDDING, 16, seed=3),
        _weights("b2", EMBEDDING, seed=4),
        _weights("w3", EMBEDDING, EMBEDDING, seed=5),
        _weights("query", EMBEDDING, 1, seed=6),
        _constant("prototypes", prototypes[None]),
        _constant("reference", reference[None]),
        _constant("minus_half", -scale),
        _constant("flat_shape", [-1, channels, *LATENT_SHAPE[1:]], np.int64),
        _constant("steps_shape", [-1, steps, EMBEDDING], np.int64),
        *(_constant(f"axis{axis}", [axis], np.int64) for axis in (1, 2, 3)),
        _constant("axes12", [1, 2], np.int64),
    ]
    return model_bytes(nodes, [("z_t", TensorProto.FLOAT, ["n", steps, channels, *LATENT_SHAPE[1:]])], NAMES, tensors)


def _nearest(points: np.ndarray) -> np.ndarray:
    """Squared distance of each point to its nearest neighbour."""
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(squared, np.inf)
    return squared.min(axis=1)


def tiny_bundle_files(
    looks: tuple[Look, ...] = ("image",), components: int | None = COMPONENTS, floor: float | None = None
) -> tuple[manifests.Manifest, dict[str, bytes]]:
    """The manifest (its file list still empty) and the files, for `write_bundle`. It judges images whole in all looks
    alike: there is no face in what it is made on, and no face detector in it.

    With a `floor`, see `attributor`, generators can be enrolled in it.
    """
    preprocessing = manifests.Preprocessing(IMAGE_SIZE, looks)
    noise = noise_bank(SEED, TIMESTEPS, LATENT_SHAPE)
    factors = NoiseSchedule().coefficients(TIMESTEPS)
    encoder = latent_encoder()
    encode = open_engine("onnxruntime", Graph("latent encoder", encoder, ("z0",)), threads=1)

    def outputs(model: bytes, kind: int, first: int, count: int) -> dict[str, np.ndarray]:
        images = np.concatenate(
            [framed(preprocessing.framing, make_image(kind, first + i, IMAGE_SIZE, IMAGE_SIZE)) for i in range(count)]
        )
        z0 = encode.run({"image": images})["z0"]
        z_t = noised_latents(z0, noise, *factors, components)
        z_t = z_t.reshape(count, -1, *z_t.shape[2:])
        found = open_engine("onnxruntime", Graph("attributor", model, tuple(NAMES)), threads=1).run({"z_t": z_t})
        return found | {"statistics": second_order_statistics(z0, len(looks))}

    blank = np.random.default_rng(8).standard_normal((len(GENERATORS), PROTOTYPES, EMBEDDING)).astype(np.float32)
    draft = attributor(blank, blank[:, 0], len(looks), components)
    training = [outputs(draft, kind, 1000, 20) for kind in range(len(GENERATORS))]
    prototypes = np.stack([found["embedding"][:PROTOTYPES] for found in training])
    reference = np.concatenate([found["embedding"] * found["gate"] for found in training])
    model = attributor(prototypes, reference, len(looks), components, floor)
    held_out = [outputs(model, kind, 2000, CALIBRATION_IMAGES) for kind in range(len(GENERATORS))]
    densities = np.concatenate([found["log_density"] for found in held_out]).astype(np.float64)
    predicted = np.concatenate([found["class_score"].argmax(axis=1) for found in held_out])
    calibration = Calibration(
        overall=np.sort(densities),
        per_generator=tuple(np.sort(densities[predicted == kind]) for kind in range(len(GENERATORS))),
        temperature=1.5,
        real_margins=np.sort(real_margin(held_out[CAMERA]["class_score"], CAMERA)),
    )
    report = BundleReport(
        variant="fp32",
        alpha=0.05,
        real_faces=RealFaces(
            Share(1, 40, 0.025, (0.0044, 0.1288)), {"known": 1, "real": 27, "unknown": 12}, {"moss": 1}
        ),
        closed_set=ClosedSet(60, Estimate(0.99), Estimate(0.97), Estimate(0.98), Estimate(0.96), {}),
    )
    manifest = manifests.Manifest(
        schema_version=manifests.SCHEMA_VERSION,
        name="tiny",
        created="2025-01-01T00:00:00Z",
        generators=GENERATORS,
        real_class="camera",
        preprocessing=preprocessing,
        schedule=manifests.Schedule(),
        timesteps=list(TIMESTEPS),
        noise_seed=SEED,
        low_frequency=None if components is None else manifests.LowFrequency(components),
        latent_shape=LATENT_SHAPE,
        embedding_size=EMBEDDING,
        prototypes_per_generator=PROTOTYPES,
        head="prototype",
        density=manifests.Density("gated", 1.0, 1.0, len(reference)) if floor is None else POSTERIOR,
        provenance={"made_by": "the tests", "training": {"images": 60}},
        variants=["fp32"],
        files={},
    )
    files = {
        bundle_files.NOISE_BANK: array_bytes(noise),
        bundle_files.PROTOTYPES: array_bytes(prototypes.astype(np.float32)),
        "variants/fp32/latent_encoder.onnx": encoder,
        "variants/fp32/attributor.onnx": model,
        "variants/fp32/calibration.npz": calibration.to_bytes(),
        "variants/fp32/report.json": report.to_json(),
    }
    if floor is not None:
        parts = ("embedding", "gate", "class_score", "log_density")
        together = (np.concatenate([found[name] for found in held_out]) for name in parts)
        labels = np.repeat(np.arange(len(GENERATORS)), CALIBRATION_IMAGES)
        files[ENROLMENT] = ScoreConstants(1.0, floor).to_bytes()
        classes = fit_class_statistics(
            *(np.concatenate([found[name] for found in training]) for name in ("statistics", "embedding")),
            np.repeat(np.arange(len(GENERATORS)), 20),
            len(GENERATORS),
        )
        features = [classes.features(found["statistics"], found["embedding"]) for found in held_out]
        files[CLASS_STATISTICS] = classes.to_bytes()
        files[record_file("fp32")] = Record.of(*together, labels, np.concatenate(features)).to_bytes()
    return manifest, files


def framed(framing: Framing, image: np.ndarray) -> np.ndarray:
    """uint8 [L, S, S, 3] of uint8 [H, W, 3], judged whole."""
    return framing.frame(Image.fromarray(image), None)


def write(folder: Path, manifest: manifests.Manifest, files: dict[str, bytes]) -> Path:
    """Writes a bundle into a folder and returns its path."""
    write_bundle(folder, manifest, files)
    return folder
