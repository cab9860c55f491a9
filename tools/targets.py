"""Writes docs/targets.md: what was asked for beside what was measured, what is missed first.

    python tools/targets.py

Every number comes from a file in benchmarks/results. Run it after any of the measurements.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec

from protoleak.evaluation.results import Report

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, its own folder is there instead

from tools.default_bundle.targets import target_rows  # noqa: E402

PAGE = ROOT / "docs" / "targets.md"
RESULTS = ROOT / "benchmarks" / "results"
ACCUSED = "real faces accused"
LOOKS = 2.5  # what the three looks of the default bundle may cost, in times of one look
NOT_MEASURED = (
    ("TensorRT on a GPU, and anything on a Jetson", "they were not to be had: [what was run on a GPU](deploy.md)"),
    (
        "what int8 convolutions reach of AMX's int8 tiles",
        "the products of matrices that were to be the limit reached less",
    ),
    ("macro AUC on WILD", "its images could not be had: [the commands for it](wild.md)"),
)


class Row(NamedTuple):
    """A target.

    Attributes:
        met: None where it was not measured.
        file: the results that the number is from.
    """

    what: str
    measured: str
    asked: str
    met: bool | None
    file: str


def main() -> None:
    PAGE.write_text("\n".join(page()) + "\n", encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def page() -> Iterator[str]:
    """The page as Markdown."""
    every = list(rows())
    missed, met = [row for row in every if row.met is False], [row for row in every if row.met]
    yield from ("# Targets, missed and met", "")
    yield from ("<!-- Written by tools/targets.py from the files of benchmarks/results. Do not edit. -->", "")
    yield "What was asked of each part before it was built, beside what was measured. Each row links the file that its"
    yield "number is from; [Benchmarks](benchmarks.md) has the command that prints it again."
    accused = [row for row in every if ACCUSED in row.what]
    yield from ("", "## The worst error first, met or missed", "", *table(accused))
    yield from ("", f"## Missed: {len(missed)} of {len(every)}", "", *table(missed))
    yield from ("", f"## Met: {len(met)}", "", *table(met))
    yield from ("", "## Not measured", "", "| what | why |", "|---|---|")
    yield from (f"| {what} | {why} |" for what, why in NOT_MEASURED)
    yield from (f"| {row.what} | [no number]({link(row.file)}) |" for row in every if row.met is None)


def table(some: list[Row]) -> Iterator[str]:
    yield from ("| what | measured | asked for |", "|---|---|---|")
    yield from (f"| {row.what} | [{row.measured}]({link(row.file)}) | {row.asked} |" for row in some)


def link(file: str) -> str:
    return f"../benchmarks/results/{file}.json"


def rows() -> Iterator[Row]:
    """Every target; real faces accused first."""
    yield from default_bundle()
    yield from newcomers(read("newcomers"))
    yield from discovery(read("discover"))
    yield from speed()
    yield from speed_with_amx(read("amx"))
    yield from videos()
    yield from serving(read("serving"))
    yield from hardening()


def default_bundle() -> Iterator[Row]:
    file = "evaluate_default_bundle"
    report = msgspec.json.decode((RESULTS / f"{file}.json").read_bytes(), type=Report)
    for row in target_rows(next(one for one in report.variants if one.variant == "fp32")):
        measured = "–" if row.value is None else f"{row.value:.3f} {row.which}".strip()
        yield Row(f"default bundle: {row.text}", measured, f"{row.sign} {row.limit:g}", row.met, file)


def newcomers(found: dict[str, Any]) -> Iterator[Row]:
    """Of generators that were enrolled from 40 images, or from 20 where there are no more."""
    full = {row["generator"]: row for row in found["rows"] if row["images"] == "full training"}
    enrolled: dict[str, dict[str, Any]] = {}
    for row in found["rows"]:
        if row["images"] in (20, 40) and not row["with_photographs"]:
            enrolled[row["generator"]] = row  # 40 stands after 20
    share, which = min((row["named"] / full[name]["named"], name) for name, row in enrolled.items())
    yield Row(
        "enrolled: named, of those that full training names",
        f"{share:.0%} `{which}`",
        "≥ 80 %",
        share >= 0.8,
        "newcomers",
    )
    more, which = max(
        (row["photographs_accused"] - row["photographs_accused_before"], name) for name, row in enrolled.items()
    )
    yield Row(
        "enrolled: real faces accused more than before, of 100", f"{more:.1f} `{which}`", "none", more <= 0, "newcomers"
    )


def discovery(found: dict[str, Any]) -> Iterator[Row]:
    streams = [
        row for run in found["runs"] for row in run["rows"] if row["space"] == "traces" and row["stream"] == "all"
    ]
    purest, least = [row["purity"] for row in streams], 20
    yield Row(
        "discovered clusters: purity, in the worst stream",
        f"{min(purest):.2f}",
        "≥ 0.9",
        min(purest) >= 0.9,
        "discover",
    )
    sizes = [size for row in streams for size in row["largest_cluster_of"].values()]
    enough = sum(size >= least for size in sizes)
    measured = f"{enough} of {len(sizes)} generators in streams"
    yield Row(
        f"discovered: a cluster of {least} images of each generator",
        measured,
        "all",
        enough == len(sizes),
        "discover",
    )
    unmarked = sum(row["photograph_clusters_not_marked"] for row in streams)
    yield Row(
        "discovered: clusters of photographs that aren't marked as such", str(unmarked), "0", unmarked == 0, "discover"
    )


def speed() -> Iterator[Row]:
    timed = {
        (row["engine"], row["compute"]): row["timing"]["per_face"]
        for row in read("bench_default_bundle")["rows"]
        if row["batch"] == 1 and row["timing"]
    }
    fastest = min(time for (engine, _), time in timed.items() if engine == "openvino")
    plain, fp32 = timed["onnxruntime", "exact"], timed["openvino", "exact"]
    yield at_most(
        "a face, OpenVINO, one at a time, ms", fastest, 6 * LOOKS, "bench_default_bundle", " (6 for one look)"
    )
    yield at_most(
        "a face, ONNX Runtime, one at a time, ms", plain, 12 * LOOKS, "bench_default_bundle", " (12 for one look)"
    )
    yield at_most("ONNX Runtime's time in fp32, of OpenVINO's", plain / fp32, 1.3, "bench_default_bundle")
    sized = [row for row in read("engines")["rows"] if row["baseline"]]
    best = max(sized, key=lambda row: row["baseline"]["end_to_end_ratio"])
    what = "an encoder of Stable Diffusion 2.1's size, times as fast as PyTorch"
    yield at_least(what, best["baseline"]["end_to_end_ratio"], 4, "engines")
    cold, outside = read("cold_start"), read("outside")
    yield at_most("from typing to the verdict, s", cold["median"], cold["target"], "cold_start")
    whole = next(row["after_ms"] for row in outside["stages"] if row["stage"] == "all")
    yield at_most("a face outside the networks, ms", whole, outside["target_ms"], "outside")
    density = read("density")
    for row in density["rows"]:
        if row["form"] == "clusters":
            what = f"density of {density['references']:,} images, {row['engine']}, ms"
            yield at_most(what, row["median_ms"], density["target_ms"], "density")
    training = read("training")
    yield at_most("training on 4,000 latents, s", training["seconds"], training["target"], "training")


def speed_with_amx(found: dict[str, Any]) -> Iterator[Row]:
    """The medians of the runs, since other work on the same host made some of them slower. The default bundle was one
    whose latent encoder had 2.66 times the operations of today's (decision 40)."""
    asked = {("openvino", "bf16", 1): 4.0, ("openvino", "bf16", 16): 3.5, ("onnxruntime", "exact", 1): 12.0}
    for (engine, compute, batch), one_look in asked.items():
        times = [
            row["ms_per_face"]
            for row in found["default_bundle"]
            if (row["engine"], row["compute"], row["batch"]) == (engine, compute, batch)
        ]
        what = f"with AMX, the encoder before decision 40: a face, {engine} {compute}, batch {batch}, ms"
        runs = f" ({one_look:g} for one look; {min(times):.1f} to {max(times):.1f} in {len(times)} runs)"
        yield at_most(what, median(times), one_look * LOOKS, "amx", runs)
    sized = [row["times_pytorch"] for row in found["stable_diffusion_2_1_size"] if row["engine"] == "openvino"]
    yield at_least(
        "with AMX: an encoder of Stable Diffusion 2.1's size, times as fast as PyTorch", max(sized), 7.5, "amx"
    )


