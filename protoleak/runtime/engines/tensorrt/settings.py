"""What a plan is built for, and the key that it is kept under."""

from __future__ import annotations

import hashlib
import re

import msgspec

from protoleak.errors import EngineUnavailable
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines.base import Graph
from protoleak.runtime.engines.gpu import Gpu
from protoleak.runtime.engines.tensorrt.library import Library, platform

# Set where a version has them. TF32, which is on by default, is taken away: it rounds float32 to 10 bits.
# DISTRIBUTIVE_INDEPENDENCE (10.12 and later) asks that a row of a batch doesn't depend on the others.
FLAGS_ON = ("DISTRIBUTIVE_INDEPENDENCE",)
FLAGS_OFF = ("TF32",)


class PlanIdentity(msgspec.Struct, frozen=True):
    """What a plan computes and where it may run: another identity is another plan.

    Attributes:
        onnx_sha256: of the graph that it is built from.
        library, version: TensorRT or TensorRT-RTX. A plan runs in the version that built it alone.
        platform: operating system and processor.
        gpu: the GPU's name; "" for TensorRT-RTX, which tunes when it loads a plan.
        flags: builder flags, such as "+DISTRIBUTIVE_INDEPENDENCE" and "-TF32".
    """

    onnx_sha256: str
    library: str
    version: str
    platform: str
    gpu: str
    flags: tuple[str, ...]


class PlanKey(msgspec.Struct, frozen=True):
    """The whole key of a plan in the cache.

    Attributes:
        identity: see there.
        compute_capabilities: the GPUs that it runs on, such as ("8.6", "8.9"); one for TensorRT.
        batch_optimum, batch_maximum: its profile; the minimum is 1.
        workspace_mib: the limit it was built under.
    """

    identity: PlanIdentity
    compute_capabilities: tuple[str, ...]
    batch_optimum: int
    batch_maximum: int
    workspace_mib: int | None

    @property
    def file_stem(self) -> str:
        """The plan's file name without suffix: plans of one identity begin alike."""
        return f"{_digest(self.identity)}-{_digest(self)}"


def identity_prefix(identity: PlanIdentity) -> str:
    """What the file names of all plans of an identity begin with."""
    return f"{_digest(identity)}-"


def plan_key(library: Library, graph: Graph, options: EngineOptions, target: Gpu | tuple[str, ...]) -> PlanKey:
    """
    Args:
        target: the GPU that is here, or compute capabilities to build TensorRT-RTX plans for.

    Raises:
        EngineUnavailable: a compute capability that this library has not, or a profile that is none.
    """
    if not 1 <= options.batch_optimum <= options.batch_maximum:
        raise EngineUnavailable(
            f"a batch optimum of {options.batch_optimum} and maximum of {options.batch_maximum}: give 1 ≤ optimum ≤ "
            "maximum"
        )
    if options.workspace_mib is not None and options.workspace_mib < 1:
        raise EngineUnavailable(f"a workspace of {options.workspace_mib} MiB: give 1 or more, or leave it out")
    here = target if isinstance(target, Gpu) else None
    capabilities = (here.compute_capability,) if here else _checked(library, tuple(target))  # type: ignore[arg-type]
    flags = getattr(library.module, "BuilderFlag", None)
    identity = PlanIdentity(
        onnx_sha256=hashlib.sha256(graph.model).hexdigest(),
        library=library.name,
        version=library.version,
        platform=platform(),
        gpu="" if library.ahead_of_time or here is None else here.name,
        flags=tuple(
            [f"+{name}" for name in FLAGS_ON if hasattr(flags, name)]
            + [f"-{name}" for name in FLAGS_OFF if hasattr(flags, name)]
        ),
    )
    return PlanKey(identity, capabilities, options.batch_optimum, options.batch_maximum, options.workspace_mib)


def _checked(library: Library, capabilities: tuple[str, ...]) -> tuple[str, ...]:
    if not library.ahead_of_time:
        raise EngineUnavailable(
            f"{library.name} times kernels on the GPU that a plan is for, so it builds on that device alone: leave "
            "--compute-capability out, or use --engine tensorrt-rtx"
        )
    if not capabilities:
        raise EngineUnavailable("no compute capability: give at least one, such as --compute-capability 8.6,8.9")
    known = library.compute_capabilities
    for capability in capabilities:
        if not re.fullmatch(r"\d+\.\d", capability) or capability not in known:
            raise EngineUnavailable(
                f"{library.name} {library.version} doesn't build for compute capability {capability!r}: choose among "
                f"{', '.join(known)}"
            )
    return tuple(sorted(set(capabilities), key=lambda text: tuple(map(int, text.split(".")))))


def _digest(value: PlanIdentity | PlanKey) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:24]
