"""How an engine is to run: plain values, without what they are used by."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from protoleak.choices import Compute
from protoleak.progress import Progress, no_progress


def warn(message: str) -> None:
    """Says something that isn't an error but that the user should know, as a Python warning."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is to run. What an engine has no use for is ignored, except `compute`.

    Attributes:
        compute: "exact" computes in the types that the variant's graph is written in; "bf16" lets OpenVINO compute
            float32 layers in bfloat16, which its record says, and no other engine takes it; "auto" is the fastest here
            of those that the bundle is calibrated for (`runtime.configuration`). An engine by itself, without a bundle,
            takes it for "exact".
        device: CUDA device ordinal.
        batch_optimum, batch_maximum: images in the batch that a TensorRT plan is tuned for, and at most; larger batches
            are run in parts.
        workspace_mib: scratch memory that TensorRT may use, in MiB; None for its own limit, the whole device.
        rebuild: build plans again even where the cache has them.
        cuda_graph: capture encoding, noising and attribution on the GPU in one CUDA graph per batch size.
        stage_times: time each stage on the GPU, which is then run without a CUDA graph, stage by stage.
        spinning: ONNX Runtime's threads wait for each other without sleeping while an image runs, and never between
            two. Without it one image takes a little longer, and a busy machine, such as one that screens several
            cameras, has half the processor time to spare.
        notify: called with one line that the user should know, such as a cache that cannot be written.
        progress: called while a plan is built.
    """

    compute: Compute = "auto"
    device: int = 0
    batch_optimum: int = 1
    batch_maximum: int = 8
    workspace_mib: int | None = None
    rebuild: bool = False
    cuda_graph: bool = True
    stage_times: bool = False
    spinning: bool = True
    notify: Callable[[str], None] = warn
    progress: Progress = no_progress

    @property
    def bfloat16(self) -> bool:
        """Whether float32 layers may be computed in bfloat16."""
        return self.compute == "bf16"
