"""What `screen --embeddings` writes, and that `discover` finds the same by it as by the images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.class_statistics import CLASS_STATISTICS
from protoleak.bundle.enrolment import record_file
from protoleak.bundle.writer import write_bundle
from protoleak.cli.app import main
from protoleak.dataset import list_images
from protoleak.discovery.discover import CLUSTERS, PAGE
from protoleak.discovery.embeddings import read_embeddings
from protoleak.discovery.records import Discovery
from protoleak.enrolment.images import ImageRunner
from protoleak.errors import ProtoleakError
from tests.json_lines import json_lines
from tests.tiny_bundle import make_image

pq = pytest.importorskip("pyarrow.parquet", reason="embeddings are Parquet")
pytest.importorskip("sklearn", reason="its HDBSCAN clusters")
ENGINE = ("--engine", "onnxruntime", "--threads", "1")


@pytest.fixture(scope="module")
def traceless(enrollable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small bundle as it was exported before newcomers were told by statistics."""
    bundle = Bundle.load(enrollable)
    files = {name: data for name, data in bundle.contents().items() if name in bundle.manifest.files}
    del files[CLASS_STATISTICS]
    record = bundle.enrolment.record("fp32")
    nothing = np.zeros((len(record.labels), 0), record.features.dtype)
    files[record_file("fp32")] = replace(record, features=nothing).to_bytes()
    out = tmp_path_factory.mktemp("traceless") / "bundle"
    write_bundle(out, bundle.manifest, files)
    return out


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of a colour that no class has, one that is known, and one that is no image."""
    folder = tmp_path_factory.mktemp("stream") / "stream"
    folder.mkdir()
    for index in range(24):
        Image.fromarray(make_image(None, 900 + index)).save(folder / f"lemon{index:02d}.png")
    Image.fromarray(make_image(0, 7)).save(folder / "dawn.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return folder


@pytest.fixture(scope="module")
def screened(enrollable: Path, stream: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Verdicts and embeddings."""
    folder = tmp_path_factory.mktemp("screened")
    verdicts, embeddings = folder / "verdicts.jsonl", folder / "embeddings.parquet"
    assert screen(enrollable, stream, verdicts, embeddings) == 1  # one file is broken
    return verdicts, embeddings


def screen(bundle: Path, source: Path, verdicts: Path, embeddings: Path, *more: str) -> int:
    options = ["--bundle", str(bundle), "--out", str(verdicts), "--embeddings", str(embeddings)]
    return main(["screen", str(source), *options, *ENGINE, *more])


def lines_of(verdicts: Path) -> list[dict[str, Any]]:
    lines = json_lines(verdicts)
    return [line for line in lines if line["outcome"] == "verdict"]


