"""A bundle and its engines, opened: what judges, before there is anything to judge.

It imports nothing that images need, so that a command can have engines open their graphs while it imports the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from protoleak.bundle.bundle import Bundle
from protoleak.environment.processors import processors
from protoleak.runtime.configuration import configure
from protoleak.runtime.engines import EngineOptions, choose
from protoleak.runtime.engines.availability import CPU_ENGINES
from protoleak.runtime.engines.trial import try_opening
from protoleak.runtime.executors import Executor, Graphs, open_executor

MOST_BYTES_TO_WARM = 16 * 2**20  # of both graphs: larger ones take longer for an image than anything else here


class Opening:
    """A checked bundle with the variant that is to judge, whose engines open when `start` is called.

    Attributes:
        bundle: the checked bundle.
        engine: that runs the graphs, one of `engines.ENGINES`.
        engine_asked, trusted_key, threads, options: as given.
        compute: the arithmetic that the variant is computed in.
        variant: with the conformal lists that judge.
        calibrated: whether those are of `compute`; else they are of exact computing.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str] | None = None,
        *,
        trusted_key: str | os.PathLike[str] | None = None,
        variant: str | None = None,
        engine: str = "auto",
        threads: int | None = None,
        engine_options: EngineOptions | None = None,
    ) -> None:
        """See `protoleak.load` for the arguments and errors."""
        if isinstance(bundle, Bundle):
            self.bundle = bundle
            if trusted_key is not None:
                bundle.require_signer(trusted_key)
        else:
            self.bundle = Bundle.load(bundle, trusted_key=trusted_key)
        self.engine_asked, self.trusted_key, self.threads = engine, trusted_key, threads
        self.options = engine_options or EngineOptions()
        self.engine, _ = choose(engine, self.options.device)  # once, so that both graphs run on the same
        configuration = configure(self.bundle, self.engine, variant, self.options, threads)
        self.compute, self.calibrated = configuration.compute, configuration.calibrated
        self.variant = self.bundle.variant(configuration.variant, self.engine, self.compute)
        self._graphs = Graphs.of_variant(self.variant)
        self._started: Future[Executor] | None = None

    @property
    def on_processor(self) -> bool:
        """Whether no GPU has a part in it."""
        return self.engine in CPU_ENGINES

    def start(self, *, warm: bool = False) -> None:
        """Has engines of the processor open their graphs in a thread; for others there is nothing to be done before
        `executor`, since a GPU's context belongs to the thread that makes it.

        Args:
            warm: a small attributor runs once meanwhile, if there is another processor for it: see `open_executor`.

        Raises:
            EngineError: graphs from a stranger take more than any of protoleak's.
        """
        if self._started is not None or not self.on_processor:
            return
        self._try()
        pool = ThreadPoolExecutor(1, thread_name_prefix="protoleak-open")
        self._started = pool.submit(self._open, warm and self._is_small() and processors() > 1)
        pool.shutdown(wait=False)

    def executor(self, meanwhile: Callable[[], None]) -> Executor:
        """The engines, as soon as they are open.

        Args:
            meanwhile: called before this waits for them.

        Raises:
            EngineUnavailable, EngineOutOfMemory, EngineError, MissingExtra: see `open_executor`.
        """
        if not self.on_processor:
            self._try()
            executor = self._open()
            meanwhile()
            return executor
        self.start()
        assert self._started is not None
        try:
            meanwhile()
        except BaseException:
            self._started.add_done_callback(_close)
            raise
        return self._started.result()

    def _open(self, warm: bool = False) -> Executor:
        bundle, options = self.bundle, replace(self.options, compute=self.compute)
        return open_executor(
            self.engine,
            self._graphs,
            bundle.manifest,
            bundle.noise_bank,
            location=bundle.path,
            options=options,
            threads=self.threads,
            additions=self.variant.additions,
            warm=warm,
        )

    def _is_small(self) -> bool:
        return len(self._graphs.latent_encoder.model) + len(self._graphs.attributor.model) <= MOST_BYTES_TO_WARM

    def _try(self) -> None:
        if self.bundle.to_be_tried(self.variant.name):
            tried = self._graphs.latent_encoder, self._graphs.attributor
            held = sum(len(content) for content in self.bundle.contents().values())
            options = replace(self.options, compute=self.compute)
            try_opening(self.engine, tried, options, beside=held - sum(len(graph.model) for graph in tried))


def _close(opened: Future[Executor]) -> None:
    """Of engines that nobody will use."""
    if opened.exception() is None:
        opened.result().close()
