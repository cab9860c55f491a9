"""`protoleak build-plans`: TensorRT and TensorRT-RTX plans of a bundle, ahead of time."""

from __future__ import annotations

from typing import Annotated

import typer

from protoleak.choices import PlanEngine
from protoleak.cli.console import plan_progress, say
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.options import BundleArgument, DeviceOption, TrustedKeyOption
from protoleak.cli.typed_values import names
from protoleak.runtime.engine_options import EngineOptions

MEBIBYTE = 2**20
PLANS = "Plans"


def build_plans(
    bundle: BundleArgument = None,
    trusted_key: TrustedKeyOption = None,
    engine: Annotated[PlanEngine, typer.Option("--engine", help="What the plans are for.")] = "tensorrt",
    variants: Annotated[
        str | None,
        typer.Option(
            "--variants", help="Precisions of the bundle, as fp32,fp16, or all; left out, the one that is fastest."
        ),
    ] = None,
    compute_capability: Annotated[
        str | None,
        typer.Option(
            "--compute-capability",
            help="GPUs to build tensorrt-rtx plans for, as 8.6,8.9,12.0, without a GPU. Left out, the one here.",
        ),
    ] = None,
    device: DeviceOption = EngineOptions.device,
    batch_optimum: Annotated[
        int, typer.Option("--batch-optimum", min=1, rich_help_panel=PLANS, help="Batch that plans are tuned for.")
    ] = EngineOptions.batch_optimum,
    batch_maximum: Annotated[
        int, typer.Option("--batch-maximum", min=1, rich_help_panel=PLANS, help="Largest batch of the plans.")
    ] = EngineOptions.batch_maximum,
    workspace: Annotated[
        int | None,
        typer.Option(
            "--workspace",
            min=1,
            rich_help_panel=PLANS,
            help="Scratch memory in MiB that a plan may use; left out, all.",
        ),
    ] = EngineOptions.workspace_mib,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", rich_help_panel=PLANS, help="Build plans again that are in the cache.")
    ] = EngineOptions.rebuild,
) -> None:
    """Build the plans of a bundle into the cache, so that the first run doesn't have to."""
    from protoleak.bundle.bundle import Bundle
    from protoleak.bundle.variants import choose_variant
    from protoleak.runtime.engines.gpu import find_gpu
    from protoleak.runtime.engines.tensorrt.library import load_library
    from protoleak.runtime.engines.tensorrt.plan_cache import Plan, PlanCache
    from protoleak.runtime.engines.tensorrt.plans import obtain_plan
    from protoleak.runtime.engines.tensorrt.settings import plan_key
    from protoleak.runtime.executors import Graphs

    library = load_library(engine)
    target = find_gpu(device) if compute_capability is None else names(compute_capability, "--compute-capability")
    loaded = Bundle.load(bundle, trusted_key=trusted_key)
    every = variants == "all"
    asked = loaded.manifest.variants if every else names(variants or "auto", "--variants")
    chosen = dict.fromkeys(choose_variant(loaded.manifest, name, engine)[0] for name in asked)
    cache = PlanCache(notify=lambda message: say(f"note: {message}", to_errors=True))
    plans: list[tuple[str, Plan]] = []
    for name in chosen:
        graphs = Graphs.of_variant(loaded.variant(name))
        for graph in (graphs.latent_encoder, graphs.attributor):
            with plan_progress(f"{name} {graph.stage}") as progress:
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
        layers = ", ".join(f"{count} {precision}" for precision, count in record.layers.items()) or "types not reported"
        how = "in the cache already" if plan.cached else f"built in {record.seconds:.1f} s"
        say(f"{name} {record.stage}: {record.plan_bytes / MEBIBYTE:.1f} MiB, layers {layers}; {how}")
    if any(plan.path is None for _, plan in plans):
        raise typer.Exit(ExitStatus.SOME_FAILED)
    where = ", ".join(plans[0][1].record.key.compute_capabilities)
    say(f"plans for {engine} {library.version}, compute capability {where}, are in {cache.folder}")
