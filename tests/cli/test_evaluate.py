"""`protoleak evaluate`, as typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from protoleak.runtime.engines.availability import availability
from tests.cli.conftest import Run
from tests.evaluation.conftest import write
from tests.tiny_bundle import GENERATORS

QUICK = ("--engine", "onnxruntime", "--threads", 1, "--bootstrap", 50, "--images", 2)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders "known", "unknown" and "real"."""
    folder = tmp_path_factory.mktemp("evaluate")
    for kind, name in enumerate(GENERATORS):
        write(folder / "known" / name, kind, range(4))
    write(folder / "unknown" / "stranger", None, range(3))
    write(folder / "real", 2, range(3), seed=9000)
    return folder


def test_the_first_line_is_real_faces_accused_and_json_and_page_are_written(
    run: Run, tiny_bundle: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers, page = tmp_path / "evaluation.json", tmp_path / "evaluation.html"
    given = ("--data", images / "known", "--unknown", images / "unknown", "--photographs", images / "real")
    files = ("--json", numbers, "--html", page)
    assert run("evaluate", tiny_bundle, *given, *QUICK, "--operators", "noise,chain", *files) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("real faces accused (fp32)  ")
    assert "of 3 (" in printed.splitlines()[0]
    for words in ("macro AUC (softmax)", "OSCR", "σ in grey levels 20", "3 operators drawn for each image"):
        assert words in printed
    report = json.loads(numbers.read_text())
    assert next(iter(report)) == "real_faces_accused"
    assert report["bundle"]["sha256"] in page.read_text()
    assert report["machine"]["processor"]


def test_without_operators_there_is_no_robustness(
    run: Run, tiny_bundle: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", tiny_bundle, "--data", images / "known", *QUICK, "--operators", "none") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("real faces accused (fp32)  not measured: no real photographs were given (--photographs)")
    assert "severity" not in printed


@pytest.mark.parametrize(
    "given", [("--photographs", "real"), ("--unknown", "unknown"), ("--unknown", "unknown", "--photographs", "real")]
)
def test_photographs_or_unknown_generators_alone_are_enough(
    given: tuple[str, ...], run: Run, tiny_bundle: Path, images: Path, tmp_path: Path
) -> None:
    numbers, page = tmp_path / "evaluation.json", tmp_path / "evaluation.html"
    options = [images / part if part in ("real", "unknown") else part for part in given]
    files = ("--json", numbers, "--html", page)
    assert run("evaluate", tiny_bundle, *options, *QUICK, "--operators", "noise", *files) == 0
    report = json.loads(numbers.read_text())
    [variant] = report["variants"]
    assert "error" not in variant
    if "--photographs" in given:
        assert variant["real_faces"]["accused"]["of"] == 3
    if "--unknown" in given:
        assert variant["unknown"]["stranger"]["rejected"]["of"] == 3
    assert len(report["images"]) == len(given) // 2 + 1  # one each, and how many there are
    assert "closed_set" not in variant
    assert not set(GENERATORS) & set(variant["confusion"]["rows"])  # no row of zeros for a class without an image
    assert any("--data" in note for note in report["notes"])
    assert "<svg" in page.read_text()


def test_nothing_to_evaluate_on_is_one_line(run: Run, tiny_bundle: Path, one_line: Callable[[], str]) -> None:
    assert run("evaluate", tiny_bundle) == 2
    assert "give --data, --unknown or --photographs" in one_line()


def test_an_unreadable_image_is_named_and_the_status_is_1(
    run: Run, tiny_bundle: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_bytes(b"")
    given = ("--data", images / "known", "--photographs", tmp_path, "--operators", "none")
    assert run("evaluate", tiny_bundle, *given, *QUICK) == 1
    assert "real photographs/broken.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--operators", "sharpen"), "operator is 'sharpen': choose one of jpeg"),
        (("--split", "half"), "'half' is not one of 'auto', 'test', 'all'"),
        (("--variants", "int3"), "no variant 'int3'"),
        (("--alpha", "2"), "not a significance level"),
        (("--unknown", "nowhere"), "nothing at that path"),
        (("--photographs", "nowhere"), "nothing at that path"),
        (("--json", "no/such/folder.json"), "there is no folder"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line_before_anything_runs(
    run: Run, tiny_bundle: Path, images: Path, one_line: Callable[[], str], arguments: tuple[str, ...], words: str
) -> None:
    assert run("evaluate", tiny_bundle, "--data", images / "known", *QUICK, *arguments) == 2
    assert words in one_line()


def test_an_engine_that_is_not_there_is_a_failed_variant_and_the_status_is_2(
    run: Run, tiny_bundle: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--data", images / "known", "--engine", "onnxruntime-cuda", "--operators", "none")
    if availability("onnxruntime-cuda").runs:
        pytest.skip("every engine can run here")
    assert run("evaluate", tiny_bundle, *given) == 2
    assert "failed  " in capsys.readouterr().out
