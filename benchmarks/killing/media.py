"""What is killed while it screens: still images, whole or face by face, and a video."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import av
import msgspec
import numpy as np
from PIL import Image

from benchmarks.killing.runs import ROOT, Kind
from protoleak.bundle.bundle import DEFAULT_BUNDLE
from protoleak.bundle.reader import FACE_DETECTOR
from protoleak.video.outputs.records import TracksFile

IMAGES, CLIP_FRAMES = 60, 150


def lines_of(path: Path) -> tuple[list[dict[str, object]], list[str]]:
    """The whole lines of a file, and what is wrong with it; a last line without an end may be half a one."""
    if not path.exists():
        return [], []
    text = path.read_bytes()
    found, wrong = [], []
    for number, line in enumerate(text[: text.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            found.append(json.loads(line))
        except ValueError:
            wrong.append(f"{path.name}, line {number} is no JSON: {line[:60]!r}")
    return found, wrong


def of_images(folder: Path, bundle: str, *, faces: bool) -> Kind:
    """Still images, whole or face by face."""
    images, out = folder / "images", folder / "verdicts.jsonl"
    images.mkdir(parents=True)
    if faces:
        photograph = Image.open(ROOT / "examples" / "images" / "photograph.jpg").convert("RGB").resize((512, 512))
        for index in range(IMAGES // 3):
            page = Image.new("RGB", (1024, 512 + index), (90, 90, 90))
            page.paste(photograph, (0, 0))
            page.paste(photograph, (512, index))
            page.save(images / f"{index}.png")
    else:
        for index in range(IMAGES):
            noise = np.random.default_rng(index).integers(0, 256, (128, 128, 3), np.uint8)
            Image.fromarray(noise).save(images / f"{index}.png")
    command = [
        "screen",
        str(images),
        "--bundle",
        bundle,
        "--out",
        str(out),
        "--engine",
        "onnxruntime",
        "--threads",
        "1",
    ]
    if faces:
        command += ["--face-model", str(DEFAULT_BUNDLE / FACE_DETECTOR)]
    wanted = IMAGES // 3 * 2 if faces else IMAGES

    def key(line: dict[str, object]) -> str:
        return json.dumps([line.get("source"), line.get("box")])

    def doubled() -> int:
        return sum(count - 1 for count in Counter(map(key, lines_of(out)[0])).values())

    def look() -> list[str]:
        return lines_of(out)[1] + ([f"{doubled()} lines are there twice"] if doubled() else [])

    def count() -> tuple[int, int]:
        return wanted - len({key(line) for line in lines_of(out)[0]}), doubled()

    return Kind(command, [*command, "--resume"], look, count, out)


def of_video(folder: Path, bundle: str) -> Kind:
    """A video with everything that is written of it."""
    folder.mkdir(parents=True)
    clip, out = folder / "clip.mp4", folder / "out"
    with av.open(str(clip), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index in range(CLIP_FRAMES):
            noise = np.random.default_rng(index).integers(0, 256, (60, 80, 3), np.uint8).repeat(4, 0).repeat(4, 1)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(noise, "rgb24")))
        target.mux(stream.encode(None))
    command = ["screen", str(clip), "--bundle", bundle, "--out", str(out), "--annotate", "--faces", "none"]
    command += ["--every", "0.1", "--engine", "onnxruntime", "--threads", "1", "--overwrite"]

    def faces() -> list[str]:
        return [json.dumps([line["frame"], line["track"]]) for line in lines_of(out / "verdicts.jsonl")[0]]

    def look() -> list[str]:
        wrong = lines_of(out / "verdicts.jsonl")[1]
        if len(set(faces())) < len(faces()):
            wrong.append("verdicts.jsonl has a face twice")
        for name, check in (("tracks.json", _check_tracks), ("report.html", _check_page), ("annotated.mp4", _play)):
            if (out / name).exists():
                try:
                    check(out / name)
                except Exception as error:  # whatever a reader raises, the file is not valid
                    wrong.append(f"{name}: {type(error).__name__}: {error}")
        return wrong

    def count() -> tuple[int, int]:
        # One every 0.1 s of 6 s, at 25 frames per second: every third frame.
        return max(0, CLIP_FRAMES // 3 - len(set(faces()))), len(faces()) - len(set(faces()))

    return Kind(command, command, look, count, out)


def _check_tracks(path: Path) -> None:
    msgspec.json.decode(path.read_bytes(), type=TracksFile)


def _check_page(path: Path) -> None:
    if not path.read_text().rstrip().endswith("</html>"):
        raise ValueError("cut off")


def _play(path: Path) -> None:
    with av.open(str(path)) as video:
        for _ in video.decode(video=0):
            pass
