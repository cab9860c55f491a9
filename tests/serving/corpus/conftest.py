"""A small corpus, and a run of it without Ray: the same plan, judge and summary in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="the extra corpus is not installed: it is too large for every test run")
pytest.importorskip("fsspec", reason="the extra corpus is not installed")

from protoleak.image_records import SCHEMA
from protoleak.serving.corpus.judge import BlockJudge, Work
from protoleak.serving.corpus.listing import inputs_of
from protoleak.serving.corpus.monitor import Monitor
from protoleak.serving.corpus.plan import Corpus, Folder
from protoleak.serving.corpus.settings import JudgeSettings, describe, open_judge
from protoleak.serving.corpus.table import plain
from protoleak.version import __version__
from tests.tiny_bundle import make_image

KINDS = (0, 1, 2, None)


class NearReports:
    """Reports to a monitor in this process."""

    def __init__(self, monitor: Monitor | None = None) -> None:
        self.monitor = monitor or Monitor()

    def sign(self, doing: str) -> None:
        self.monitor.sign("here", doing)

    def begin(self, block: int) -> bool:
        return self.monitor.begin("here", block)

    def alone(self, block: int, index: int, source: str) -> bool:
        return self.monitor.alone("here", block, index, source)

    def survived(self, block: int, index: int) -> None:
        self.monitor.survived(block, index)

    def judged(self, block: int, images: int, doing: str) -> None:
        self.monitor.judged("here", block, images, doing)

    def finished(self, block: int, inputs: int) -> None:
        self.monitor.finished(block, inputs)


def write_images(folder: Path, count: int) -> list[Path]:
    """JPEGs of all kinds in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:03d}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        Image.fromarray(make_image(KINDS[index % len(KINDS)], index)).save(path, quality=95)
    return paths


def begin(
    out: Path, sources: Sequence[object], settings: JudgeSettings, *, block: int = 4, column: str | None = None
) -> Work:
    """Lists the sources and makes the plan."""
    out.mkdir()
    folder, names = Folder(out), [str(source) for source in sources]
    first = describe(open_judge(settings, lambda *_: None), folder_is_shared=True)
    corpus = Corpus(
        schema=SCHEMA,
        protoleak=__version__,
        sources=names,
        column=column,
        identity=first.identity,
        generators=first.generators,
        inputs=folder.write_inputs(inputs_of(names, out, column)),
        block=block,
    )
    folder.begin(corpus)
    return Work(out, corpus, settings)


def judge(work: Work, reports: NearReports | None = None) -> None:
    """Does all blocks that are not done."""
    judge = BlockJudge(work, reports or NearReports())
    for block in Folder(work.folder).unfinished(work.corpus):
        judge(block)


def rows_of(out: Path) -> list[dict[str, Any]]:
    """All rows, as lines of JSON would have them."""
    import pyarrow.parquet as pq

    rows = []
    for part in Folder(out).parts():
        table = pq.read_table(part, partitioning=None)
        rows += [plain(row, table.schema) for row in table.to_pylist()]
    return rows


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nine images and one that is none, not to be changed."""
    folder = tmp_path_factory.mktemp("corpus") / "images"
    write_images(folder, 9)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff and no more")
    return folder


@pytest.fixture(scope="session")
def settings(tiny_bundle: Path) -> JudgeSettings:
    return JudgeSettings(bundle=str(tiny_bundle), engine="onnxruntime")
