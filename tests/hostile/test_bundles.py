"""Hostile bundles give one line each, soon and in little memory. benchmarks/hostile.py tries many more."""

from __future__ import annotations

from pathlib import Path

import pytest

from protoleak.bundle.manifest import Manifest

pytest.importorskip("onnx", reason="onnx makes the graphs")
from tests.hostile.bundles import hostile_bundles
from tests.hostile.outcomes import outcome_of_bundle

COUNT, SEED = 100, 1
# Of processor time, since tests share processors; the slowest read 0.5 million fields. Memory is what a sound bundle
# takes, and a bomb's 64 MB before it is refused.
SECONDS, MIB = 5.0, 400.0


def test_hostile_bundles_give_one_line_each(tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path) -> None:
    findings = []
    for index, hostile in enumerate(hostile_bundles(*tiny_files, SEED, COUNT)):
        outcome = outcome_of_bundle(hostile.write(tmp_path / str(index)), hostile.refused)
        spent = f"{outcome.processor_seconds:.1f} s, {outcome.peak_mib:.0f} MiB"
        if outcome.finding is not None or outcome.processor_seconds > SECONDS or outcome.peak_mib > MIB:
            findings.append(f"{index} {hostile.kind}: {outcome.finding} in {spent}")
    assert not findings
