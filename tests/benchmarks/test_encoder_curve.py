"""benchmarks/encoders.py: what was measured before, and what is judged."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from benchmarks.encoder_targets import judged
from benchmarks.encoders import kept
from protoleak.training.settings import TrainingSettings


def test_what_was_measured_with_the_same_options_is_read_and_nothing_else(tmp_path: Path) -> None:
    def what(**options: object) -> dict[str, object]:
        return {"fingerprint": "a", "training": msgspec.to_builtins(TrainingSettings(**options))}  # type: ignore[arg-type]

    file = tmp_path / "measured.json"
    assert kept(file, what()) is None
    file.write_text(json.dumps({"what": what(), "macro_auc": 0.5}))
    found = kept(file, what())
    assert found is not None
    assert found["macro_auc"] == 0.5
    assert kept(file, what(timesteps=(0, 100))) is None
    assert kept(file, what() | {"fingerprint": "b"}) is None


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({}, set()),
        ({"macro_auc": 0.97}, {"macro_auc"}),
        ({"open_set_auroc": 0.87}, {"open_set_auroc"}),
        (
            {"milliseconds": {"openvino bf16": {"end_to_end": 11.0}, "onnxruntime fp32": {"end_to_end": 19.0}}},
            {"best_engine"},
        ),
        (
            {"milliseconds": {"openvino bf16": {"end_to_end": 9.0}, "onnxruntime fp32": {"end_to_end": 21.0}}},
            {"onnxruntime_fp32"},
        ),
    ],
)
def test_a_student_is_judged_against_its_teacher_and_the_clock(changed: dict[str, object], missed: set[str]) -> None:
    times = {"openvino bf16": {"end_to_end": 9.0}, "onnxruntime fp32": {"end_to_end": 19.0}}
    student = {"macro_auc": 0.985, "open_set_auroc": 0.885, "milliseconds": times} | changed
    found = judged(student, {"macro_auc": 0.99, "open_set_auroc": 0.9})
    assert {name for name, met in found.items() if not met} == missed
