"""From images that are called unknown to an enrolled generator."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

import protoleak
from protoleak.bundle.bundle import Bundle
from protoleak.cli.app import main
from protoleak.discovery.discover import CLUSTERS, PAGE, read_cluster
from protoleak.discovery.records import Discovery
from tests.tiny_bundle import make_image

pytest.importorskip("sklearn", reason="its HDBSCAN clusters")


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two colours that no class has, and some of a generator that is known."""
    folder = tmp_path_factory.mktemp("stream") / "stream"
    folder.mkdir()
    random = np.random.default_rng(3)
    for index in range(30):
        Image.fromarray(make_image(None, 600 + index)).save(folder / f"lemon{index:02d}.png")
        pixels = np.clip(np.array((60, 200, 220)) + random.normal(0, 25, (80, 72, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"slate{index:02d}.png")
    for index in range(10):
        Image.fromarray(make_image(0, 700 + index)).save(folder / f"dawn{index:02d}.png")
    return folder


@pytest.fixture(scope="module")
def discovered(enrollable: Path, stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("found") / "clusters"
    assert main(["discover", str(stream), "--bundle", str(enrollable), "--out", str(out)]) == 0
    return out


def test_clusters_are_the_unknown_generators(discovered: Path) -> None:
    discovery = msgspec.json.decode((discovered / CLUSTERS).read_bytes(), type=Discovery)
    assert discovery.images == 70
    assert 55 <= discovery.unknown <= 62
    kinds = [Counter(Path(file).name[:5] for file in cluster.images) for cluster in discovery.clusters]
    assert sorted(kind.most_common(1)[0][0] for kind in kinds) == ["lemon", "slate"]
    assert all(kind.total() - kind.most_common(1)[0][1] <= 1 for kind in kinds)
    assert all(len(cluster.images) >= 25 and not cluster.near_cameras for cluster in discovery.clusters)
    page = (discovered / PAGE).read_text()
    assert "Cluster 2" in page
    assert page.count("<img") >= 40


def test_cluster_is_enrolled_under_its_working_name(enrollable: Path, discovered: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--data", str(discovered), "--cluster", "1", "--out", str(out)]
    assert main(["enrol", str(enrollable), *options]) == 0
    assert Bundle.load(out).manifest.generators[-1] == "unnamed_1"
    with protoleak.load(out, engine="onnxruntime", threads=1) as screener:
        said = [one.generator for one in screener(read_cluster(discovered, 1).images[:5])]
    assert said.count("unnamed_1") >= 4


def test_cluster_near_photographs_needs_force(
    enrollable: Path, discovered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads((discovered / CLUSTERS).read_text())
    for cluster in found["clusters"]:
        cluster["near_cameras"] = True
    (tmp_path / CLUSTERS).write_text(json.dumps(found))
    options = ["--generator", "x", "--data", str(tmp_path), "--cluster", "1", "--out", str(tmp_path / "out")]
    assert main(["enrol", str(enrollable), *options]) == 2
    assert "near camera originals" in capsys.readouterr().err
    assert main(["enrol", str(enrollable), *options, "--force"]) == 0


def test_verdicts_of_screen_are_taken_and_only_the_unknown_ones(enrollable: Path, stream: Path, tmp_path: Path) -> None:
    verdicts, out = tmp_path / "verdicts.jsonl", tmp_path / "found"
    options = ["--bundle", str(enrollable), "--engine", "onnxruntime"]
    assert main(["screen", str(stream), *options, "--out", str(verdicts)]) == 0
    assert main(["discover", str(verdicts), *options, "--out", str(out)]) == 0
    said = [json.loads(line)["verdict"] for line in verdicts.read_text().splitlines()]
    assert 0 < said.count("unknown") < len(said)
    discovery = msgspec.json.decode((out / CLUSTERS).read_bytes(), type=Discovery)
    assert (discovery.images, discovery.unknown) == (len(said), said.count("unknown"))


@pytest.mark.parametrize("number", ["0", "9"])
def test_cluster_that_is_not_there_is_refused(enrollable: Path, discovered: Path, tmp_path: Path, number: str) -> None:
    options = ["--data", str(discovered), "--cluster", number, "--out", str(tmp_path / "out")]
    assert main(["enrol", str(enrollable), *options]) == 2


def test_nothing_that_is_there_is_overwritten(enrollable: Path, stream: Path, tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("mine")
    assert main(["discover", str(stream), "--bundle", str(enrollable), "--out", str(tmp_path)]) == 2
    assert (tmp_path / "keep").read_text() == "mine"
