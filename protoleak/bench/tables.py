"""The report's numbers as the words that every table of them shows."""

from __future__ import annotations

from protoleak.bench.results import Accuracy, Report, Row
from protoleak.metrics.report import Share

STEADY = (0.83, 1.2)  # drift outside is worth a word
ROW_COLUMNS = (
    *("engine and variant", "batch", "p50 ms", "p95", "p99", "engines p50", "outside/face", "ms/face", "faces/s"),
    *("× PyTorch", "peak MiB", "model MB"),
)
STAGE_COLUMNS = ("decode", "preprocess", "upload", "latent encoder", "noising", "attributor", "download", "decision")
ACCURACY_COLUMNS = (
    *("engine and variant", "real faces accused", "camera originals accused", "known right"),
    *("unknown called unknown", "all right", "macro AUC (softmax)", "same verdicts", "unreadable"),
)
NONE = "–"


def facts(report: Report) -> list[tuple[str, str]]:
    """What was measured, where and with what: name and value."""
    machine = report.machine
    found = [
        ("bundle", f"{report.bundle.name}, SHA-256 {report.bundle.sha256}"),
        ("processor", f"{machine.processor}, {machine.cores} cores, load average {_load(machine.load_average)}"),
        *([("GPU", machine.gpu)] if machine.gpu else []),
        ("system", f"{machine.system}, Python {machine.python}"),
        ("libraries", ", ".join(f"{name} {version}" for name, version in machine.libraries.items())),
        ("commit", machine.commit or "not known"),
        ("images", f"{report.images}, α = {report.alpha:g}, {report.warm_up} batches to warm up"),
        ("measured", report.created),
    ]
    if report.bundle.gates:
        gates = [f"{name} {'passed' if passed else 'FAILED'}" for name, passed in report.bundle.gates.items()]
        found.append(("gate against fp32", ", ".join(gates)))
    if machine.jetson:
        found.append(("Jetson", ", ".join(f"{name}: {value}" for name, value in machine.jetson.items())))
    found += [(f"{engine} not here", reason) for engine, reason in report.not_here.items()]
    return found


def row_cells(row: Row) -> list[str]:
    """One text per ROW_COLUMNS, of a row that has a timing."""
    timing = row.timing
    if timing is None:
        return [row.name, str(row.batch), *[NONE] * (len(ROW_COLUMNS) - 2)]
    steady = STEADY[0] <= timing.drift <= STEADY[1]
    return [
        row.name,
        str(row.batch),
        _ms(timing.end_to_end.p50) + ("" if steady else f" (drifts {timing.drift:.2f}×)"),
        _ms(timing.end_to_end.p95),
        _ms(timing.end_to_end.p99),
        _ms(timing.engines.p50),
        _ms(timing.outside_engines),
        _ms(timing.per_face),
        f"{timing.faces_per_second:.3g}",
        NONE if row.baseline is None else f"{row.baseline.end_to_end_ratio:.2f}",
        NONE if row.peak_memory_mib is None else f"{row.peak_memory_mib:.0f}",
        NONE if row.model_bytes is None else f"{row.model_bytes / 1e6:.1f}",
    ]


def stage_cells(row: Row) -> list[str]:
    """Milliseconds per face of each of STAGE_COLUMNS, of a row that has a timing."""
    if row.timing is None:
        return [NONE] * len(STAGE_COLUMNS)
    found = [row.timing.stages.get(name.replace(" ", "_")) for name in STAGE_COLUMNS]
    return [NONE if value is None else _ms(value) for value in found]


def accuracy_cells(item: Accuracy) -> list[str]:
    """One text per ACCURACY_COLUMNS."""
    unknown = list(item.unknown.values())  # all of them together stand last, where there are several
    auc = None if item.closed_set is None else item.closed_set.macro_auc_softmax.value
    return [
        item.name,
        _counted(None if item.real_faces is None else item.real_faces.accused),
        _counted(item.real_class),
        _counted(item.known_right),
        _counted(unknown[-1].rejected if unknown else None),
        NONE if item.right is None or item.right.share is None else f"{100 * item.right.share:.1f} %",
        NONE if auc is None else f"{auc:.4f}",
        "reference" if item.same_as_reference is None else f"{100 * item.same_as_reference:.1f} %",
        str(item.unreadable),
    ]


def _counted(share: Share | None) -> str:
    return NONE if share is None else f"{share.count} of {share.of}"


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def _load(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1f}"
