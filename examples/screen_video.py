"""Screens a video, writes what `protoleak screen` writes, and has a sink of its own beside that.

    python examples/screen_video.py [VIDEO] [--out FOLDER]

The sink keeps the sharpest face of each track, as the network saw it: FOLDER/faces/track_1.png, … Left out, the video
is a short one that is made of the photograph beside this file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

import protoleak

PHOTOGRAPH = Path(__file__).with_name("images") / "photograph.jpg"


class SharpestFaces:
    """A `protoleak.Sink`: it is given the source, every frame, every event with its face, and the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sharpest: dict[int, float] = {}

    def start(self, info: protoleak.SourceInfo) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        print(f"{Path(info.name).name}: {info.width}×{info.height} pixels")

    def frame(self, frame: protoleak.Frame, faces: Sequence[protoleak.TrackedFace]) -> None:
        """Every frame with the faces in it; of no use here."""

    def event(self, event: protoleak.Event, crop: np.ndarray | None) -> None:
        if not isinstance(event, protoleak.FaceEvent) or crop is None:
            return
        if event.sharpness > self._sharpest.get(event.track, 0.0):
            self._sharpest[event.track] = event.sharpness
            Image.fromarray(crop).save(self.folder / f"track_{event.track}.png")

    def finish(self, statistics: protoleak.Statistics) -> None:
        print(f"{statistics.frames_processed} frames, {statistics.attributed} faces attributed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("screened"), metavar="FOLDER")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    video = options.video or make_video(options.out / "photograph.mp4")
    settings = protoleak.StreamSettings(every=0.5)
    with (
        protoleak.load() as screener,
        protoleak.open_output_folder(options.out, screener, settings, annotate=True, overwrite=True) as outputs,
    ):
        sinks = [outputs, SharpestFaces(options.out / "faces")]
        for event in screener.stream(video, every=settings.every, sinks=sinks):
            if isinstance(event, protoleak.FaceEvent):
                print(f"{event.timestamp:6.2f} s, track {event.track}: {event.verdict.label}")
            elif isinstance(event, protoleak.TrackEvent):
                verdict = event.track_verdict
                print(f"track {event.track} is {verdict.label}, on {verdict.evidence} faces, p = {verdict.p_value:.3f}")
    print(f"see {options.out / 'report.html'}")


def make_video(path: Path) -> Path:
    """Two seconds of the photograph, moving slowly."""
    image = Image.open(PHOTOGRAPH).convert("RGB")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=12, options={"qmin": "1", "qmax": "2"})
        stream.width, stream.height, stream.pix_fmt = 480, 480, "yuv420p"
        for step in range(24):
            moved = image.crop((step, 0, step + 480, 480))
            file.mux(stream.encode(av.VideoFrame.from_image(moved)))
        file.mux(stream.encode())
    return path


if __name__ == "__main__":
    main()
