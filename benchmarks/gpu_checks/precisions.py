"""The graphs of a bundle in each precision: its own variants, or made here as `protoleak export` makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from protoleak.arrays import Array, UInt8Array
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.report import Stage
from protoleak.errors import ProtoleakError
from protoleak.runtime.executors import Graphs, open_executor

MEASURED_ON = 16  # faces whose magnitudes and ranges decide where fp16 and int8 may be: enough for timing and parity
_made: dict[tuple[str, str], tuple[bytes, bytes]] = {}


class PrecisionMissing(ProtoleakError):
    """A bundle has no such variant, and it cannot be made here."""


def graphs_of(bundle: Bundle, precision: str, images: UInt8Array) -> tuple[bytes, bytes]:
    """Latent encoder and attributor, serialised.

    fp16 and int8 of a bundle that hasn't them are made of its fp32 variant without the gate that an export has: they
    show speed and how far outputs move, and judge nothing.

    Args:
        precision: "fp32", "tf32" (fp32's graphs), "fp16" or "int8".
        images: uint8 [N, L, S, S, 3]: faces to measure magnitudes and ranges on.

    Raises:
        PrecisionMissing: onnx is not installed here, or the graphs cannot be converted.
    """
    name = "fp32" if precision == "tf32" else precision
    if name in bundle.manifest.variants:
        variant = bundle.variant(name)
        return variant.latent_encoder, variant.attributor
    key = bundle.sha256, name
    if key not in _made:
        try:
            _made[key] = _converted(bundle, name, images)
        except (ImportError, ProtoleakError) as error:
            raise PrecisionMissing(
                f"the bundle has no variant {name} and it cannot be made here ({error}): "
                'pip install "protoleak[train]", or give a bundle that has it'
            ) from error
    return _made[key]


def _converted(bundle: Bundle, name: str, images: UInt8Array) -> tuple[bytes, bytes]:
    from protoleak.export.onnx_graph import prepared
    from protoleak.export.precisions.fp16 import largest_magnitudes, to_float16
    from protoleak.export.precisions.int8 import Quantiser

    variant = bundle.variant("fp32")
    graphs: dict[Stage, bytes] = {"latent_encoder": variant.latent_encoder, "attributor": variant.attributor}
    made = {}
    for stage, model in graphs.items():
        feeds = _feeds(bundle, stage, images[:MEASURED_ON])
        if name == "fp16":
            made[stage] = to_float16(model, stage, largest_magnitudes(prepared(model), feeds)).model
        else:
            quantiser = Quantiser(model, stage, feeds, "minmax")
            made[stage] = quantiser.quantised(quantiser.layers)
    return made["latent_encoder"], made["attributor"]


def _feeds(bundle: Bundle, stage: Stage, images: UInt8Array) -> Iterator[Mapping[str, Array]]:
    """What the runtime feeds a graph, face by face."""
    executor = open_executor(
        "onnxruntime",
        Graphs.of_variant(bundle.variant("fp32")),
        bundle.manifest,
        bundle.noise_bank,
        location=bundle.path,
    )
    for face in images:
        if stage == "latent_encoder":
            yield {"image": face}
        else:
            found = executor.run(face, stages=True)
            # An attributor with the stem above the noise takes z0 of all looks, else what noising makes of it.
            assert found.z0 is not None
            yield {"z0": found.z0[None]} if found.z_t is None else {"z_t": found.z_t}
    executor.close()
