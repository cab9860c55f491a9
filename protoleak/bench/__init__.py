"""Measures bundles: how fast each engine and variant is here, what it needs, and how right the same artefact is.

NumPy only, apart from `baseline`, which needs PyTorch and is imported only when it is asked for.
"""

from __future__ import annotations

from protoleak.bench.results import Accuracy, Percentiles, Report, Row
from protoleak.bench.run import run_benchmark
from protoleak.bench.settings import BenchmarkSettings

__all__ = ["Accuracy", "BenchmarkSettings", "Percentiles", "Report", "Row", "run_benchmark"]
