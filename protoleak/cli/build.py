"""`protoleak build`: TensorRT and TensorRT-RTX plans of a bundle, ahead of time."""

from __future__ import annotations

import sys
from typing import Annotated, Optional

import typer

from protoleak.cli.build_bar import build_bar
from protoleak.cli.options import names
from protoleak.errors import ProtoleakError

MEBIBYTE = 2**20
BUILDERS = ("tensorrt", "tensorrt-rtx")


def build(
    bundle: Annotated[
        Optional[str],  # noqa: UP045 Typer evaluates this on Python 3.10 too
        typer.Argument(help="Bundle directory or .zip; left out, the one that comes with protoleak."),
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="tensorrt or tensorrt-rtx.")] = "tensorrt",
    variant: Annotated[
        str, typer.Option("--variant", help="Precisions of the bundle, with commas between; auto, or all.")
    ] = "auto",
    compute_capability: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--compute-capability",
            help="GPUs to build tensorrt-rtx plans for, such as 8.6,8.9,12.0, without a GPU. Left out, the one here.",
        ),
    ] = None,
    device: Annotated[int, typer.Option("--device", min=0, help="CUDA device ordinal to build on.")] = 0,
    batch_optimum: Annotated[int, typer.Option("--batch-optimum", min=1, help="Batch that plans are tuned for.")] = 1,
    batch_maximum: Annotated[int, typer.Option("--batch-maximum", min=1, help="Largest batch of the plans.")] = 8,
    workspace: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--workspace", min=1, help="Scratch memory in MiB that a plan may use; left out, all."),
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build plans again that are in the cache.")] = False,
) -> None:
    """Build the plans of a bundle into the cache, so that the first run doesn't have to."""
    if engine not in BUILDERS:
        raise ProtoleakError(f"--engine {engine}: only {' and '.join(BUILDERS)} have plans to build")
    from protoleak.bundle.bundle import Bundle
    from protoleak.bundle.variants import choose_variant
    from protoleak.runtime.engines.base import EngineOptions
    from protoleak.runtime.engines.gpu import find_gpu
    from protoleak.runtime.engines.tensorrt.library import load_library
    from protoleak.runtime.engines.tensorrt.plan_cache import Plan, PlanCache
    from protoleak.runtime.engines.tensorrt.plans import obtain_plan
    from protoleak.runtime.engines.tensorrt.settings import plan_key
    from protoleak.runtime.executors import Graphs

    library = load_library(engine)
    target = (
        find_gpu(device) if compute_capability is None else tuple(names(compute_capability, "--compute-capability"))
    )
    loaded = Bundle.load(bundle)
    asked = list(loaded.manifest.variants) if variant == "all" else names(variant, "--variant")
    chosen = dict.fromkeys(choose_variant(loaded.manifest, name, engine)[0] for name in asked)
    cache = PlanCache(notify=lambda message: print(f"note: {message}", file=sys.stderr))
    plans: list[tuple[str, Plan]] = []
    for name in chosen:
        graphs = Graphs.of_variant(loaded.variant(name))
        for graph in (graphs.latent_encoder, graphs.attributor):
            with build_bar(f"{name} {graph.stage}") as progress:
                options = EngineOptions(
                    device=device,
                    batch_optimum=batch_optimum,
                    batch_maximum=batch_maximum,
                    workspace_mib=workspace,
                    rebuild=rebuild,
                    progress=progress,
                )
                plan_key(library, graph, options, target)  # what is wrong with the options is said before any build
                plans.append((name, obtain_plan(library, graph, options, target, cache)))
    for name, plan in plans:
        record = plan.record
        layers = ", ".join(f"{count} {precision}" for precision, count in record.layers.items()) or "types not told"
        how = "in the cache already" if plan.cached else f"built in {record.seconds:.1f} s"
        print(f"{name} {record.stage}: {record.plan_bytes / MEBIBYTE:.1f} MiB, layers {layers}; {how}")
    if any(plan.path is None for _, plan in plans):
        raise typer.Exit(1)
    where = ", ".join(plans[0][1].record.key.compute_capabilities)
    print(f"plans for {engine} {library.version}, compute capability {where}, are in {cache.folder}")
