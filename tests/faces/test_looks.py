"""Bundles that look at faces: one face has one verdict, wherever it is; what holds no face or too little says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

import protoleak
from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError
from protoleak.faces.base import Face
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.images.decode import TURNS
from protoleak.images.framing import Box, Framing
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.runtime.verdict import Verdict
from protoleak.screener import Screener
from protoleak.video.events import FaceEvent, TrackEvent
from protoleak.video.frames import Frame, SourceInfo
from tests.look_bundle import SIDE, YUNET, face_image
from tests.tiny_bundle import make_image

ORIENTATION_TAG = 0x0112
TURNED_BACK = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180, 5: Image.Transpose.TRANSPOSE}


@pytest.fixture(scope="module")
def screener(exported_looks: Path) -> Iterator[Screener]:
    with protoleak.load(exported_looks, engine="onnxruntime", threads=1) as opened:
        yield opened


class Still:
    """A video of one image."""

    def __init__(self, image: UInt8Array, frames: int = 3) -> None:
        height, width = image.shape[:2]
        self.info = SourceInfo("still", "file", False, width, height, Fraction(25), None, None)
        self._image, self._frames = image, frames

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._frames):
            yield Frame(index, index / 25, self._image, time.monotonic())

    def close(self) -> None:
        pass


def same(one: Verdict, other: Verdict) -> None:
    assert (one.label, one.nearest, one.p_value) == (other.label, other.nearest, other.p_value)
    # In a batch of another size float32 sums may be rounded in another order.
    assert list(one.scores.values()) == pytest.approx(list(other.scores.values()), rel=1e-4)


def test_a_face_has_the_same_verdict_in_a_still_and_in_a_frame_of_a_video(screener: Screener) -> None:
    image = np.asarray(face_image("rows", 950))
    (whole,) = screener(image)
    (face,) = screener.faces(image)
    events = list(screener.stream(Still(image), minimum_evidence=1))
    (in_video,) = [event for event in events if isinstance(event, FaceEvent)]
    assert in_video.verdict.input == face.input
    same(in_video.verdict, face)
    same(whole, face)
    (track,) = [event.track_verdict for event in events if isinstance(event, TrackEvent)]
    assert track.nearest == face.nearest
    assert track.generated_p_value == pytest.approx(min(1.0, 2 * (face.generated_p_value or 0)))


def test_of_two_faces_the_larger_decides_for_the_image_and_each_has_its_own_verdict(screener: Screener) -> None:
    small, large = face_image("columns", 960).resize((128, 128)), face_image("rows", 961)
    both = Image.new("RGB", (SIDE + 140, SIDE), (120, 120, 120))
    both.paste(large, (140, 0))
    both.paste(small, (0, 30))
    faces = screener.faces(both)
    assert len(faces) == 2
    largest = max(faces, key=lambda face: face.box.width)
    assert largest.box.left > 140
    same(screener(both)[0], largest)


@pytest.mark.parametrize("orientation", [3, 5, 6])
def test_a_still_is_turned_upright_whatever_a_bundle_looks_at_and_left_alone_where_that_is_asked_for(
    orientation: int, screener: Screener, tiny_bundle: Path, tmp_path: Path
) -> None:
    upright, exif = face_image("rows", 970), Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    lying = upright.transpose(TURNED_BACK[orientation])
    assert lying.transpose(TURNS[orientation]) == upright
    lying.save(tmp_path / "lying.png", exif=exif)
    lying.save(tmp_path / "bare.png")
    (verdict,) = screener([tmp_path / "lying.png"])
    same(verdict, screener(upright)[0])
    assert verdict.notes == [f"turned upright as EXIF orientation {orientation} says"]
    with Screener(tiny_bundle, engine="onnxruntime", threads=1) as whole:
        turned, plain = whole([tmp_path / "lying.png", upright])
    assert turned.scores == plain.scores
    with Screener(tiny_bundle, engine="onnxruntime", threads=1, upright="never") as whole:
        left_alone, bare = whole([tmp_path / "lying.png", tmp_path / "bare.png"])
    assert left_alone.scores == bare.scores != turned.scores
    assert left_alone.notes == [f"EXIF orientation {orientation} is present and not applied"]


def test_an_image_without_a_face_is_an_error_that_names_it_and_its_notes_and_the_others_are_judged(
    screener: Screener, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    Image.fromarray(make_image(0, 3, 200, 220)).save(tmp_path / "colour.png", exif=exif)
    first, refused, last = screener.each([face_image("rows", 1), tmp_path / "colour.png", face_image("columns", 1)])
    assert isinstance(first, Verdict)
    assert isinstance(last, Verdict)
    assert isinstance(refused, MediaError)
    assert str(refused).startswith(f"{tmp_path}/colour.png: no face of 32 pixels or more was found")
    assert str(refused).endswith("turned upright as EXIF orientation 6 says")


def test_an_image_judged_whole_has_the_same_verdict_as_a_video_of_it_without_a_face_detector(
    screener: Screener, exported_looks: Path
) -> None:
    image = make_image(1, 4, 150, 200)
    with ImagePipeline(exported_looks, engine="onnxruntime", threads=1) as pipeline:
        (whole,) = pipeline(image)
    (face,) = screener.faces(image, faces="none", margin=0.7)  # a margin for bundles that know no faces
    same(whole, face)
    (in_video,) = [event for event in screener.stream(Still(image), faces="none") if isinstance(event, FaceEvent)]
    same(whole, in_video.verdict)


LACKING = {
    "black": (Image.new("RGB", (200, 200)), "without content"),
    "flat": (Image.new("RGB", (200, 160), (90, 120, 200)), "without content"),
    "tiny": (face_image("rows", 1).resize((36, 36)), "too small to judge"),
    "blurred": (face_image("camera", 1).filter(ImageFilter.GaussianBlur(30)), "blurred beyond use"),
}


@pytest.mark.parametrize("what", LACKING)
@pytest.mark.parametrize("alpha", [0.03, 0.5, 0.999])
def test_what_holds_too_little_is_unknown_at_any_alpha_and_says_why(
    what: str, alpha: float, exported_looks: Path, tiny_bundle: Path
) -> None:
    image, words = LACKING[what]
    for bundle in (exported_looks, tiny_bundle):
        with ImagePipeline(bundle, alpha=alpha, engine="onnxruntime", threads=1) as pipeline:
            (verdict,) = pipeline(image)
        assert (verdict.label, verdict.generator) == ("unknown", None)
        assert words in str(verdict.lacking)
        assert verdict.notes[-1] == verdict.lacking


def test_a_face_that_lacks_sharpness_is_no_evidence_for_its_track(screener: Screener) -> None:
    class AlwaysThere:
        """YuNet finds no face in so soft an image; a tracker's box can still lie on one."""

        description = "always there"

        def __call__(self, image: UInt8Array) -> list[Face]:  # noqa: ARG002  # the protocol's
            return [Face(Box(60, 40, 80, 100), 1.0)]

    sharp = np.asarray(face_image("rows", 980))
    soft = np.asarray(face_image("rows", 980).filter(ImageFilter.GaussianBlur(30)))
    (alone,) = screener.faces(soft, detector=AlwaysThere())
    assert "blurred beyond use" in str(alone.lacking)
    for image, evidence in ((sharp, 1), (soft, 0)):
        events = list(screener.stream(Still(image), minimum_evidence=1, detector=AlwaysThere()))
        (track,) = [event.track_verdict for event in events if isinstance(event, TrackEvent)]
        assert track.evidence == evidence
        assert (track.label == "undecided") == (evidence == 0)


def test_a_framer_frames_a_file_by_its_largest_face_and_names_the_file_where_there_is_none(tmp_path: Path) -> None:
    framer = Framer(Framing(("face", "image"), 64), LargestFace(YUNET))
    image = face_image("rows", 2)
    image.save(tmp_path / "face.png")
    Image.fromarray(make_image(0, 1)).save(tmp_path / "none.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert framer.find is not None
    expected = framer.framing.frame(image, framer.find(image).box)
    np.testing.assert_array_equal(framer.file(tmp_path / "face.png"), expected)
    with pytest.raises(MediaError, match=r"none\.png: no face of 32 pixels or more was found"):
        framer.file(tmp_path / "none.png")
    with pytest.raises(MediaError, match=r"broken\.png: "):
        framer.file(tmp_path / "broken.png")


def test_a_framer_of_whole_images_looks_for_no_face(tmp_path: Path) -> None:
    Image.fromarray(make_image(0, 1)).save(tmp_path / "none.png")
    assert Framer(Framing(image_size=64)).file(tmp_path / "none.png").shape == (1, 64, 64, 3)
