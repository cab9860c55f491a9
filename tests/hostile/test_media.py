"""Hostile images and videos cost one line each; the whole is in benchmarks/hostile.py."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protoleak.errors import MediaError
from protoleak.images.open import open_image
from protoleak.video.sources.open import open_source
from tests.hostile.images import BOMBS, chunk, encoded, formats, photograph_like
from tests.hostile.media import try_images, try_videos
from tests.hostile.outcomes import Tried
from tests.hostile.videos import many_edits, video

MUTATED = 120
SECONDS, MEBIBYTES = 5.0, 512.0


def check(tried: list[Tried]) -> None:
    assert [one for one in tried if one.outcome.finding is not None] == []
    assert [one for one in tried if one.outcome.processor_seconds > SECONDS] == []
    assert max(one.outcome.peak_mib for one in tried) < MEBIBYTES


def test_hostile_images_cost_one_line_and_little_time_and_memory() -> None:
    tried = list(try_images(0, len(BOMBS) + MUTATED))
    check(tried)
    # Their images are sound; what stands beside them is left unread.
    sound = {"pages", "steps of a sampler", "many steps", "fields of IPTC"}
    assert {one.name for one in tried[: len(BOMBS)] if one.outcome.error is None} <= sound
    assert any(one.outcome.error is None for one in tried[len(BOMBS) :])  # not everything is refused


def test_hostile_videos_cost_one_line_and_little_time_and_memory(tmp_path: Path) -> None:
    check(list(try_videos(0, 60, tmp_path)))


def test_a_table_of_four_billion_entries_is_one_line(tmp_path: Path) -> None:
    data = video("mp4", "libx264")
    place = data.index(b"stts") + 8
    path = tmp_path / "x.mp4"
    path.write_bytes(data[:place] + b"\xff\xff\xff\xff" + data[place + 4 :])
    with pytest.raises(MediaError, match=r"x\.mp4: ") as caught:
        open_source(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.005, 0.02, 0.2, 0.4, 0.7, 0.9])
@pytest.mark.parametrize(("kind", "end"), [("JPEG", 2), ("PROGRESSIVE", 2), ("PNG", 12), ("GIF", 1)])
def test_an_image_cut_with_its_end_marker_appended_is_refused(kind: str, end: int, share: float) -> None:
    data = encoded(photograph_like(1, 512), kind)
    with pytest.raises(MediaError):
        open_image(data[: int((1 - share) * len(data))] + data[-end:])


@pytest.mark.parametrize("kind", [kind for kind in formats() if kind not in ("BMP", "PPM", "TIFF", "AVIF", "GIF")])
@pytest.mark.parametrize("place", [0.2, 0.35, 0.5, 0.65, 0.8])
def test_an_image_of_which_4_kib_were_erased_is_refused(kind: str, place: float) -> None:
    data = encoded(photograph_like(2, 512), kind)
    at = int(place * (len(data) - 4096))
    with pytest.raises(MediaError):
        open_image(data[:at] + bytes(4096) + data[at + 4096 :])


@pytest.mark.parametrize("kind", formats())
@pytest.mark.parametrize("flat", [False, True])
def test_an_intact_image_is_taken_flat_or_not(kind: str, flat: bool) -> None:
    pixels = np.asarray(photograph_like(3, 512)).copy()
    if flat:  # long runs of zero bits in optimised JPEGs
        pixels[64:, 64:] = 255
    assert open_image(encoded(Image.fromarray(pixels), kind)).image.size == (512, 512)


def test_a_png_with_another_header_or_without_its_palette_is_refused() -> None:
    rows = zlib.compress(bytes(65 * 32))
    for header, kind in (((64, 64, 8, 0, 0, 0, 0), 14), ((64, 32, 8, 3, 0, 0, 0), 13)):
        ihdr = struct.pack(">IIBBBBB", *header).ljust(kind, b"\0")
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
        with pytest.raises(MediaError, match=r"its header has|palette is missing"):
            open_image(data)


def test_a_video_of_edits_without_end_is_refused_and_one_of_some_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(many_edits(200_000))
    with pytest.raises(MediaError, match=r"x\.mp4: 200000 edits of 250 frames each"):
        open_source(str(path))
    path.write_bytes(many_edits(2))
    source = open_source(str(path))
    assert sum(1 for _ in source) == 500
    source.close()
