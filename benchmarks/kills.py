"""Kills runs at random moments with SIGKILL, continues them, and looks for what was lost, doubled or left broken.

    python benchmarks/kills.py --kills 1000 --json benchmarks/results/kills.json
    python benchmarks/kills.py --kills 18 --kinds images,video

Kinds: images, faces, video, train, distill, export. Everything is made by script and small, so that a run lasts
seconds. A run is killed again and again and continued with --resume (a video and an export begin anew) until it ends by
itself; after every kill what is on the disk is read. It exits with status 1 where anything is lost, doubled or broken.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import msgspec
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

from protoleak.bundle.bundle import DEFAULT_BUNDLE, Bundle
from protoleak.bundle.reader import FACE_DETECTOR
from protoleak.bundle.writer import write_bundle
from protoleak.environment.machine import describe_machine
from protoleak.video.outputs.records import TracksFile
from tests.export.conftest import write_data
from tests.tiny_bundle import tiny_bundle_files
from tests.training.images import make_image as training_image
from tests.training.images import write_latent_encoder

ROOT = Path(__file__).resolve().parents[1]
IMAGES, CLIP_FRAMES = 60, 150
SETTINGS = ROOT / "tests" / "cli" / "small_training.toml"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one kind.

    Attributes:
        kills: that hit a running process.
        runs: that were killed until they ended by themselves.
        lost, doubled: results that an ended run lacks, or has twice.
        broken: files that were not valid after a kill, one line each.
    """

    kind: str
    kills: int
    runs: int
    lost: int
    doubled: int
    broken: list[str]


@dataclass
class Kind:
    """A command that is killed.

    Attributes:
        begin, go_on: the command at first, and after a kill; None for `go_on` begins anew.
        look: reads what is on the disk after a kill and returns what is wrong with it.
        count: reads what an ended run has made: lost and doubled results.
        out: what is removed before a new run.
    """

    begin: list[str]
    go_on: list[str]
    look: Callable[[], list[str]]
    count: Callable[[], tuple[int, int]]
    out: Path
    longest: float = field(default=0.0)


def killed(kind: Kind, kills: int, chance: random.Random, name: str, cache: Path) -> Found:
    """Runs the command as often as it takes for so many kills."""
    hit = runs = lost = doubled = 0
    broken: list[str] = []
    kind.longest = _seconds(kind, cache)
    while hit < kills:
        _remove(kind.out)
        runs += 1
        command = kind.begin
        while True:
            begun, process = time.monotonic(), _start(command, cache)
            try:
                process.wait(timeout=chance.uniform(0, kind.longest) if hit < kills else None)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                hit += 1
                broken += [f"{name}: {line}" for line in kind.look()]
                command = kind.go_on
                continue
            if command is kind.begin:  # the machine may have become faster or slower
                kind.longest = time.monotonic() - begun
            if process.returncode not in (0, 1):
                broken.append(f"{name}: a run that was continued ended with status {process.returncode}")
            break
        more_lost, more_doubled = kind.count()
        lost, doubled = lost + more_lost, doubled + more_doubled
    return Found(kind=name, kills=hit, runs=runs, lost=lost, doubled=doubled, broken=broken)