def videos() -> Iterator[Row]:
    for row in read("video")["targets"]:
        what = row["what"].rsplit(",", 1)[0]  # the size stands in it twice
        yield Row(f"video: {what}", f"{row['number']:.3g}", row["limit"], row["met"], "video")
    served = read("live_sources")["served"]
    slowest, dropped = min(row["verdicts_per_second"] for row in served), sum(row["frames_dropped"] for row in served)
    yield at_least(f"{len(served)} cameras at once: verdicts a second, the least", slowest, 1, "live_sources")
    yield Row(f"{len(served)} cameras at once: frames dropped", str(dropped), "0", dropped == 0, "live_sources")


def serving(found: dict[str, Any]) -> Iterator[Row]:
    yield at_most("`serve`: megabytes that the extra installs", found["install"]["megabytes"], 10, "serving")
    yield at_most("`serve`: packages that the extra installs", len(found["install"]["distributions"]), 12, "serving")
    yield at_most("`serve`: ready after, s", found["ready"]["seconds"], 3, "serving")
    for row in found["table"]:
        if row["clients"] == 8 and row["batch_maximum"] == 8:
            what = f"`serve`: of what the engine gives, {row['engine']}, 8 clients"
            yield at_least(what, row["share_of_ceiling"], 0.95, "serving")
    yield at_least(
        "`serve`: requests a second without an engine", found["noop"]["requests_per_second"], 2000, "serving"
    )
    lone = found["lone"]
    yield at_most(
        "`serve`: a lone client's wait at the median, ms", lone["served_p50"], 1.05 * lone["direct_p50"] + 2, "serving"
    )
    yield at_most(
        "`serve`: the last refusal of 150 clients at once, s", found["overload"]["longest_503_seconds"], 0.5, "serving"
    )
    yield at_most(
        "`serve`: 503 after a thread was killed, s", found["killed"]["ready_is_503_after_seconds"], 1, "serving"
    )