def test_each_verdict_has_a_row_with_what_the_network_gave(
    enrollable: Path, stream: Path, screened: tuple[Path, Path]
) -> None:
    verdicts, embeddings = screened
    table, lines = pq.read_table(embeddings), lines_of(verdicts)
    assert [table[name].to_pylist() for name in ("sha256", "verdict", "p_value")] == [
        [line[name] for line in lines] for name in ("sha256", "verdict", "p_value")
    ]
    bundle = Bundle.load(enrollable)
    files = [file for file in list_images(stream) if file.name != "broken.png"]
    with ImageRunner(bundle, "onnxruntime", 1, traces=bundle.enrolment.traces()) as runner:
        expected = runner.run(files, "images")
    found = read_embeddings(embeddings, bundle)
    order = [found.places[sha256, None] for sha256 in expected.sha256]
    record = expected.records["fp32"]
    assert expected.traces is not None
    assert found.traces is not None
    np.testing.assert_allclose(found.rows.embedding[order], record.embedding, rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(found.rows.gate[order], record.gate, rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(found.traces[order], expected.traces, rtol=2e-3, atol=1e-2)
    np.testing.assert_allclose(found.rows.scores[order], record.class_score, rtol=1e-4)
    np.testing.assert_allclose(found.rows.log_density[order], record.log_density, rtol=1e-4, atol=1e-5)


def test_clusters_are_those_that_the_images_give_and_need_no_images(
    enrollable: Path, stream: Path, screened: tuple[Path, Path], tmp_path: Path
) -> None:
    verdicts, embeddings = screened
    found = {}
    for name, more in (("images", ()), ("embeddings", ("--embeddings", str(embeddings)))):
        out = tmp_path / name
        assert main(["discover", str(verdicts), "--bundle", str(enrollable), "--out", str(out), *ENGINE, *more]) == 0
        found[name] = msgspec.json.decode((out / CLUSTERS).read_bytes(), type=Discovery)
    (one,), (other,) = found["images"].clusters, found["embeddings"].clusters
    assert set(one.images) == set(other.images)
    assert one.nearest == other.nearest
    elsewhere = tmp_path / "elsewhere"
    moved = tmp_path / "moved.jsonl"
    moved.write_text(verdicts.read_text().replace(str(stream), str(elsewhere)))
    out = tmp_path / "without_images"
    given = ["--embeddings", str(embeddings), "--bundle", str(enrollable), "--out", str(out)]
    assert main(["discover", str(moved), *given, *ENGINE]) == 0
    again = msgspec.json.decode((out / CLUSTERS).read_bytes(), type=Discovery)
    assert [len(cluster.images) for cluster in again.clusters] == [len(one.images)]
    assert again.clusters[0].first[:4] >= "2024"
    assert "<img" not in (out / PAGE).read_text()


def test_images_without_a_row_are_looked_at_again(
    enrollable: Path, screened: tuple[Path, Path], tmp_path: Path
) -> None:
    verdicts, embeddings = screened
    some = tmp_path / "some.parquet"
    pq.write_table(pq.read_table(embeddings).slice(0, 12), some)
    out = tmp_path / "found"
    given = ["--embeddings", str(some), "--bundle", str(enrollable), "--out", str(out)]
    assert main(["discover", str(verdicts), *given, *ENGINE]) == 0
    discovery = msgspec.json.decode((out / CLUSTERS).read_bytes(), type=Discovery)
    assert discovery.unknown == sum(line["verdict"] == "unknown" for line in lines_of(verdicts))


def test_a_run_is_continued_and_a_file_that_is_there_is_kept(
    enrollable: Path, stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts, embeddings = tmp_path / "verdicts.jsonl", tmp_path / "embeddings.parquet"
    assert screen(enrollable, stream / "lemon00.png", verdicts, embeddings) == 0
    assert screen(enrollable, stream / "lemon01.png", tmp_path / "other.jsonl", embeddings) == 2
    assert "embeddings.parquet exists" in capsys.readouterr().err
    assert screen(enrollable, stream / "lemon01.png", verdicts, embeddings, "--resume") == 0
    assert pq.read_table(embeddings)["sha256"].to_pylist() == [line["sha256"] for line in lines_of(verdicts)]
    assert screen(enrollable, stream / "lemon02.png", verdicts, embeddings, "--overwrite") == 0
    assert len(pq.read_table(embeddings)) == 1


def test_a_table_of_verdicts_may_stand_beside_it(enrollable: Path, stream: Path, tmp_path: Path) -> None:
    """A CSV file whose first input has no verdict gets its columns from an image that nobody asked about."""
    embeddings = tmp_path / "embeddings.parquet"
    assert screen(enrollable, stream, tmp_path / "verdicts.csv", embeddings) == 1
    assert len(pq.read_table(embeddings)) == 25


def test_a_bundle_without_traces_has_embeddings_too(traceless: Path, stream: Path, tmp_path: Path) -> None:
    verdicts, embeddings, out = tmp_path / "verdicts.jsonl", tmp_path / "embeddings.parquet", tmp_path / "found"
    assert screen(traceless, stream, verdicts, embeddings) == 1
    found = read_embeddings(embeddings, Bundle.load(traceless))
    assert (found.traces, len(found.rows)) == (None, 25)
    given = ["--embeddings", str(embeddings), "--bundle", str(traceless), "--out", str(out)]
    assert main(["discover", str(verdicts), *given, *ENGINE]) == 0
    assert len(msgspec.json.decode((out / CLUSTERS).read_bytes(), type=Discovery).clusters) == 1


def test_embeddings_of_another_bundle_are_refused(
    traceless: Path, screened: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts, embeddings = screened
    given = ["--embeddings", str(embeddings), "--bundle", str(traceless), "--out", str(tmp_path / "found")]
    assert main(["discover", str(verdicts), *given]) == 2
    assert "is of the bundle" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"source,sha256\n"])
def test_what_is_no_file_of_embeddings_is_refused(traceless: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "e.parquet").write_bytes(content)
    with pytest.raises(ProtoleakError, match="is not what screen --embeddings writes"):
        read_embeddings(tmp_path / "e.parquet", Bundle.load(traceless))


@pytest.mark.parametrize(("name", "reason"), [("e.csv", "must end in"), ("no/e.parquet", "no folder")])
def test_a_place_that_cannot_be_written_is_refused(
    traceless: Path, stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, reason: str
) -> None:
    assert screen(traceless, stream / "dawn.png", tmp_path / "v.jsonl", tmp_path / name) == 2
    assert reason in capsys.readouterr().err


def test_videos_and_folders_have_none(
    traceless: Path, screened: tuple[Path, Path], stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["screen", "clip.mp4", "--embeddings", str(tmp_path / "e.parquet")]) == 2
    assert "--embeddings is for images" in capsys.readouterr().err
    given = ["--embeddings", str(screened[1]), "--bundle", str(traceless), "--out", str(tmp_path / "found")]
    assert main(["discover", str(stream), *given]) == 2
    assert "is for verdicts" in capsys.readouterr().err
