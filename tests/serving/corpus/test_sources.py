"""Every kind of source gives the same verdicts on the same images, and a row for whatever cannot be read."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from protoleak.errors import ProtoleakError
from protoleak.serving.corpus.listing import Input, inputs_of
from protoleak.serving.corpus.settings import JudgeSettings
from tests.serving.corpus.conftest import begin, judge, rows_of

Rows = list[dict[str, Any]]


def listed(*sources: object, out: Path = Path("elsewhere"), column: str | None = None) -> list[Input]:
    return list(inputs_of([str(source) for source in sources], out, column))


def found(rows: Rows) -> set[tuple[object, ...]]:
    """What is said of each image, by its hash."""
    return {(row["sha256"], row["verdict"], row["p_value"], row["log_density"]) for row in rows}


@pytest.fixture(scope="module")
def expected(images: Path, settings: JudgeSettings, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The rows of the folder itself."""
    out = tmp_path_factory.mktemp("expected") / "out"
    judge(begin(out, [images], settings))
    return rows_of(out)


def write_tar(path: Path, files: Sequence[Path]) -> Path:
    """A shard as WebDataset writes it: every image with a label beside it."""
    with tarfile.open(path, "w") as tar:
        for file in files:
            tar.add(file, f"shard/{file.name}")
            label = tarfile.TarInfo(f"shard/{file.stem}.cls")
            label.size = 1
            tar.addfile(label, io.BytesIO(b"0"))
    return path


def write_parquet(path: Path, column: str, values: Sequence[object]) -> Path:
    table = pa.table({"number": list(range(len(values))), column: values})
    pq.write_table(table, path, row_group_size=3)  # a block reaches over several groups
    return path


def test_a_pattern_finds_a_file_once_however_links_lead_to_it(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    (inside / "one.jpg").touch()
    (inside / "up").symlink_to(tmp_path)
    found = [one.source for one in listed(tmp_path / "**" / "*.jpg")]
    assert found == [str(inside / "one.jpg")]


def test_a_folder_is_read_whole_and_in_order(expected: Rows, images: Path) -> None:
    assert [row["source"] for row in expected] == [str(path) for path in sorted(images.iterdir())]
    assert [row["outcome"] for row in expected] == ["verdict"] * 9 + ["error"]
    assert "broken.jpg" in expected[-1]["reason"]


@pytest.mark.parametrize("kind", ["glob", "list", "tar", "bytes", "paths", "datasets", "address", "files"])
def test_the_same_images_from_elsewhere(
    kind: str, expected: Rows, images: Path, settings: JudgeSettings, tmp_path: Path
) -> None:
    files = sorted(images.iterdir())
    sources: dict[str, Any] = {
        "glob": lambda: [images / "*.jpg"],
        "files": lambda: files,
        "address": lambda: [f"file://{images}"],
        "tar": lambda: [write_tar(tmp_path / "a.tar", files[:5]), write_tar(tmp_path / "b.tar", files[5:])],
        "bytes": lambda: [write_parquet(tmp_path / "a.parquet", "jpg", [one.read_bytes() for one in files])],
        "paths": lambda: [write_parquet(tmp_path / "a.parquet", "path", [str(one) for one in files])],
        "datasets": lambda: [
            write_parquet(tmp_path / "a.parquet", "image", [{"bytes": one.read_bytes(), "path": None} for one in files])
        ],
    }
    if kind == "list":
        (tmp_path / "list.txt").write_text("\n".join(map(str, files)) + "\n\n")
        given: list[object] = [tmp_path / "list.txt"]
    else:
        given = sources[kind]()
    judge(begin(tmp_path / "out", given, settings))
    rows = rows_of(tmp_path / "out")
    assert len(rows) == len(expected)
    assert found(rows) == found(expected)
    assert len({row["source"] for row in rows}) == len(rows)  # whatever it is, it has a name of its own
    broken = next(row for row in rows if row["outcome"] == "error")
    assert broken["reason"].startswith(broken["source"])


def test_what_cannot_be_read_is_a_row(images: Path, settings: JudgeSettings, tmp_path: Path) -> None:
    (tmp_path / "notes.doc").write_text("no image")
    write_tar(tmp_path / "cut.tar", sorted(images.iterdir())[:3])
    whole = (tmp_path / "cut.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    write_parquet(tmp_path / "numbers.parquet", "weight", [1.0, 2.0])
    write_parquet(tmp_path / "holes.parquet", "jpg", [sorted(images.iterdir())[0].read_bytes(), None])
    given = [tmp_path, tmp_path / "missing.txt", tmp_path / "missing.jpg", "*.nothing", "nowhere://x/y.jpg"]
    given += [tmp_path / "packed.tar.gz", f"file://{tmp_path}/none"]
    judge(begin(tmp_path.parent / f"{tmp_path.name}.out", given, settings, column=None))
    reasons = {row["source"]: row["reason"] or "" for row in rows_of(tmp_path.parent / f"{tmp_path.name}.out")}
    expected = {
        tmp_path / "notes.doc": "left out, its name isn't that of an image",
        tmp_path / "cut.tar": "cannot be read: unexpected end of data",
        tmp_path / "numbers.parquet": "none of its columns is named as one of images",
        f"{tmp_path / 'holes.parquet'}#1": "an empty cell",
        tmp_path / "missing.txt": "no such file",
        tmp_path / "missing.jpg": "no such file",
        "*.nothing": "no file matches this pattern",
        "nowhere://x/y.jpg": "cannot be opened: Protocol not known: nowhere",
        tmp_path / "packed.tar.gz": "a packed tar cannot be read from its middle: unpack it to .tar",
        f"file://{tmp_path}/none": "no such file",
    }
    for source, reason in expected.items():
        assert reason in reasons[str(source)], (source, reasons)
    whole_ones = [source for source, reason in reasons.items() if not reason]
    assert whole_ones[0] == f"{tmp_path / 'cut.tar'}#shard/000.jpg"  # before the cut


def test_each_input_is_taken_once(images: Path) -> None:
    assert len(listed(images, images / "000.jpg", f"{images}/*.jpg")) == len(listed(images))


def test_a_column_is_named_or_known(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", "portrait", [b"x"])
    (unnamed,) = listed(path)
    assert unnamed.kind == "error"
    assert "name it with --column; those that could be are: portrait" in (unnamed.reason or "")
    assert [one.source for one in listed(path, column="portrait")] == [f"{path}#0"]
    (wrong,) = listed(path, column="photo")
    assert "no column 'photo' of paths or images; those there are: portrait" in (wrong.reason or "")


def test_names_need_not_be_utf8(tmp_path: Path, images: Path, settings: JudgeSettings) -> None:
    name = os.fsencode(tmp_path) + b"/in/\xff.jpg"
    (tmp_path / "in").mkdir()
    with open(name, "wb") as file:  # noqa: PTH123
        file.write((images / "000.jpg").read_bytes())
    judge(begin(tmp_path / "out", [tmp_path / "in"], settings))
    (row,) = rows_of(tmp_path / "out")
    assert (row["outcome"], row["source"]) == ("verdict", f"{tmp_path}/in/\\xff.jpg")


def test_results_among_the_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProtoleakError, match=r"lies in .*, which is read: give a folder elsewhere"):
        listed(tmp_path, out=tmp_path / "in" / "out")
