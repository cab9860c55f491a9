"""Addresses of a store: s3:// from a local server, through PyArrow alone."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("moto.server", reason="moto, a local S3 server, is not installed: pip install 'moto[server]'")

from moto.server import ThreadedMotoServer
from pyarrow import fs

from protoleak.serving.corpus.listing import inputs_of
from protoleak.serving.corpus.settings import JudgeSettings
from tests.serving.corpus.conftest import begin, judge, rows_of


@pytest.fixture(scope="module")
def query(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What follows the path of an address on the server, whose bucket `faces` holds the images and a shard of them."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "any")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "any")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        _, port = server.get_host_and_port()
        place = f"127.0.0.1:{port}"
        store = fs.S3FileSystem(endpoint_override=place, scheme="http", region="us-east-1", allow_bucket_creation=True)
        store.create_dir("faces")
        shard = tmp_path_factory.mktemp("shard") / "shard.tar"
        with tarfile.open(shard, "w") as tar:
            for path in sorted(images.iterdir())[:3]:
                tar.add(path, path.name)
        for path in (*images.iterdir(), shard):
            folder = "shards" if path == shard else "images"
            with store.open_output_stream(f"faces/{folder}/{path.name}") as file:
                file.write(path.read_bytes())
        yield f"?endpoint_override={place}&scheme=http&region=us-east-1"
    server.stop()


def test_a_folder_and_a_shard_in_a_bucket(query: str, images: Path, settings: JudgeSettings, tmp_path: Path) -> None:
    judge(begin(tmp_path / "out", [f"s3://faces/images{query}", f"s3://faces/shards/shard.tar{query}"], settings))
    judge(begin(tmp_path / "local", [images], settings))
    rows, local = rows_of(tmp_path / "out"), rows_of(tmp_path / "local")
    assert [row["sha256"] for row in rows[:10]] == [row["sha256"] for row in local]
    assert [row["p_value"] for row in rows[:10]] == [row["p_value"] for row in local]
    assert rows[0]["source"] == "s3://faces/images/000.jpg"
    assert [row["source"] for row in rows[10:]] == [f"s3://faces/shards/shard.tar#00{index}.jpg" for index in range(3)]
    assert [row["sha256"] for row in rows[10:]] == [row["sha256"] for row in local[:3]]


def test_a_glob_in_a_bucket(query: str) -> None:
    found = list(inputs_of([f"s3://faces/images/00[12].jpg{query}"], Path("elsewhere"), None))
    assert [one.source for one in found] == ["s3://faces/images/001.jpg", "s3://faces/images/002.jpg"]


def test_what_is_not_there_is_named(query: str) -> None:
    (missing,) = inputs_of([f"s3://nobody/images/*.jpg{query}"], Path("elsewhere"), None)
    assert missing.kind == "error"
    assert (missing.reason or "").startswith("s3://nobody/images/*.jpg: ")
