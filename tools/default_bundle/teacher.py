"""The light latent encoder against the one that it was distilled from, on real generators, five seeds.

    python tools/default_bundle/teacher.py --work WORK --latent-encoder ENCODER --teacher WEIGHTS/taef2_encoder.onnx \\
        --json benchmarks/results/teacher.json

The same training, with the latents of each and VIEWS altered views of every image instead of the recipe's (the teacher
takes an order of magnitude longer), measured as in ablations.py. Nothing is chosen by it. A row that the JSON file has
already is kept, and not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, its own folder is there instead

from protoleak.cli.settings_file import read_settings
from protoleak.training.settings import TrainingSettings
from tools.default_bundle.ablations import SEEDS, Images, in_words, row_of

VIEWS = 2
TEACHER_RANGE = (0.0, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("work", "latent-encoder", "teacher", "json"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    read = read_settings(arguments.work / "train.toml", TrainingSettings)
    settings = msgspec.structs.replace(read, views=VIEWS, balanced_views=False)
    rows = json.loads(arguments.json.read_text())["rows"] if arguments.json.exists() else []
    measured_before = {row["variation"] for row in rows}
    for name, file, black_and_white in (
        ("light encoder", arguments.latent_encoder, (0.0, 255.0)),
        ("teacher", arguments.teacher, TEACHER_RANGE),
    ):
        if name in measured_before:
            continue
        images = Images(arguments.work, file, settings, black_and_white)
        measured = [images.measured(msgspec.structs.replace(settings, seed=seed), {}) for seed in SEEDS]
        rows.append(row_of(name, measured))
        print(in_words(rows[-1]), flush=True)
        record = {
            "what": f"the recipe's training on the latents of each encoder, {VIEWS} views of an image, seed by seed",
            "seeds": len(SEEDS),
            "rows": rows,
        }
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