def hardening() -> Iterator[Row]:
    asked = {"images": 10_000, "bundles": 2_000, "videos": 500}
    hostile = read("hostile")["found"]
    for row in hostile:
        yield at_least(f"hostile {row['what']} tried", row["tried"], asked[row["what"]], "hostile")
    yield at_most("hostile files: findings", sum(len(row["findings"]) for row in hostile), 0, "hostile")
    yield at_most("hostile files: the slowest, s", max(row["slowest"] for row in hostile), 5, "hostile")
    kills = read("kills")["found"]
    yield at_least("SIGKILLs at random moments", sum(row["kills"] for row in kills), 1000, "kills")
    harm = sum(row["lost"] + row["doubled"] + len(row["broken"]) for row in kills)
    yield at_most("SIGKILLs: verdicts lost or doubled, files broken", harm, 0, "kills")
    for file, what in (("soak_verdicts", "verdicts in a process"), ("soak_images", "images of a command")):
        soak = read(file)
        yield at_most(f"growth of memory over {soak['count']:,} {what}, %", 100 * soak["growth"], 5, file)
    camera = read("soak_rtsp")
    yield at_least("a camera that is cut and stalls, s", camera["seconds"], 3600, "soak_rtsp")
    yield at_most(
        "a camera that is cut and stalls: growth of memory, %", 100 * camera["memory"]["growth"], 5, "soak_rtsp"
    )


def at_most(what: str, value: float, limit: float, file: str, of: str = "") -> Row:
    return Row(what, shown(value), f"≤ {shown(limit)}{of}", value <= limit, file)


def at_least(what: str, value: float, limit: float, file: str) -> Row:
    return Row(what, shown(value), f"≥ {shown(limit)}", value >= limit, file)


def shown(value: float) -> str:
    """Three digits, and all of larger numbers."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


if __name__ == "__main__":
    main()
