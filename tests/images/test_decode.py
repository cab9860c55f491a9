"""Every kind of image becomes RGB with a note of what was done; everything else is one line that says why not."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protoleak.errors import MediaError
from protoleak.images.open import open_image
from protoleak.images.sources import ImageSource, printable

GRADIENT = np.add.outer(np.arange(40), np.arange(48)).astype(np.uint8)
COLOUR = np.stack([GRADIENT, GRADIENT + 60, 255 - GRADIENT], axis=-1)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes) -> bytes:
    """A PNG written by hand, for kinds that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def fails(source: ImageSource, *words: str) -> None:
    with pytest.raises(MediaError) as caught:
        open_image(source)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_plain_rgb_is_left_as_it_is_without_a_note(tmp_path: Path) -> None:
    path = tmp_path / "plain.png"
    path.write_bytes(encoded(Image.fromarray(COLOUR)))
    opened = open_image(path)
    np.testing.assert_array_equal(np.asarray(opened.image), COLOUR)
    assert opened.notes == ()
    assert (opened.source, opened.hashed, opened.size) == (str(path), "file", path.stat().st_size)


def test_path_bytes_array_and_pillow_image_give_the_same_pixels(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(COLOUR))
    (tmp_path / "x.png").write_bytes(data)
    opened = [open_image(source) for source in (tmp_path / "x.png", data, Image.fromarray(COLOUR), COLOUR)]
    for one in opened:
        np.testing.assert_array_equal(np.asarray(one.image), COLOUR)
    assert opened[0].sha256 == opened[1].sha256
    assert opened[2].sha256 == opened[3].sha256
    assert opened[3].hashed == "pixels"
    assert opened[3].size == COLOUR.nbytes


@pytest.mark.parametrize(
    ("image", "kind", "note"),
    [
        (Image.fromarray(GRADIENT), "PNG", "grey"),
        (Image.fromarray(COLOUR).convert("1"), "PNG", "grey"),
        (Image.fromarray(COLOUR).quantize(16), "PNG", "palette"),
        (Image.fromarray(COLOUR).convert("CMYK"), "JPEG", "CMYK"),
        (Image.fromarray(COLOUR).convert("RGBA"), "PNG", "alpha"),
        (Image.fromarray(COLOUR).convert("LA"), "PNG", "alpha"),
        (Image.merge("RGBA", [*Image.fromarray(COLOUR).split(), Image.fromarray(GRADIENT)]), "WEBP", "alpha"),
    ],
    ids=["grey", "bilevel", "palette", "cmyk", "alpha", "grey-alpha", "webp-alpha"],
)
def test_other_kinds_become_rgb_as_pillow_does_it_with_a_note(image: Image.Image, kind: str, note: str) -> None:
    data = encoded(image, kind)
    opened = open_image(data)
    assert opened.image.mode == "RGB"
    assert any(note in line for line in opened.notes)
    np.testing.assert_array_equal(np.asarray(opened.image), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.filterwarnings("error")
def test_transparent_palette_is_converted_without_a_warning() -> None:
    image = Image.fromarray(COLOUR).quantize(16)
    opened = open_image(encoded(image, transparency=bytes([0, 128, 255])))
    assert opened.notes == ("a palette is converted to RGB", "the alpha channel is dropped")
    np.testing.assert_array_equal(np.asarray(opened.image), np.asarray(image.convert("RGB")))


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    values = (GRADIENT.astype(np.uint16) * 257) + 1
    opened = open_image(encoded(Image.fromarray(values)))
    np.testing.assert_array_equal(np.asarray(opened.image), np.repeat(GRADIENT[..., None], 3, axis=-1))
    assert opened.notes == ("16-bit values are scaled to 8 bits", "grey is converted to RGB")


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4)], ids=["rgb", "rgba"])
def test_sixteen_bit_colour_is_scaled_with_a_note(colour_type: int, channels: int) -> None:
    pixels = COLOUR if channels == 3 else np.concatenate([COLOUR, COLOUR[..., :1]], axis=-1)
    wide = pixels.astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in wide.astype(">u2"))
    opened = open_image(png(48, 40, 16, colour_type, rows))
    np.testing.assert_array_equal(np.asarray(opened.image), COLOUR)
    assert "16-bit values are scaled to 8 bits" in opened.notes


def test_integers_beyond_sixteen_bits_and_floats_are_refused() -> None:
    fails(encoded(Image.fromarray(GRADIENT.astype(np.int32) * 100_000), "TIFF"), "16 bits")
    fails(encoded(Image.fromarray(GRADIENT.astype(np.float32)), "TIFF"), "floating-point")


