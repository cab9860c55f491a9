"""Results files lose nothing when interrupted, and continue only what belongs together."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import msgspec
import pytest

import protoleak
from protoleak.cli.results_file import Identity, open_results
from protoleak.errors import ProtoleakError
from tests.tiny_bundle import make_image

SUFFIXES = pytest.mark.parametrize("suffix", [".jsonl", ".csv"])


@pytest.fixture(scope="module")
def screener(tiny_bundle: Path) -> protoleak.Screener:
    return protoleak.load(tiny_bundle)


@pytest.fixture(scope="module")
def identity(screener: protoleak.Screener) -> Identity:
    return Identity(screener.bundle.sha256, screener.variant, screener.alpha)


@pytest.fixture(scope="module")
def verdicts(screener: protoleak.Screener) -> list[protoleak.Verdict]:
    """Three verdicts whose sources are awkward to quote."""
    names = ["a.jpg", 'with "quotes", commas; and ünïcode.png', "c.jpg"]
    found = screener([make_image(kind, 1) for kind in (0, 2, None)])
    return [msgspec.structs.replace(verdict, source=name) for verdict, name in zip(found, names, strict=True)]


def write(path: Path, identity: Identity, verdicts: list[protoleak.Verdict], **options: bool) -> frozenset[str]:
    with open_results(str(path), identity, resume=options.get("resume", False), overwrite=False) as writer:
        for verdict in verdicts:
            writer.write(verdict)
        return writer.done


def test_each_line_of_json_lines_is_one_verdict(
    tmp_path: Path, identity: Identity, verdicts: list[protoleak.Verdict]
) -> None:
    write(tmp_path / "r.jsonl", identity, verdicts)
    lines = (tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [verdict.to_dict() for verdict in verdicts]


def test_csv_has_one_row_per_verdict_with_flattened_names(
    tmp_path: Path, identity: Identity, verdicts: list[protoleak.Verdict]
) -> None:
    write(tmp_path / "r.csv", identity, verdicts)
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == [verdict.source for verdict in verdicts]
    assert [float(row["p_value"]) for row in rows] == [verdict.p_value for verdict in verdicts]
    assert [float(row["scores.moss"]) for row in rows] == [verdict.scores["moss"] for verdict in verdicts]
    assert rows[0]["bundle.sha256"] == identity.bundle_sha256


@SUFFIXES
def test_every_verdict_is_on_disk_before_the_next_one_is_asked_for(
    tmp_path: Path, identity: Identity, verdicts: list[protoleak.Verdict], suffix: str
) -> None:
    path = tmp_path / f"r{suffix}"
    header = int(suffix == ".csv")
    with open_results(str(path), identity, resume=False, overwrite=False) as writer:
        for count, verdict in enumerate(verdicts, start=1):
            writer.write(verdict)
            assert len(path.read_text().splitlines()) == count + header


@SUFFIXES
def test_interrupted_file_is_continued_to_the_same_file_as_in_one_go(
    tmp_path: Path, identity: Identity, verdicts: list[protoleak.Verdict], suffix: str
) -> None:
    whole, part = tmp_path / f"whole{suffix}", tmp_path / f"part{suffix}"
    write(whole, identity, verdicts)
    write(part, identity, verdicts[:2])
    done = write(part, identity, verdicts[2:], resume=True)
    assert done == {verdicts[0].source, verdicts[1].source}
    assert part.read_bytes() == whole.read_bytes()


@SUFFIXES
def test_file_cut_at_any_byte_is_continued_to_the_same_file(
    tmp_path: Path, identity: Identity, verdicts: list[protoleak.Verdict], suffix: str
) -> None:
    whole, part = tmp_path / f"whole{suffix}", tmp_path / f"part{suffix}"
    write(whole, identity, verdicts)
    data = whole.read_bytes()
    for cut in [*range(0, len(data), 97), len(data) - 1, len(data)]:
        part.write_bytes(data[:cut])
        with open_results(str(part), identity, resume=True, overwrite=False) as writer:
            for verdict in verdicts:
                if verdict.source not in writer.done:
                    writer.write(verdict)
        assert part.read_bytes() == data, f"cut at byte {cut}"


@SUFFIXES
def test_existing_file_is_never_lost_without_being_told(
    tmp_path: Path, identity: Identity, verdicts: list[protoleak.Verdict], suffix: str
) -> None:
    path = tmp_path / f"r{suffix}"
    path.write_text("my work")
    with pytest.raises(ProtoleakError, match=r"--resume.*--overwrite"):
        write(path, identity, verdicts)
    assert path.read_text() == "my work"
    with open_results(str(path), identity, resume=False, overwrite=True) as writer:
        writer.write(verdicts[0])
    assert "my work" not in path.read_text()


@SUFFIXES
@pytest.mark.parametrize("text", ["my notes", "my notes\n", '{"a": 1}\n', "a,b\n1,2\n", "\xff\n"])
def test_file_that_holds_something_else_is_not_continued_and_not_touched(
    tmp_path: Path, identity: Identity, verdicts: list[protoleak.Verdict], suffix: str, text: str
) -> None:
    path = tmp_path / f"r{suffix}"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ProtoleakError, match=path.name):
        write(path, identity, verdicts, resume=True)
    assert path.read_text(encoding="latin-1") == text


@SUFFIXES
@pytest.mark.parametrize(
    "other",
    [{"bundle_sha256": "0" * 64}, {"variant": "int8"}, {"alpha": 0.01}],
    ids=lambda change: next(iter(change)),
)
def test_results_of_another_bundle_variant_or_alpha_are_not_continued(
    tmp_path: Path, identity: Identity, verdicts: list[protoleak.Verdict], suffix: str, other: dict[str, object]
) -> None:
    path = tmp_path / f"r{suffix}"
    write(path, identity, verdicts)
    with pytest.raises(ProtoleakError, match="was made with"):
        write(path, msgspec.structs.replace(identity, **other), verdicts, resume=True)


def test_resuming_without_a_file_starts_one(
    tmp_path: Path, identity: Identity, verdicts: list[protoleak.Verdict]
) -> None:
    assert write(tmp_path / "new.jsonl", identity, verdicts, resume=True) == frozenset()
    assert len((tmp_path / "new.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("name", ["r.txt", "r", "r.json"])
def test_other_suffixes_are_refused(tmp_path: Path, identity: Identity, name: str) -> None:
    with pytest.raises(ProtoleakError, match=r"\.jsonl or \.csv"):
        write(tmp_path / name, identity, [])


def test_folder_that_does_not_exist_is_said(tmp_path: Path, identity: Identity) -> None:
    with pytest.raises(ProtoleakError, match="cannot write"):
        write(tmp_path / "nowhere" / "r.jsonl", identity, [])


def test_full_disk_is_said_in_one_line(identity: Identity, verdicts: list[protoleak.Verdict], tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    link = tmp_path / "r.jsonl"
    link.symlink_to("/dev/full")
    with (
        pytest.raises(ProtoleakError, match="No space left"),
        open_results(str(link), identity, resume=False, overwrite=True) as writer,
    ):
        writer.write(verdicts[0])
