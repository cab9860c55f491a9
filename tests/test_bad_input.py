"""Every kind of bad or unusual input through the command line: one clear line each, and the others go on."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protoleak.cli.app import main
from tests.json_lines import json_lines
from tests.tiny_bundle import make_image


def header_only_png(width: int, height: int) -> bytes:
    """A PNG that promises pixels and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


def image() -> Image.Image:
    return Image.fromarray(make_image(0, 1))


def truncated(path: Path) -> None:
    image().save(path)
    path.write_bytes(path.read_bytes()[:2000])


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.png": (lambda _: None, "no such file"),
    "empty.png": (lambda path: path.touch(), "empty"),
    "truncated.jpg": (truncated, "truncated"),
    "archive.jpg": (lambda path: path.write_bytes(b"PK\3\4" + bytes(range(256))), "not an image"),
    "text.png": (lambda path: path.write_text("hello\n" * 50), "text file"),
    "zero_size.png": (lambda path: path.write_bytes(header_only_png(0, 0)), "0×0"),
    "one_pixel.png": (lambda path: Image.new("RGB", (1, 1)).save(path), "1×1"),
    "huge.png": (lambda path: path.write_bytes(header_only_png(20_000, 5_001)), "megapixels"),
    "enormous.png": (lambda path: path.write_bytes(header_only_png(100_000, 100_000)), "megapixels"),
}

CONVERTED: dict[str, tuple[Callable[[Path], object], str]] = {
    "16_bit.png": (lambda path: Image.fromarray(np.full((64, 64), 40_000, np.uint16)).save(path), "16-bit"),
    "grey.png": (lambda path: image().convert("L").save(path), "grey"),
    "palette.png": (lambda path: image().quantize(32).save(path), "palette"),
    "cmyk.jpg": (lambda path: image().convert("CMYK").save(path), "CMYK"),
    "alpha.png": (lambda path: image().convert("RGBA").save(path), "alpha"),
    "animated.gif": (
        lambda path: image().save(path, save_all=True, append_images=[Image.new("RGB", (72, 80))]),
        "first",
    ),
    "animated.webp": (
        lambda path: image().save(path, save_all=True, append_images=[Image.new("RGB", (72, 80))]),
        "first",
    ),
}


def rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    image().save(path, exif=exif.tobytes())


CONVERTED["rotated.jpg"] = (rotated, "turned upright as EXIF orientation 8 says")


@pytest.mark.parametrize("name", REFUSED)
def test_refused_file_is_one_line_and_the_good_one_goes_on(
    name: str, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, reason = REFUSED[name]
    make(tmp_path / name)
    image().save(tmp_path / "good.png")
    out = tmp_path / "r.jsonl"
    sources = [str(tmp_path / name), str(tmp_path / "good.png")]
    assert main(["screen", *sources, "--bundle", str(tiny_bundle), "--out", str(out)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {tmp_path / name}: ")
    assert reason in errors[0]
    lines = json_lines(out)
    assert [(line["source"], line["outcome"]) for line in lines] == list(
        zip(sources, ("error", "verdict"), strict=True)
    )


@pytest.mark.parametrize("name", CONVERTED)
def test_unusual_file_gets_a_verdict_with_one_note_that_says_what_was_done(
    name: str, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, note = CONVERTED[name]
    make(tmp_path / name)
    out = tmp_path / "r.jsonl"
    assert main(["screen", str(tmp_path / name), "--bundle", str(tiny_bundle), "--out", str(out)]) == 0
    notes = json.loads(out.read_text())["notes"]
    assert any(note in line for line in notes)
    assert capsys.readouterr().err.splitlines() == [f"note: {tmp_path / name}: {line}" for line in notes]


def test_all_bad_files_together_don_t_stop_the_good_ones(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, (make, _) in (REFUSED | CONVERTED).items():
        make(tmp_path / name)
    (tmp_path / "folder_without_images").mkdir()
    sources = [str(tmp_path / name) for name in REFUSED | CONVERTED]
    assert main(["screen", *sources, "--bundle", str(tiny_bundle), "--batch-size", "3"]) == 1
    printed = capsys.readouterr()
    assert f"{len(CONVERTED)} verdicts" in printed.out
    assert f"{len(REFUSED)} failed" in printed.out
    assert sum(line.startswith("error: ") for line in printed.err.splitlines()) == len(REFUSED)


@pytest.mark.parametrize("damage", ["changed byte", "missing file", "newer schema", "not a bundle"])
def test_bad_bundle_is_one_line_with_status_2_and_writes_nothing(
    damage: str, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    target = bundle / "variants" / "fp32" / "attributor.onnx"
    if damage == "changed byte":
        data = bytearray(target.read_bytes())
        data[-3] ^= 1
        target.write_bytes(data)
    elif damage == "missing file":
        target.unlink()
    elif damage == "newer schema":
        (bundle / "manifest.json").write_text('{"schema_version": 2}')
    else:
        (bundle / "manifest.json").unlink()
    image().save(tmp_path / "good.png")
    out = tmp_path / "r.jsonl"
    assert main(["screen", str(tmp_path / "good.png"), "--bundle", str(bundle), "--out", str(out)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not out.exists()