def test_exif_rotation_is_said_and_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = open_image(encoded(Image.fromarray(COLOUR), exif=exif.tobytes()))
    np.testing.assert_array_equal(np.asarray(opened.image), COLOUR)
    assert opened.notes == ("EXIF orientation 6 is present and not applied",)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation_is_used_and_said(kind: str) -> None:
    frames = [Image.new("RGB", (48, 40), colour) for colour in ((200, 10, 10), (10, 200, 10), (10, 10, 200))]
    opened = open_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True))
    assert opened.notes[0] == "the first of 3 frames is used"
    assert np.abs(np.asarray(opened.image).astype(int) - (200, 10, 10)).max() <= 2  # a GIF's palette rounds


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_truncated_file_is_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    fails(data[: max(8, int(share * len(data)))])


def test_truncated_jpeg_says_truncated() -> None:
    data = encoded(Image.fromarray(COLOUR), "JPEG")
    fails(data[:-40], "truncated")


def test_every_refused_file_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "note.png").write_text("I am not an image")
    (tmp_path / "random.jpg").write_bytes(bytes(range(256)))
    (tmp_path / "tiny.png").write_bytes(encoded(Image.new("RGB", (1, 1))))
    (tmp_path / "narrow.png").write_bytes(encoded(Image.new("RGB", (31, 500))))
    (tmp_path / "strip.png").write_bytes(encoded(Image.new("RGB", (32, 3201))))
    (tmp_path / "folder.jpg").mkdir()
    expected = {
        "missing.jpg": "no such file",
        "empty.jpg": "empty",
        "note.png": "text file",
        "random.jpg": "not an image",
        "tiny.png": "1×1",
        "narrow.png": "31×500",
        "strip.png": "strip",
        "folder.jpg": "directory",
    }
    for name, reason in expected.items():
        fails(tmp_path / name, name, reason)
    fails("ftp://host/x.jpg", "ftp://host/x.jpg: an address that is not read", "download it")
    fails("x" * 5000, "too long")
    fails("nul\0byte", "not a file name")


def test_unreadable_file_is_refused(tmp_path: Path, runs_as_root: bool) -> None:
    if runs_as_root:
        pytest.skip("root reads files whatever their permissions")
    path = tmp_path / "locked.png"
    path.write_bytes(encoded(Image.fromarray(COLOUR)))
    path.chmod(0)
    fails(path, "permission denied")


def test_device_is_not_read() -> None:
    fails("/dev/zero", "not a regular file")


@pytest.mark.parametrize(
    "data",
    [
        png(0, 0, 8, 2, b""),
        b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0),
        b"P6 0 0 255\n",
        b"GIF89a" + bytes(7) + b";",
    ],
    ids=["png", "bmp", "ppm", "gif"],
)
def test_image_without_a_pixel_is_refused(data: bytes) -> None:
    fails(data, "0×0" if data[:2] != b"P6" else "image in memory")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(10_001, 10_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_more_than_a_hundred_megapixels_are_refused_before_decoding(size: tuple[int, int]) -> None:
    # There is no pixel data in this file at all: only a refusal from the header can give this message.
    fails(png(*size, 8, 2, b""), "megapixels", "before decoding")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_dozens_of_megapixels_are_not_refused_for_their_size() -> None:
    row = b"\0" + np.random.default_rng(0).bytes(3 * 6000)
    fails(png(6000, 6000, 8, 2, row) + bytes(200_000), "truncated")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((40, 40), np.uint8),
        np.zeros((40, 40, 4), np.uint8),
        np.zeros((40, 40, 3), np.float32),
        np.zeros((3, 40, 40), np.uint8),
    ],
)
def test_array_of_another_type_or_shape_is_refused_with_what_it_should_be(array: np.ndarray) -> None:
    fails(array, str(array.dtype), "[H, W, 3]")


def test_empty_array_is_refused() -> None:
    fails(np.zeros((0, 40, 3), np.uint8), "40×0")


def test_object_that_is_no_image_is_refused_by_its_type() -> None:
    fails(3.5, "float")  # type: ignore[arg-type]


def test_names_are_printed_on_one_line_whatever_is_in_them() -> None:
    assert printable("a\nb\x1b[31m.png") == "a\\nb\\x1b[31m.png"
    assert printable("caf\udce9.png") == "caf\\xe9.png"
    assert printable("Łódź 1.png") == "Łódź 1.png"


def test_messages_name_a_long_path_by_its_ends_and_the_record_has_all_of_it(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 200)
    folder.mkdir()
    Image.new("RGB", (64, 64)).save(folder / "image.png")
    opened = open_image(folder / "image.png")
    assert opened.source == str(folder / "image.png")
    assert len(opened.name) <= 200
    with pytest.raises(MediaError) as caught:
        open_image("data:image/png;base64," + "A" * 5000)
    assert str(caught.value).startswith("data:image/png;base64,AAAA")
    assert "(5022 characters)" in str(caught.value)
    assert len(str(caught.value)) < 300
