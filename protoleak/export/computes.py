"""Other arithmetic than that of the graphs' types: each engine's is run on all images, held to the gate and calibrated.

A variant's own lists are of what ONNX Runtime computes in the graph's types. Another engine in those same types differs
from it by rounding, and shares the lists, but for int8: engines round differently where a value lies between two steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from protoleak.arrays import Float32Array
from protoleak.bundle.manifest import CalibratedCompute
from protoleak.bundle.reader import CALIBRATION, REPORT
from protoleak.bundle.report import GateLimits, Stage
from protoleak.choices import Arithmetic
from protoleak.errors import EngineError, EngineUnavailable
from protoleak.export.calibrate import Evaluation, EvaluationSetup, evaluate
from protoleak.export.precisions.gate import compare_variants
from protoleak.export.runner import VariantRunner
from protoleak.faces.framer import Framer
from protoleak.progress import Progress
from protoleak.runtime.configuration import REFERENCE_ENGINE
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines.availability import CPU_ENGINES, availability, compute_problem


@dataclass(frozen=True)
class TriedComputes:
    """What passed, and what didn't.

    Attributes:
        passed: how it is computed → its own calibration, and its report with the gate's result.
        refused: "<variant> in <engine>, <compute>" → why not.
    """

    passed: Mapping[CalibratedCompute, Evaluation]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class ComputeTrial:
    """What every compute of a bundle is tried with.

    Attributes:
        setup: as for the variants.
        framer: of the bundle's framing.
        noise_bank: float32 [T, C, h, w].
        reference: of fp32 in exact computing, which the gate compares with.
        limits: of the gate.
    """

    setup: EvaluationSetup
    framer: Framer
    noise_bank: Float32Array
    reference: Evaluation
    limits: GateLimits
    progress: Progress

    def run(self, variants: Mapping[str, Mapping[Stage, bytes]], computes: Sequence[Arithmetic]) -> TriedComputes:
        """Tries the computes on every variant, in every engine for the processor that can run them here.

        Args:
            variants: name → both graphs.
            computes: which ones beside "exact", which is tried in any case where it isn't ONNX Runtime's.

        Raises:
            DatasetError: there is no test image to compare on.
        """
        passed: dict[CalibratedCompute, Evaluation] = {}
        refused: dict[str, str] = {}
        for variant, engine, compute in _to_try(list(variants), computes):
            name = f"{variant} in {engine}, {compute}"
            try:
                found = self._evaluated(variant, variants[variant], engine, compute, name)
            except (EngineError, EngineUnavailable) as error:
                refused[name] = str(error)
                continue
            manifest, alpha = self.setup.manifest, self.setup.alpha
            gate = compare_variants(self.reference, found, manifest.generators, manifest.real_class, alpha, self.limits)
            if gate.passes:
                report = msgspec.structs.replace(found.report, gate=gate, engine=engine, compute=compute)
                passed[CalibratedCompute(variant, engine, compute, 0.0)] = replace(found, report=report)
            else:
                refused[name] = "; ".join(gate.failures)
        return TriedComputes(passed, refused)

    def _evaluated(
        self, variant: str, graphs: Mapping[Stage, bytes], engine: str, compute: Arithmetic, name: str
    ) -> Evaluation:
        runner = VariantRunner(
            self.setup.manifest,
            self.noise_bank,
            graphs["latent_encoder"],
            graphs["attributor"],
            self.framer.find,
            engine=engine,
            options=EngineOptions(compute=compute),
        )

        def show(what: str, done: int, of: int, unit: str = "") -> None:
            self.progress(f"{name}: {what}", done, of, unit)

        return evaluate(variant, runner, self.setup, show)


def _to_try(variants: Sequence[str], computes: Sequence[Arithmetic]) -> Iterator[tuple[str, str, Arithmetic]]:
    """Variant, engine and compute of everything that can run here and computes something of its own."""
    for engine in CPU_ENGINES:
        if not availability(engine).runs:
            continue
        if engine != REFERENCE_ENGINE:
            yield from ((variant, engine, "exact") for variant in variants if variant == "int8")
        for compute in computes:
            if compute != "exact" and compute_problem(engine, compute) is None:
                yield from ((variant, engine, compute) for variant in variants)


def compute_files(tried: Mapping[CalibratedCompute, Evaluation]) -> dict[str, bytes]:
    """A bundle's files of the computes that passed, by path."""
    files = {}
    for compute, evaluation in tried.items():
        files[f"{compute.folder}/{CALIBRATION}"] = evaluation.calibration.to_bytes()
        files[f"{compute.folder}/{REPORT}"] = evaluation.report.to_json()
    return files
