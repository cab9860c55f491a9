"""Whether what must not matter gives a class away: small classifiers on it, before and after the pipeline of views.

A step of build.py:

    python tools/default_bundle/shortcuts.py --data DATA --json benchmarks/results/shortcuts.json

Almost every class has one writer, one size and one framing. The views of training are to take that away. A random
forest is trained on three groups of numbers of the training images' views, and asked about views of validation images:

- writer: format, quality, subsampling and resampling of the last file, which are drawn alike for every class;
- geometry: size of the image, place and size of the face, distance of its eyes from where FFHQ's alignment has them;
- surface: mean colour, contrast, blur, blockiness, saturation: what people wear and stand before is part of it.

The step fails where the writer is told apart; the other two are recorded.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, its own folder is there instead

from protoleak.arrays import Float64Array, UInt8Array
from protoleak.environment.machine import describe_machine
from protoleak.errors import MediaError
from protoleak.faces.base import Face
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.images.framing import Framing
from protoleak.training.face_views.draw import WRITERS, draw_face_view
from protoleak.training.face_views.resampling import FILTERS
from protoleak.training.face_views.view import FaceView
from protoleak.training.train import DEFAULT_FACE_MODEL
from tools.default_bundle.sources import CAMERAS, KNOWN, parts_of

VIEWS = 2
SEED = 0  # of the training views
TREES, SMALLEST_LEAF = 300, 3
MOST_ABOVE_CHANCE = 0.10  # of the writer's balanced accuracy
FFHQ_EYES = np.array([[0.38, 0.48], [0.62, 0.48]])  # shares of the side


@dataclass(frozen=True)
class Shown:
    """One view as it arrives; `view` is None for the image as found."""

    image: UInt8Array
    face: Face
    view: FaceView | None
    suffix: str


Group = Callable[[Shown], list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "json"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    framer = Framer(Framing(("face",)), LargestFace(DEFAULT_FACE_MODEL))
    groups: dict[str, Group] = {"writer": writer, "geometry": geometry, "surface": surface}
    rows: dict[tuple[str, str], list[tuple[str, dict[str, list[float]]]]] = {}
    for collection in (*KNOWN, *CAMERAS):
        for file, part in parts_of(arguments.data, collection).items():
            if part not in ("train", "val"):
                continue
            for when, shown in shown_views(file, framer):
                numbers = {name: group(shown) for name, group in groups.items()}
                rows.setdefault((when, part), []).append((collection.label, numbers))
    labels = sorted({collection.label for collection in (*KNOWN, *CAMERAS)})
    record: dict[str, object] = {
        "what": "balanced accuracy of a random forest on what must not matter",
        "chance": round(1 / len(labels), 3),
        "commit": describe_machine().commit,
    }
    for when in ("as found", "in training"):
        train, test = rows[when, "train"], rows[when, "val"]
        record[when] = {
            "train": len(train),
            "test": len(test),
            **{name: round(accuracy(train, test, [name], labels), 3) for name in groups},
            "all": round(accuracy(train, test, list(groups), labels), 3),
        }
    arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))
    found = record["in training"]
    assert isinstance(found, dict)
    if found["writer"] > 1 / len(labels) + MOST_ABOVE_CHANCE:
        raise SystemExit(f"the writer of a view gives its class away: balanced accuracy {found['writer']}")


def shown_views(file: Path, framer: Framer) -> list[tuple[str, Shown]]:
    """An image as found, and VIEWS of it; none where it shows no face."""
    try:
        opened, face = framer.open(file)
    except MediaError:
        return []
    assert face is not None
    pixels = np.asarray(opened.image)
    found = [("as found", Shown(pixels, face, None, file.suffix.lower()))]
    for index in range(1, VIEWS + 1):
        view = draw_face_view(SEED, opened.sha256, index)
        made, moved = view.made(pixels, face)
        found.append(("in training", Shown(made, moved, view, "")))
    return found


def writer(shown: Shown) -> list[float]:
    """Of the last file and the last resizing; of an image as found, its suffix alone."""
    if shown.view is None:
        return [float(shown.suffix == ".png"), 0.0, 0.0, 0.0, 0.0]
    last = shown.view.second_writer or shown.view.writer
    return [
        float([kind for kind, _ in WRITERS].index(last.kind)),
        float(last.quality),
        float(last.subsampling),
        float(last.progressive),
        float(FILTERS.index(shown.view.resampler)),
    ]


def geometry(shown: Shown) -> list[float]:
    height, width = shown.image.shape[:2]
    box = shown.face.box
    x, y = box.centre
    residual = 1.0
    if shown.face.landmarks is not None:
        eyes = np.array(shown.face.landmarks[:2]) / (width, height)
        residual = float(min(np.abs(eyes - FFHQ_EYES).max(), np.abs(eyes[::-1] - FFHQ_EYES).max()))
    side = max(box.width, box.height)
    return [width, height, side, side / min(width, height), x / width, y / height, residual]


def surface(shown: Shown) -> list[float]:
    grey = cv2.cvtColor(shown.image, cv2.COLOR_RGB2GRAY).astype(np.float64)
    steps = np.abs(np.diff(grey, axis=1)).mean(axis=0)
    at_blocks = steps[7::8].mean() if len(steps) > 8 else 0.0
    saturation = cv2.cvtColor(shown.image, cv2.COLOR_RGB2HSV)[..., 1]
    return [
        *shown.image.reshape(-1, 3).mean(axis=0).tolist(),
        float(grey.std()),
        float(np.log1p(cv2.Laplacian(grey, cv2.CV_64F).var())),
        float(at_blocks / max(steps.mean(), 1e-6)),
        float(saturation.mean()),
    ]


def accuracy(
    train: Sequence[tuple[str, dict[str, list[float]]]],
    test: Sequence[tuple[str, dict[str, list[float]]]],
    names: Sequence[str],
    labels: Sequence[str],
) -> float:
    """Balanced accuracy on `test` of a random forest that learnt from `train`."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import balanced_accuracy_score

    def of(rows: Sequence[tuple[str, dict[str, list[float]]]]) -> tuple[Float64Array, npt.NDArray[np.int64]]:
        numbers = np.array([[value for name in names for value in groups[name]] for _, groups in rows])
        return numbers, np.array([labels.index(label) for label, _ in rows])

    forest = RandomForestClassifier(
        TREES, min_samples_leaf=SMALLEST_LEAF, class_weight="balanced_subsample", random_state=SEED
    )
    forest.fit(*of(train))
    numbers, expected = of(test)
    return float(balanced_accuracy_score(expected, forest.predict(numbers)))


if __name__ == "__main__":
    main()
