"""What is promised of p-values and accusations, before and after an enrolment and a recalibration, and what holds.

    python -m benchmarks.promises --json benchmarks/results/promises.json

A bundle is simulated many times, in a world in which the truth is known: features are normal, scores follow from them
(tests/enrolment/made.py). Each row is one promise: the level that is promised, and how often it was broken by fresh
images of the kind that it is of, with the standard error over the bundles. A promise "on average" is one over
bundles, and that of a bound one of each bundle.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from protoleak.bundle.calibration import Calibration
from protoleak.enrolment.fit import Setting, fit
from protoleak.enrolment.judging import p_values, recalibrated
from protoleak.enrolment.recalibrate import exchangeability
from protoleak.enrolment.rows import Rows
from protoleak.environment.machine import describe_machine
from protoleak.files import write_whole
from protoleak.runtime import conformal
from protoleak.strict_json import json_bytes
from tests.enrolment.made import NAMES, REAL, World, rows_in, setting_of

ALPHA, NEW = 0.05, len(NAMES)
RECORDED, FRESH = (87, 40, 40, 0), 400
COUNTS = (20, 40, 80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for seed in range(arguments.bundles):
        for name, promised, broken in promises(World.of(seed, 0.8)):
            found[name].append((promised, broken))
    rows = []
    for name, pairs in found.items():
        promised, broken = np.array(pairs).T
        row = {"promise": name, "level": promised.mean(), "broken": broken.mean()}
        row["standard_error"] = broken.std(ddof=1) / np.sqrt(len(broken))
        rows.append({key: round(float(value), 4) if key != "promise" else value for key, value in row.items()})
        print(json.dumps(rows[-1]))
    result = {"bundles": arguments.bundles, "rows": rows, "commit": describe_machine().commit}
    if arguments.json is not None:
        write_whole(arguments.json, [json_bytes(result)])


def promises(world: World) -> list[tuple[str, float, float]]:
    """Of one bundle: each promise, its level, and the share of fresh images that break it."""
    setting = setting_of(world, world.drawn(RECORDED))
    fresh = rows_in(world, *world.drawn((FRESH, FRESH, FRESH, FRESH)), setting)
    known, cameras = fresh.chosen(fresh.labels < NEW), fresh.chosen(fresh.labels == REAL)
    before = setting.calibration
    promise = conformal.promise(before, ALPHA)
    rejected = rejections(known, before)
    assert before.real_margins is not None
    level = conformal.accusation_level(len(before.real_margins), ALPHA, before.accusation_share)
    margins = conformal.real_margin(cameras.scores, REAL)
    accused = p_values(before.real_margins, margins) <= level
    rows = [
        ("known images are rejected, as exported: on average", promise.on_average, rejected),
        ("known images are rejected, as exported: the 95 % bound is exceeded", 0.05, rejected > promise.bound_95),
        ("camera originals like the list's are accused, as exported: on average", level, accused.mean()),
    ]
    for count in COUNTS:
        newcomers = rows_in(world, *world.drawn((0, 0, 0, count)), setting)
        fitted = fit(newcomers, setting, "new")
        if not fitted.within_limits:
            continue  # nothing would be written
        after = fitted.extended(fresh, setting.constants)
        own = after.chosen(after.labels == NEW)
        named = own.chosen(own.scores.argmax(axis=1) == NEW)
        group, kind = conformal.group(fitted.calibration, NEW, ALPHA)
        if kind == "generator" and len(named):
            share = (p_values(group, named.log_density) <= ALPHA).mean()
            rows.append((f"images of a generator enrolled from {count} are rejected by its list", ALPHA, share))
        of_cameras = after.chosen(after.labels == REAL)
        against = of_cameras.scores[:, REAL] - of_cameras.scores[:, NEW]
        ranks = conformal.rejecting_ranks(len(before.real_margins), level)
        share = (against <= before.real_margins[ranks - 1]).mean()
        rows.append(
            (f"camera originals are accused of a generator enrolled from {count}", 1 / (RECORDED[0] + 1), share)
        )
    return rows + on_site(world, setting)


def on_site(world: World, setting: Setting) -> list[tuple[str, float, float]]:
    """After a recalibration with images of a site whose cameras and generators are others."""
    before = setting.calibration
    moved = World(world.means + world.random.normal(0, 0.3, world.means.shape), world.random)
    site = rows_like(world, moved, (120, 60, 60, 0), setting)
    after = recalibrated(site, setting.classes, before, own_margins=True)
    fresh = rows_like(world, moved, (FRESH, FRESH, FRESH, 0), setting)
    cameras = fresh.chosen(fresh.labels == REAL)
    assert after.real_margins is not None
    level = conformal.accusation_level(len(after.real_margins), ALPHA, after.accusation_share)
    accused = p_values(after.real_margins, conformal.real_margin(cameras.scores, REAL)) <= level
    same = rows_like(world, world, (87, 0, 0, 0), setting)
    margins = [
        conformal.real_margin(some.scores, REAL) for some in (same, rows_like(world, world, (60, 0, 0, 0), setting))
    ]
    other = conformal.real_margin(cameras.scores[:60], REAL)
    promise = conformal.promise(after, ALPHA)
    return [
        ("known images are rejected, recalibrated: on average", promise.on_average, rejections(fresh, after)),
        ("known images are rejected there, not recalibrated", promise.on_average, rejections(fresh, before)),
        ("camera originals are accused, recalibrated: on average", level, accused.mean()),
        ("samples of one kind are called different at 5 %", 0.05, exchangeability(margins[0], margins[1]) <= 0.05),
        ("those of the other site are (power, no promise)", 0.05, exchangeability(margins[0], other) <= 0.05),
    ]


def rows_like(network: World, images: World, counts: tuple[int, int, int, int], setting: Setting) -> Rows:
    """Images of one world, as the network of another sees them."""
    rows: Rows = rows_in(network, *images.drawn(counts), setting)
    return rows


def rejections(rows: Rows, calibration: Calibration) -> float:
    """The share of images whose density is at most at α among its list."""
    best = rows.scores.argmax(axis=1)
    beyond = [
        p_values(conformal.group(calibration, index, ALPHA)[0], rows.log_density[best == index]) <= ALPHA
        for index in np.unique(best).tolist()
    ]
    return float(np.concatenate(beyond).mean())


if __name__ == "__main__":
    main()
