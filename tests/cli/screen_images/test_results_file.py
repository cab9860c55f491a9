"""Results files lose nothing when interrupted, and continue only what belongs together."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import msgspec
import pytest

import protoleak
from protoleak.cli.screen_images.results_file import open_results
from protoleak.errors import MediaError, NoFaceError, ProtoleakError
from protoleak.image_records import Identity, Record, records_of
from protoleak.images.sources import printable
from protoleak.runtime.verdict import BundleRecord, SignerRecord
from tests.json_lines import json_lines
from tests.tiny_bundle import make_image

SUFFIXES = pytest.mark.parametrize("suffix", [".jsonl", ".csv"])


@pytest.fixture(scope="module")
def screener(tiny_bundle: Path) -> protoleak.Screener:
    return protoleak.load(tiny_bundle)


@pytest.fixture(scope="module")
def identity(screener: protoleak.Screener) -> Identity:
    bundle = BundleRecord("tiny", screener.bundle.sha256, screener.variant)
    return Identity(bundle=bundle, alpha=screener.alpha, settings={"faces": "none", "margin": 0.25, "minimum_face": 48})


@pytest.fixture(scope="module")
def verdicts(screener: protoleak.Screener) -> list[protoleak.Verdict]:
    """Three verdicts whose sources are awkward to quote."""
    names = ["a.jpg", '=with "quotes", commas; and ünïcode.png', "c.jpg"]
    found = screener([make_image(kind, 1) for kind in (0, 2, None)])
    return [msgspec.structs.replace(verdict, source=name) for verdict, name in zip(found, names, strict=True)]


@pytest.fixture(scope="module")
def records(verdicts: list[protoleak.Verdict]) -> list[Record]:
    """A face that could not be found, the three verdicts, and a file that could not be read."""
    no_face = NoFaceError("z.jpg: no face").about("z.jpg", "ab" * 32)
    unread = MediaError("+x.jpg: no such file")
    found = records_of("z.jpg", [no_face], by_face=True)
    for verdict in verdicts:
        found += records_of(verdict.source or "", [verdict], by_face=False)
    return [*found, *records_of("+x.jpg", [unread], by_face=False)]


def write(path: Path, identity: Identity, records: list[Record], **options: bool) -> list[Record]:
    """Those of the records that were written."""
    with open_results(
        str(path),
        identity,
        resume=options.get("resume", False),
        overwrite=False,
        example=lambda: next(record for record in records if record.verdict is not None),
    ) as writer:
        return [record for record in records if writer.write(record)]


def test_each_line_of_json_lines_is_one_record(tmp_path: Path, identity: Identity, records: list[Record]) -> None:
    write(tmp_path / "r.jsonl", identity, records)
    lines = json_lines(tmp_path / "r.jsonl")
    assert lines == [record.to_dict(identity) for record in records]
    assert [line["outcome"] for line in lines] == ["no_face", "verdict", "verdict", "verdict", "error"]
    assert [line["sha256"] for line in lines][::4] == ["ab" * 32, None]
    assert lines[-1]["reason"] == "+x.jpg: no such file"


def test_a_line_holds_no_character_that_a_terminal_obeys(
    tmp_path: Path, identity: Identity, records: list[Record]
) -> None:
    """\x9b begins a control sequence as ESC [ does, and \u202e turns the direction of writing."""
    named = msgspec.structs.replace(identity, settings={"faces": "\x9b31m\x1b[2J\u202e\U000e0041"})
    write(tmp_path / "r.jsonl", named, records[:1])
    [line] = (tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()
    assert line.isprintable()
    assert json.loads(line)["settings"] == named.settings


def test_csv_has_one_row_per_record_with_flattened_names(
    tmp_path: Path, identity: Identity, records: list[Record], verdicts: list[protoleak.Verdict]
) -> None:
    write(tmp_path / "r.csv", identity, records)
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["outcome"] for row in rows] == ["no_face", "verdict", "verdict", "verdict", "error"]
    rows = rows[1:4]
    assert [float(row["p_value"]) for row in rows] == [verdict.p_value for verdict in verdicts]
    assert [float(row["scores.moss"]) for row in rows] == [verdict.scores["moss"] for verdict in verdicts]
    assert rows[0]["bundle.sha256"] == identity.bundle.sha256


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", "'=1"])
def test_no_cell_of_a_csv_file_begins_a_formula_and_resuming_knows_its_source(
    tmp_path: Path, identity: Identity, records: list[Record], name: str
) -> None:
    record = dataclasses.replace(records[1], source=printable(name))
    write(tmp_path / "r.csv", identity, [record])
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        [row] = csv.DictReader(file)
    assert row["source"][0] not in "=+-@\t\r＝"
    assert write(tmp_path / "r.csv", identity, [record], resume=True) == []


@SUFFIXES
def test_every_record_is_on_disk_before_the_next_one_is_asked_for(
    tmp_path: Path, identity: Identity, records: list[Record], suffix: str
) -> None:
    path = tmp_path / f"r{suffix}"
    header = int(suffix == ".csv")
    with open_results(str(path), identity, resume=False, overwrite=False, example=lambda: records[1]) as writer:
        for count, record in enumerate(records, start=1):
            writer.write(record)
            assert len(path.read_text().splitlines()) == count + header


@SUFFIXES
def test_interrupted_file_is_continued_to_the_same_file_as_in_one_go(
    tmp_path: Path, identity: Identity, records: list[Record], suffix: str
) -> None:
    whole, part = tmp_path / f"whole{suffix}", tmp_path / f"part{suffix}"
    write(whole, identity, records)
    write(part, identity, records[:2])
    assert write(part, identity, records, resume=True) == records[2:]
    assert part.read_bytes() == whole.read_bytes()


@SUFFIXES
def test_file_cut_at_any_byte_is_continued_to_the_same_file(
    tmp_path: Path, identity: Identity, records: list[Record], suffix: str
) -> None:
    whole, part = tmp_path / f"whole{suffix}", tmp_path / f"part{suffix}"
    write(whole, identity, records)
    data = whole.read_bytes()
    for cut in [*range(0, len(data), 97), len(data) - 1, len(data)]:
        part.write_bytes(data[:cut])
        write(part, identity, records, resume=True)
        assert part.read_bytes() == data, f"cut at byte {cut}"


@SUFFIXES
def test_existing_file_is_never_lost_without_being_told(
    tmp_path: Path, identity: Identity, records: list[Record], suffix: str
) -> None:
    path = tmp_path / f"r{suffix}"
    path.write_text("my work")
    with pytest.raises(ProtoleakError, match=r"--resume.*--overwrite"):
        write(path, identity, records)
    assert path.read_text() == "my work"
    with open_results(str(path), identity, resume=False, overwrite=True) as writer:
        writer.write(records[0])
    assert "my work" not in path.read_text()


@SUFFIXES
@pytest.mark.parametrize("text", ["my notes", "my notes\n", '{"a": 1}\n', "a,b\n1,2\n", "\xff\n"])
def test_file_that_holds_something_else_is_not_continued_and_not_touched(
    tmp_path: Path, identity: Identity, records: list[Record], suffix: str, text: str
) -> None:
    path = tmp_path / f"r{suffix}"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ProtoleakError, match=path.name):
        write(path, identity, records, resume=True)
    assert path.read_text(encoding="latin-1") == text


@SUFFIXES
@pytest.mark.parametrize(
    "other",
    [
        {"bundle": BundleRecord("tiny", "0" * 64, "fp32")},
        {"alpha": 0.01},
        {"settings": {"faces": "none", "margin": 0.5, "minimum_face": 48}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_results_of_another_bundle_alpha_or_settings_of_faces_are_not_continued(
    tmp_path: Path, identity: Identity, records: list[Record], suffix: str, other: dict[str, object]
) -> None:
    path = tmp_path / f"r{suffix}"
    write(path, identity, records)
    with pytest.raises(ProtoleakError, match="was made with"):
        write(path, msgspec.structs.replace(identity, **other), records, resume=True)


@SUFFIXES
def test_the_results_of_a_signed_bundle_are_continued_with_the_same_trust_only(
    tmp_path: Path, identity: Identity, verdicts: list[protoleak.Verdict], suffix: str
) -> None:
    path = tmp_path / f"r{suffix}"
    signed = msgspec.structs.replace(identity.bundle, signer=SignerRecord("sha256:" + "c" * 64, trusted=True))
    identity = msgspec.structs.replace(identity, bundle=signed)
    found = [msgspec.structs.replace(verdict, bundle=signed) for verdict in verdicts]
    records = [one for verdict in found for one in records_of(verdict.source or "", [verdict], by_face=False)]
    write(path, identity, records[:2])
    assert write(path, identity, records, resume=True) == records[2:]
    unnamed = msgspec.structs.replace(signed, signer=SignerRecord("sha256:" + "c" * 64, trusted=False))
    with pytest.raises(ProtoleakError, match=r"was made with .* signed by sha256:c+…, .*c… \(no trusted key\)"):
        write(path, msgspec.structs.replace(identity, bundle=unnamed), records, resume=True)


def test_resuming_without_a_file_starts_one(tmp_path: Path, identity: Identity, records: list[Record]) -> None:
    assert write(tmp_path / "new.jsonl", identity, records, resume=True) == records


def test_a_second_writer_is_refused_as_long_as_the_first_one_writes(
    tmp_path: Path, identity: Identity, records: list[Record]
) -> None:
    path = tmp_path / "r.jsonl"
    with open_results(str(path), identity, resume=False, overwrite=False) as writer:
        writer.write(records[0])
        for options in ({"resume": True}, {"resume": False}):
            with pytest.raises(ProtoleakError, match="is being written"):
                write(path, identity, records, **options)
    assert len(path.read_text().splitlines()) == 1
    assert write(path, identity, records, resume=True) == records[1:]
    assert [one.name for one in tmp_path.iterdir()] == ["r.jsonl"]


@pytest.mark.parametrize("name", ["r.txt", "r", "r.json"])
def test_other_suffixes_are_refused(tmp_path: Path, identity: Identity, name: str) -> None:
    with pytest.raises(ProtoleakError, match=r"\.jsonl or \.csv"):
        write(tmp_path / name, identity, [])


def test_folder_that_does_not_exist_is_said(tmp_path: Path, identity: Identity) -> None:
    with pytest.raises(ProtoleakError, match="cannot write"):
        write(tmp_path / "nowhere" / "r.jsonl", identity, [])


def test_full_disk_is_said_in_one_line(identity: Identity, records: list[Record], tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    link = tmp_path / "r.jsonl"
    link.symlink_to("/dev/full")
    with (
        pytest.raises(ProtoleakError, match="No space left"),
        open_results(str(link), identity, resume=False, overwrite=True) as writer,
    ):
        writer.write(records[0])


@pytest.mark.parametrize("name", ["r.jsonl", "r.csv"])
def test_a_disk_that_fills_up_leaves_whole_lines(
    name: str, identity: Identity, records: list[Record], tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource", reason="a limit on the size of files stands for a full disk")
    file = tmp_path / name
    with open_results(str(file), identity, resume=False, overwrite=False) as writer:
        writer.write(records[0])
    whole = file.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, before[1]))
        with (
            pytest.raises(ProtoleakError, match="cannot write"),
            open_results(str(file), identity, resume=True, overwrite=False) as writer,
        ):
            writer.write(dataclasses.replace(records[0], source="another"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert file.read_bytes() == whole


def test_a_folder_in_the_place_of_the_file_is_said(identity: Identity, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").mkdir()
    for overwrite in (False, True):
        opened = open_results(str(tmp_path / "x.jsonl"), identity, resume=False, overwrite=overwrite)
        with pytest.raises(ProtoleakError, match="is a folder"), opened:
            pass
    assert (tmp_path / "x.jsonl").is_dir()


@pytest.mark.parametrize(
    "content",
    [
        "schema,source\n1," + "x" * 200_000 + "\n",
        "schema,source\n1,a\0b\n",
        "schema,outcome,source,sha256,face,faces,reason,alpha,bundle.sha256,bundle.variant,bundle.signer,bundle.signer.key\n"
        "4,verdict,a,b,,,,0.05,c,d,e,f\n",
    ],
)
def test_a_table_that_is_none_of_ours_is_one_line(content: str, tmp_path: Path, identity: Identity) -> None:
    file = tmp_path / "out.csv"
    file.write_text(content)
    with (
        pytest.raises(ProtoleakError, match=r"no results file|no record|has schema"),
        open_results(str(file), identity, resume=True, overwrite=False),
    ):
        pass
    assert file.read_text() == content
