"""Opens what executes a bundle: which of its variants, in what arithmetic, by which engine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from protoleak.bundle.bundle import Bundle, Variant
from protoleak.choices import Arithmetic
from protoleak.runtime.configuration import configure
from protoleak.runtime.engines import EngineOptions, choose
from protoleak.runtime.engines.trial import try_opening
from protoleak.runtime.executors import ON_PROCESSOR, Executor, Graphs, open_executor


@dataclass(frozen=True)
class Chosen:
    """What of a bundle is executed, and how.

    Attributes:
        engine: that runs both graphs.
        variant: with the conformal lists that judge.
        compute: the arithmetic that it is computed in.
        options: of the engine, with that arithmetic.
        foreign_thresholds: whose thresholds judge where the bundle has none for this arithmetic, as a phrase; else
            None.
    """

    engine: str
    variant: Variant
    compute: Arithmetic
    options: EngineOptions
    foreign_thresholds: str | None


def choose_graphs(
    bundle: Bundle, engine: str, variant: str | None, options: EngineOptions, threads: int | None
) -> Chosen:
    """What is executed for what a user asked for, whom `options.notify` tells of foreign thresholds.

    Args:
        engine: one of `engines.ENGINES`, or "auto".
        variant: one of the bundle's, or None or "auto".

    Raises:
        BundleError, EngineUnavailable: see `configure` and `engines.choose`.
    """
    name, _ = choose(engine, options.device)  # once, so that both graphs run on the same
    configuration = configure(bundle, name, variant, options, threads)
    found = bundle.variant(configuration.variant, name, configuration.compute)
    foreign = None if configuration.calibrated else f"of {found.compute}, not of {configuration.compute}"
    if foreign is not None:
        options.notify(f"the bundle has no thresholds for {configuration.compute}, so those of {found.compute} judge")
    options = replace(options, compute=configuration.compute)
    return Chosen(name, found, configuration.compute, options, foreign)


def open_graphs(bundle: Bundle, chosen: Chosen, threads: int | None, meanwhile: Callable[[], None]) -> Executor:
    """The executor of what was chosen; graphs that nobody vouches for are opened in a process with limits first.

    Args:
        meanwhile: called while the engines compile their graphs, where that leaves this thread free.

    Raises:
        EngineUnavailable, EngineOutOfMemory, EngineError: see `open_executor` and `try_opening`.
    """
    graphs = Graphs.of_variant(chosen.variant)
    if bundle.to_be_tried(chosen.variant.name):
        tried = graphs.latent_encoder, graphs.attributor
        held = sum(len(content) for content in bundle.contents().values())
        try_opening(chosen.engine, tried, chosen.options, beside=held - sum(len(graph.model) for graph in tried))
    open_it = partial(
        open_executor,
        chosen.engine,
        graphs,
        bundle.manifest,
        bundle.noise_bank,
        location=bundle.path,
        options=chosen.options,
        threads=threads,
        additions=chosen.variant.additions,
    )
    if chosen.engine not in ON_PROCESSOR:
        return open_it()  # a GPU's context belongs to the thread that makes it
    with ThreadPoolExecutor(1, thread_name_prefix="protoleak-open") as pool:
        opening = pool.submit(open_it)
        meanwhile()
        return opening.result()
