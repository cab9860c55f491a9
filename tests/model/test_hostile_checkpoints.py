"""Tensors of a checkpoint that are no plain weights are one line that says what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from protoleak.errors import CheckpointError  # noqa: E402
from protoleak.model.published_state import DEEPEST, check_weights, flatten, load_tensors, modules  # noqa: E402

KINDS = {
    "sparse_coo": torch.eye(3).to_sparse(),
    "quantised": torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8),
    "without data": torch.empty(3, 3, device="meta"),
    "int32 numbers": torch.ones(3, 3, dtype=torch.int32),
    "complex64 numbers": torch.ones(3, 3, dtype=torch.complex64),
    "bool numbers": torch.ones(3, 3, dtype=torch.bool),
    "over 4 bytes": torch.ones(1).expand(10**6, 10**6),
    "NaN": torch.full((3, 3), torch.nan),
}


@pytest.mark.parametrize("reason", KINDS)
def test_tensor_that_is_no_plain_weight_is_named(reason: str, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    torch.save({"backbone": {"w": torch.ones(2)}, "proto_head": {"protos": KINDS[reason]}}, file)
    with pytest.raises(CheckpointError, match=reason) as caught:
        modules(load_tensors(file, "checkpoint"), file)
    assert "proto_head.protos" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_count_of_batches_may_be_a_whole_number() -> None:
    check_weights(torch.tensor(7), "backbone.bn.num_batches_tracked", Path("c"))


def test_mappings_that_hold_themselves_are_one_line() -> None:
    whole: dict[str, object] = {}
    whole["again"] = whole
    with pytest.raises(CheckpointError, match=f"more than {DEEPEST} deep"):
        flatten(whole)