def _start(command: Sequence[str], cache: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | ONE_THREAD | {"PROTOLEAK_CACHE": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-m", "protoleak", *command],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _seconds(kind: Kind, cache: Path) -> float:
    """How long the command takes when nobody kills it."""
    _remove(kind.out)
    begun = time.monotonic()
    status = _start(kind.begin, cache).wait()
    if status not in (0, 1):
        sys.exit(f"protoleak {' '.join(kind.begin)} ended with status {status} when nobody killed it")
    return time.monotonic() - begun


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)


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


def of_training(folder: Path) -> Kind:
    """A training, whose weights are to be those of a run that nobody killed."""
    data, encoder, out = folder / "data", folder / "encoder.onnx", folder / "model"
    write_data(data, {"columns": "columns", "rows": "rows"}, (20, 6, 12, 4))
    write_latent_encoder(encoder)
    command = ["train", str(data), "--latent-encoder", str(encoder), "--out", str(out), "--settings", str(SETTINGS)]
    command += ["--epochs", "12", "--workers", "0"]
    return _of_model(command, out)


def of_distillation(folder: Path) -> Kind:
    """A student, likewise."""
    images, encoder, out = folder / "images", folder / "encoder.onnx", folder / "student"
    images.mkdir(parents=True)
    for index in range(16):
        training_image("rows", index, (64, 64)).save(images / f"{index}.png")
    write_latent_encoder(encoder)
    command = ["distill", "--teacher", str(encoder), "--data", str(images), "--out", str(out), "--widths", "4,4,4"]
    command += ["--blocks", "1,1,1", "--views", "1", "--epochs", "6", "--batch-size", "8", "--workers", "0"]
    return _of_model(command, out)


def _of_model(command: list[str], out: Path) -> Kind:
    """What is continued to the same weights. The first run to end says which these are."""
    first: list[str] = []

    def look() -> list[str]:
        wrong = []
        for path in out.rglob("*.json"):
            try:
                json.loads(path.read_bytes())
            except ValueError as error:
                wrong.append(f"{path.name}: {error}")
        return wrong

    def count() -> tuple[int, int]:
        found = sorted(out.rglob("*.safetensors"))
        if not found:
            return 1, 0
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()
        first.append(digest)
        return int(digest != first[0]), 0

    return Kind(command, [*command, "--resume"], look, count, out)


def of_export(folder: Path, cache: Path) -> Kind:
    """A bundle: there is none, or a whole one."""
    data, encoder, model, out = folder / "data", folder / "encoder.onnx", folder / "model", folder / "bundle"
    write_data(data, {"columns": "columns", "rows": "rows"}, (20, 6, 12, 4))
    write_latent_encoder(encoder)
    train = ["train", str(data), "--latent-encoder", str(encoder), "--out", str(model), "--settings", str(SETTINGS)]
    if status := _start([*train, "--epochs", "2", "--workers", "0"], cache).wait():
        sys.exit(f"the model to export could not be trained: status {status}")
    command = ["export", str(model), "--data", str(data), "--out", str(out)]

    def look() -> list[str]:
        if not out.exists():
            return []
        try:
            Bundle.load(out)
        except Exception as error:  # whatever it is, the bundle is not valid
            return [f"bundle: {error}"]
        return []

    def count() -> tuple[int, int]:
        return int(not out.exists() or bool(look())), 0

    return Kind(command, command, look, count, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="of all kinds together")
    parser.add_argument("--kinds", default="images,faces,video,train,distill,export")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names, chance = options.kinds.split(","), random.Random(options.seed)
    results = []
    with tempfile.TemporaryDirectory() as place:
        folder, cache = Path(place), Path(place) / "cache"
        bundle = folder / "bundle"
        write_bundle(bundle, *tiny_bundle_files())
        makers: dict[str, Callable[[], Kind]] = {
            "images": lambda: of_images(folder / "images", str(bundle), faces=False),
            "faces": lambda: of_images(folder / "faces", str(bundle), faces=True),
            "video": lambda: of_video(folder / "video", str(bundle)),
            "train": lambda: of_training(folder / "train"),
            "distill": lambda: of_distillation(folder / "distill"),
            "export": lambda: of_export(folder / "export", cache),
        }
        for name in names:
            results.append(killed(makers[name](), -(-options.kills // len(names)), chance, name, cache))
            one = results[-1]
            print(f"{name}: {one.kills} kills in {one.runs} runs, {one.lost} lost, {one.doubled} doubled", flush=True)
            for line in one.broken:
                print(f"  {line}")
            if options.json:  # after each kind: a run of hours may itself be ended
                facts = {"machine": describe_machine(), "found": results}
                options.json.write_text(json.dumps(msgspec.to_builtins(facts), indent=1) + "\n")
    sys.exit(any(one.lost or one.doubled or one.broken for one in results))


if __name__ == "__main__":
    main()
