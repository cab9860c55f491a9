"""What a light encoder should keep of its teacher's accuracy, and in how many milliseconds."""

from __future__ import annotations

from typing import Any

BEST_ENGINE, RUNTIME_ENGINE = "openvino", "onnxruntime"
AUC_MARGIN, OPEN_SET_MARGIN = 0.01, 0.02
BEST_ENGINE_MS, RUNTIME_MS = 10.0, 20.0


def best_engine(result: dict[str, Any]) -> tuple[str, float]:
    """The fastest way to run a bundle here, and its milliseconds per face end to end."""
    return min(
        ((name, times["end_to_end"]) for name, times in result["milliseconds"].items()), key=lambda item: item[1]
    )


def judged(result: dict[str, Any], teacher: dict[str, Any]) -> dict[str, bool]:
    """Which of the targets an encoder meets."""
    return {
        "macro_auc": result["macro_auc"] >= teacher["macro_auc"] - AUC_MARGIN,
        "open_set_auroc": result["open_set_auroc"] >= teacher["open_set_auroc"] - OPEN_SET_MARGIN,
        "best_engine": best_engine(result)[1] <= BEST_ENGINE_MS,
        "onnxruntime_fp32": result["milliseconds"][f"{RUNTIME_ENGINE} fp32"]["end_to_end"] <= RUNTIME_MS,
    }
