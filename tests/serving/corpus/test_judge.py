"""Blocks and parts: rows as `protoleak screen` writes them, nothing done twice, and images that end their worker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protoleak.cli.app import main
from protoleak.errors import ProtoleakError
from protoleak.serving.corpus.judge import BlockJudge
from protoleak.serving.corpus.plan import Folder, Inputs, block_size
from protoleak.serving.corpus.settings import JudgeSettings
from tests.json_lines import json_lines
from tests.serving.corpus.conftest import NearReports, begin, judge, rows_of


def without_nulls(value: Any) -> Any:
    """Parquet has one set of columns for all rows; JSON leaves out what there is none of."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    return value


def screened(images: Path, out: Path, *options: str) -> list[dict[str, Any]]:
    main(["screen", str(images), "--out", str(out), "--engine", "onnxruntime", "--threads", "1", *options])
    return json_lines(out)


@pytest.mark.parametrize("faces", [False, True])
def test_rows_are_the_lines_of_screen(
    faces: bool, images: Path, settings: JudgeSettings, tiny_bundle: Path, tmp_path: Path
) -> None:
    from protoleak.bundle.bundle import DEFAULT_BUNDLE
    from protoleak.bundle.reader import FACE_DETECTOR
    from tests.paths import ROOT

    model = DEFAULT_BUNDLE / FACE_DETECTOR
    folder = ROOT / "examples" / "images" if faces else images
    options = ["--faces", "yunet", "--face-model", str(model)] if faces else []
    if faces:
        settings = replace(settings, finder="yunet", faces=replace(settings.faces, faces="yunet", face_model=model))
    judge(begin(tmp_path / "out", [folder], settings))
    lines = screened(folder, tmp_path / "lines.jsonl", "--bundle", str(tiny_bundle), *options)
    rows = rows_of(tmp_path / "out")
    for one in (*rows, *lines):
        one["milliseconds"] = None
    lines.sort(key=lambda line: line["source"])  # screen has what it skips at the end
    assert list(map(without_nulls, rows)) == list(map(without_nulls, lines))
    assert any(row["face"] for row in rows) == faces


def test_finished_blocks_are_not_done_again(images: Path, settings: JudgeSettings, tmp_path: Path) -> None:
    work = begin(tmp_path / "out", [images], settings)
    folder = Folder(work.folder)
    BlockJudge(work, NearReports())(1)
    before = folder.part(1).stat()
    assert folder.unfinished(work.corpus) == [0, 2]
    judge(work)
    BlockJudge(work, NearReports())(1)  # as when Ray gives out a block once more
    after = folder.part(1).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    sources = [row["source"] for row in rows_of(work.folder)]
    assert sources == [str(path) for path in sorted(images.iterdir())]


@pytest.mark.parametrize("change", [{"alpha": 0.1}, {"upright": "never"}])
def test_another_setting_is_not_continued(
    change: dict[str, Any], images: Path, settings: JudgeSettings, tmp_path: Path
) -> None:
    work = begin(tmp_path / "out", [images], settings)
    with pytest.raises(ProtoleakError, match=r"was begun with bundle .*; this run has .*: give another --out"):
        BlockJudge(replace(work, settings=replace(settings, **change)), NearReports())


class Died(BaseException):
    """Stands for the end of a worker's process."""


class Mortal(BlockJudge):
    """A worker that one image ends, whenever its turn comes."""

    fatal = ""

    def _outcomes(self, images: Any) -> Any:
        def watched() -> Any:
            for image in images:
                if image.name == self.fatal:
                    raise Died
                yield image

        return super()._outcomes(watched())


def test_an_image_that_ends_its_worker_becomes_a_row(images: Path, settings: JudgeSettings, tmp_path: Path) -> None:
    """Ray starts the worker again each time, for ever; here the monitor that outlives it knows what it was at."""
    work, reports = begin(tmp_path / "out", [images], settings, block=16), NearReports()
    Mortal.fatal = str(images / "004.jpg")
    deaths = 0
    while True:
        try:
            Mortal(work, reports)(0)
            break
        except Died:
            deaths += 1
            assert deaths < 10
    rows = rows_of(work.folder)
    assert deaths == 4  # twice with the others, twice alone
    assert [row["source"] for row in rows] == [str(path) for path in sorted(images.iterdir())]
    assert [row["outcome"] for row in rows] == ["verdict"] * 4 + ["error"] + ["verdict"] * 4 + ["error"]
    assert "workers died while they judged it" in rows[4]["reason"]


def test_blocks_cover_the_inputs(images: Path, settings: JudgeSettings, tmp_path: Path) -> None:
    work = begin(tmp_path / "out", [images], settings, block=3)
    inputs = Inputs(Folder(work.folder), work.corpus)
    sources = [[one.source for one in inputs[block]] for block in range(work.corpus.blocks)]
    assert [len(block) for block in sources] == [3, 3, 3, 1]
    assert [one for block in sources for one in block] == [str(path) for path in sorted(images.iterdir())]


@pytest.mark.parametrize(("inputs", "size"), [(1, 64), (2006, 64), (300_000, 74), (1_000_000, 245), (10**8, 1024)])
def test_blocks_are_as_large_as_the_corpus_asks_for(inputs: int, size: int) -> None:
    assert block_size(inputs) == size
