"""Leave one generator out: a bundle that was trained without it enrols it from some of its pictures.

    python -m benchmarks.enrol --bundle WITHOUT --full WITH --generator NAME --known DATA --photographs DIR \\
        --json benchmarks/results/enrol.json

WITHOUT is exported from a network that never saw the generator (`tools/default_bundle/left_out.py` trains one for
each), WITH from one that did. DATA is the data set of WITH, with its Split.json: the generator is enrolled from its
pictures of the parts train, val and calibration, and everything is measured on the part test. Each bundle sees each
picture once; a row of the result is reprinted as a line.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from protoleak.bundle.bundle import Bundle
from protoleak.dataset import list_images, read_dataset
from protoleak.enrolment.enrol import measure
from protoleak.enrolment.judging import Classes, accused, judged
from protoleak.enrolment.pictures import PictureRunner, Pictures
from protoleak.enrolment.report import Limits
from protoleak.enrolment.rows import Rows, rows_of
from protoleak.environment.machine import describe_machine
from protoleak.progress import shown_progress

COUNTS = (20, 40, 80)


@dataclass(frozen=True)
class Found:
    """What a bundle gives for the sets of pictures: their records, and the class of each picture by name."""

    pictures: Pictures
    names: npt.NDArray[np.str_]


def main() -> None:
    arguments = parse_arguments()
    bundle, full = Bundle.load(arguments.bundle), Bundle.load(arguments.full)
    dataset = read_dataset(arguments.known, full.manifest.real_class)
    label = dataset.generators.index(arguments.generator)
    enrolling = [
        sample.path
        for part in (dataset.train, dataset.validation, dataset.calibration)
        for sample in part
        if sample.label == label
    ]
    order = np.random.default_rng(0).permutation(len(enrolling))
    test = [(sample.path, dataset.generators[sample.label]) for sample in dataset.test]
    faces = [(file, "photograph") for file in list_images(arguments.photographs)]
    measured = [*test, *faces]
    started = time.monotonic()
    with shown_progress() as progress, PictureRunner(bundle, "onnxruntime") as runner:
        newcomers = runner.run([enrolling[index] for index in order], arguments.generator, progress)
        held_out = _found(runner.run([file for file, _ in measured], "held-out pictures", progress), measured)
    with shown_progress() as progress, PictureRunner(full, "onnxruntime") as runner:
        by_full = _found(runner.run([file for file, _ in measured], "held-out pictures", progress), measured)
    variant = bundle.manifest.variants[0]
    before = rows_of(held_out.pictures.records[variant], None)
    classes = Classes.of(bundle.manifest.generators, bundle.manifest.real_class)
    said = judged(before, classes, bundle.variant(variant).calibration, bundle.manifest.alpha)
    rows = [{"pictures": 0} | _figures(before, said, classes, held_out.names, arguments.generator)]
    for count in COUNTS:
        if count > len(newcomers):
            continue
        record = newcomers.records[variant].rows(np.arange(count))
        spent = time.process_time()
        fitted = measure(bundle, variant, arguments.generator, record, None, Limits()).fitted
        spent = time.process_time() - spent
        after, more = fitted.extended(before, bundle.score_constants()), classes.with_one_more(arguments.generator)
        said = judged(after, more, fitted.calibration, bundle.manifest.alpha)
        figures = _figures(after, said, more, held_out.names, arguments.generator)
        rows.append({"pictures": count, "fit_cpu_s": round(spent, 2), "offset": fitted.offset} | figures)
    everything = rows_of(by_full.pictures.records[variant], full.additions)
    classes = Classes.of(full.manifest.generators, full.manifest.real_class)
    said = judged(everything, classes, full.variant(variant).calibration, full.manifest.alpha)
    rows.append({"pictures": "full training"} | _figures(everything, said, classes, by_full.names, arguments.generator))
    for row in rows:
        print(json.dumps(row))
    result = {
        "what": "a generator enrolled by a bundle that was trained without it, beside full training",
        "generator": arguments.generator,
        "rows": rows,
        "seconds": round(time.monotonic() - started),
        "commit": describe_machine().commit,
    }
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bundle", "full", "known", "photographs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--generator", required=True)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _found(pictures: Pictures, measured: list[tuple[Path, str]]) -> Found:
    return Found(pictures, np.array([measured[index][1] for index in pictures.kept]))


def _figures(
    rows: Rows, said: npt.NDArray[np.int64], classes: Classes, names: npt.NDArray[np.str_], generator: str
) -> dict[str, Any]:
    """Of held-out pictures: how many of the generator, of the others, and of photographs, are named; and how well the
    generator's own score tells its pictures from all others."""
    real = None if classes.real is None else classes.names[classes.real]
    own, faces = names == generator, names == "photograph"
    others = ~own & ~faces & (names != real)
    called = np.array([*classes.names, "unknown"])[said]
    found: dict[str, Any] = {
        "recall": [int((called == generator)[own].sum()), int(own.sum())],
        "others_named": [int((called == names)[others].sum()), int(others.sum())],
        "others_called_it": int((called == generator)[~own & ~faces].sum()),
        "photographs_accused": [int(accused(said, classes)[faces].sum()), int(faces.sum())],
        "cameras_accused": [int(accused(said, classes)[names == real].sum()), int((names == real).sum())],
    }
    if generator in classes.names:
        column = classes.names.index(generator)
        margin = rows.scores[:, column] - np.delete(rows.scores, column, axis=1).max(axis=1)
        above = margin[own][:, None] - margin[~own][None]
        found["auroc"] = round(float((above > 0).mean() + 0.5 * (above == 0).mean()), 4)
    return found


if __name__ == "__main__":
    main()
