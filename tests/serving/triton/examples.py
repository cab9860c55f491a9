"""Nine images for servers to judge, what `protoleak screen` says of them, and how answers are compared with that."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from protoleak.cli.app import main
from protoleak.images.decode import ORIENTATION_TAG
from tests.paths import EXAMPLES

# What may differ: where the image came from, how long it took, and what ran the graphs.
OWN = ("source", "milliseconds", "engine")


def nine_examples(folder: Path) -> list[Path]:
    """The six examples, two of them in one image, one that lies on its side, and one without a face."""
    examples = sorted(path for path in (EXAMPLES / "images").iterdir() if path.suffix in (".jpg", ".png"))
    made = [folder / "two.png", folder / "turned.jpg", folder / "nobody.png"]
    first, second = (Image.open(path).convert("RGB").resize((320, 320)) for path in examples[:2])
    two = Image.new("RGB", (660, 320), (120, 120, 120))
    two.paste(first, (0, 0))
    two.paste(second, (340, 0))
    two.save(made[0])
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    first.transpose(Image.Transpose.ROTATE_90).save(made[1], quality=95, exif=exif)
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (120, 90, 3), dtype=np.uint8)).save(made[2])
    assert len(examples) == 6
    return [*examples, *made]


def screened(images: Iterable[Path], bundle: Path | None, out: Path) -> dict[str, list[dict[str, Any]]]:
    """Path → its lines, from `protoleak screen --out`, in the arithmetic of Triton's graphs."""
    sources = [str(path) for path in images]
    chosen = [] if bundle is None else ["--bundle", str(bundle)]
    main(["screen", *sources, *chosen, "--compute", "exact", "--out", str(out)])
    found: dict[str, list[dict[str, Any]]] = {source: [] for source in sources}
    for line in out.read_text().splitlines():
        record = json.loads(line)
        found[record["source"]].append(record)
    return found


def check_lines(answer: bytes, expected: list[dict[str, Any]]) -> None:
    """An element of a server's answer against the lines of `screen`: equal, but for OWN, the image's name at the
    beginning of a reason, and the last digits of the numbers that p-values are ranks of."""
    found = [json.loads(line) for line in answer.splitlines()]
    assert [_exact(record) for record in found] == [_exact(record) for record in expected]
    for one, other in zip(found, expected, strict=True):
        if one["verdict"] is not None:
            assert one["log_density"] == pytest.approx(other["log_density"], rel=1e-4, abs=1e-4)
            assert one["scores"] == pytest.approx(other["scores"], rel=1e-4, abs=1e-4)
            assert one["milliseconds"]
            assert one["engine"]["name"]


def _exact(record: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in record.items() if name not in (*OWN, "log_density", "scores")}
    if kept["reason"] is not None:
        kept["reason"] = kept["reason"].split(": ", 1)[1]
    kept.pop("why", None)  # features that weigh the same may change places
    if kept.get("probabilities") is not None:
        kept["probabilities"] = {name: round(value, 3) for name, value in kept["probabilities"].items()}
    return kept
