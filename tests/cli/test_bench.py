"""`protoleak bench`, as typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run

QUICK = ("--engine", "onnxruntime", "--batch-sizes", "1,2", "--runs", 2, "--warm-up", 1, "--threads", 1)


def test_it_prints_tables_and_writes_json_and_one_page(
    run: Run, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers, page = tmp_path / "bench.json", tmp_path / "bench.html"
    assert run("bench", tiny_bundle, *QUICK, "--json", numbers, "--html", page) == 0
    printed = capsys.readouterr().out
    assert "onnxruntime fp32" in printed
    assert "faces/s" in printed
    report = json.loads(numbers.read_text())
    assert [row["batch"] for row in report["rows"]] == [1, 2]
    assert report["bundle"]["sha256"] in page.read_text()
    assert report["machine"]["processor"]


def test_with_a_failed_row_the_status_is_1_and_with_nothing_else_2(
    run: Run, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [*QUICK[2:], "--engine", "onnxruntime,onnxruntime-cuda"]
    pytest.importorskip("onnxruntime")
    from protoleak.runtime.engines.availability import availability

    if availability("onnxruntime-cuda").runs:
        pytest.skip("every engine of this test can run here")
    assert run("bench", tiny_bundle, *wrong) == 1
    assert "failed  onnxruntime-cuda fp32, batch 2" in capsys.readouterr().out
    assert run("bench", tiny_bundle, *QUICK[2:], "--engine", "onnxruntime-cuda") == 2


def test_data_adds_a_table_that_begins_with_the_real_faces(
    run: Run, data: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("bench", tiny_bundle, *QUICK, "--data", data, "--real-class", "rows") == 0
    printed = capsys.readouterr().out
    assert printed.index("real faces accused") < printed.index("faces/s")
    assert "of 4" in printed  # the test split's camera folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--baseline", "pytorch"), "--model"),
        (("--baseline", "jax", "--model", "."), "'jax' is not"),
        (("--batch-sizes", "one"), "whole numbers"),
        (("--batch-sizes", "0"), "1 or more"),
        (("--compute", "fp8"), "choose one of auto, exact, bf16"),
        (("--engine", "steam"), "no engine 'steam'"),
        (("--variants", "int3"), "no variant 'int3'"),
        (("--data", "nowhere"), "nothing at that path"),
        (("--json", "no/such/folder.json"), "there is no folder"),
    ],
)
def test_what_cannot_be_measured_is_one_line_before_anything_runs(
    run: Run, tiny_bundle: Path, one_line: Callable[[], str], arguments: tuple[str, ...], words: str
) -> None:
    assert run("bench", tiny_bundle, *arguments) == 2
    assert words in one_line()
