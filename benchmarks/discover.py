"""Are generators that a bundle doesn't know found as clusters, among photographs that it doesn't know either?

    python -m benchmarks.discover --bundle BUNDLE --unseen DIR --unseen DIR --unseen DIR --photographs DIR [...] \\
        --json benchmarks/results/discover.json

Each DIR holds the images of one generator, and the photographs are of cameras, that BUNDLE saw nothing of. Streams
are drawn, half of them photographs and the other half of the generators in equal numbers, and clustered as `protoleak
discover` does it: by traces, and by embeddings for comparison. "All" takes every image of a stream as unknown;
"called unknown" takes all images of the folders that the bundle itself calls so, "alone" those of one generator
among them, and "alone among photographs" these with the photographs that are called unknown. Purity is the share of the
clustered images that are of the same generator, or photographs, as most of their cluster. A cluster of photographs is
marked where `enrol` asks for --force.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.calibration import Calibration
from protoleak.dataset import list_images
from protoleak.discovery.clusters import find_clusters
from protoleak.enrolment.images import ImageRunner
from protoleak.enrolment.judging import UNKNOWN, judged
from protoleak.enrolment.rows import Rows, calibration_rows, rows_of
from protoleak.environment.machine import describe_machine
from protoleak.files import write_whole
from protoleak.metrics.classes import Classes
from protoleak.progress import shown_progress
from protoleak.strict_json import json_bytes

PHOTOGRAPH = "photographs"
ENOUGH = 20  # images of a generator in one cluster, with which it counts as found
SEEDS = 5


@dataclass(frozen=True)
class Images:
    """All that streams are drawn from, with what each is of."""

    rows: Rows
    traces: Float32Array | None
    names: npt.NDArray[np.str_]
    unknown: npt.NDArray[np.bool_]


def main() -> None:
    arguments = parse_arguments()
    started = time.monotonic()
    bundle = Bundle.load(arguments.bundle)
    variant = bundle.manifest.variants[0]
    classes = Classes.of(bundle.manifest.generators, bundle.manifest.real_class)
    calibration, record = bundle.variant(variant).calibration, calibration_rows(bundle, variant)
    images = run(bundle, arguments.unseen, arguments.photographs, classes, calibration)
    generators = [folder.name for folder in arguments.unseen]
    rows: list[dict[str, Any]] = []
    streams = [("all", seed, drawn(images.names, generators, seed)) for seed in range(SEEDS)]
    streams.append(("called unknown", 0, np.flatnonzero(images.unknown)))
    for generator, others in itertools.product(generators, ((), (PHOTOGRAPH,))):
        kind = f"{generator} alone{' among photographs' if others else ''}"
        streams.append((kind, 0, np.flatnonzero(images.unknown & np.isin(images.names, [generator, *others]))))
    whitening = bundle.enrolment.traces()
    recorded = None if whitening is None else whitening.of_features(record.features)
    for kind, seed, chosen in streams:
        for space, traces in (("traces", images.traces), ("embedding", None)):
            if space == "embedding" and " alone" in kind:
                continue
            given = None if traces is None else traces[chosen]
            own = images.rows.chosen(chosen)
            found = find_clusters(own, classes, calibration, record, traces=given, recorded_traces=recorded)
            row = {"stream": kind, "seed": seed, "space": space}
            row |= figures(images.names[chosen], [(one.members, one.near_cameras) for one in found], generators)
            rows.append(row | {"stability": [round(one.stability, 2) for one in found]})
            print(json.dumps(rows[-1]), flush=True)
    result = {
        "unseen": {name: int((images.names == name).sum()) for name in (*generators, PHOTOGRAPH)},
        "called_unknown": {
            name: int(((images.names == name) & images.unknown).sum()) for name in (*generators, PHOTOGRAPH)
        },
        "rows": rows,
        "seconds": round(time.monotonic() - started),
        "commit": describe_machine().commit,
    }
    if arguments.json is not None:
        write(arguments.json, result)


def write(file: Path, result: dict[str, Any]) -> None:
    """Adds a run to those of other generators that a file holds."""
    runs = json.loads(file.read_text())["runs"] if file.exists() else []
    runs = [run for run in runs if run["unseen"] != result["unseen"]]
    what = "generators that a bundle doesn't know, found among photographs that it doesn't know"
    write_whole(file, [json_bytes({"what": what, "runs": [*runs, result]})])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--unseen", type=Path, action="append", required=True)
    parser.add_argument("--photographs", type=Path, nargs="+", required=True)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def run(
    bundle: Bundle, unseen: list[Path], photographs: list[Path], classes: Classes, calibration: Calibration
) -> Images:
    """What the bundle gives of every image."""
    named = [(file, folder.name) for folder in unseen for file in list_images(folder)]
    named += [(file, PHOTOGRAPH) for folder in photographs for file in list_images(folder)]
    variant = bundle.manifest.variants[0]
    with (
        shown_progress() as progress,
        ImageRunner(bundle, variants=(variant,), traces=bundle.enrolment.traces()) as runner,
    ):
        found = runner.run([file for file, _ in named], "images", progress)
    rows = rows_of(found.records[variant], bundle.enrolment.additions)
    names = np.array([named[index][1] for index in found.kept])
    return Images(rows, found.traces, names, judged(rows, classes, calibration, bundle.manifest.alpha) == UNKNOWN)


def drawn(names: npt.NDArray[np.str_], generators: list[str], seed: int) -> npt.NDArray[np.int64]:
    """The images of a stream: as many photographs as images by generators."""
    random = np.random.default_rng(seed)
    share = -(-np.count_nonzero(names == PHOTOGRAPH) // len(generators))
    parts = [random.permutation(np.flatnonzero(names == generator))[:share] for generator in generators]
    generated = np.concatenate(parts)
    return np.concatenate([generated, random.permutation(np.flatnonzero(names == PHOTOGRAPH))[: len(generated)]])


def figures(
    names: npt.NDArray[np.str_], clusters: list[tuple[npt.NDArray[np.int64], bool]], generators: list[str]
) -> dict[str, Any]:
    """Purity, the largest cluster of each generator, and the clusters of photographs.

    Args:
        clusters: the members of each, and whether it is marked.
    """
    best, inside = dict.fromkeys(generators, 0), dict.fromkeys(generators, 0)
    marked_generators: list[str] = []
    photographs: list[int] = []
    unmarked = same = clustered = 0
    for members, marked in clusters:
        found, counts = np.unique(names[members], return_counts=True)
        most, count = str(found[counts.argmax()]), int(counts.max())
        same, clustered = same + count, clustered + len(members)
        if most == PHOTOGRAPH:
            photographs.append(len(members))
            unmarked += not marked
        else:
            best[most], inside[most] = max(best[most], count), inside[most] + count
            marked_generators += [most] if marked else []
    return {
        "images": len(names),
        "clustered": clustered,
        "purity": round(same / clustered, 3) if clustered else None,
        "largest_cluster_of": best,
        "in_clusters_of": inside,
        "found": sum(count >= ENOUGH for count in best.values()),
        "photograph_clusters": photographs,
        "photograph_clusters_not_marked": unmarked,
        "generators_marked_too": marked_generators,
    }


if __name__ == "__main__":
    main()
