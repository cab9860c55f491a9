"""The training report: how loss and validation went from epoch to epoch, as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from protoleak.reports.line_plot import Axis, Band, Series, line_plot
from protoleak.reports.page import bullets, facts_table, page, table

PAGE_FILE = "training.html"
LOSSES = (("training", "training_loss"), ("validation", "validation_loss"))
AUC = "validation_macro_auc"
SHOWN_SKIPPED = 50
# Facts about the run as they stand in training.json, and what the report calls them.
FACTS = {
    "data": "data",
    "negatives": "negatives",
    "negative_images": "negative images",
    "skipped_images": "files skipped",
    "compute": "arithmetic",
    "threads": "threads",
    "training_seconds": "seconds of training",
    "seconds": "seconds with encoding",
    "data_hash": "hash of the data",
    "run": "hash of the run",
    "commit": "commit",
}

Epochs = Sequence[Mapping[str, float]]


def html_page(report: Mapping[str, object], epochs: Epochs, skipped: Sequence[str]) -> str:
    """The whole page.

    Args:
        report: what training.json holds.
        epochs: one record per epoch, from the first: epoch, training_loss, validation_loss, validation_macro_auc.
        skipped: a line per file that could not be read.
    """
    best = int(str(report["best_epoch"]))
    title = f"protoleak train: {report['data']}"
    chosen = epochs[best - 1]
    facts = [
        (
            "kept",
            f"epoch {best} of {len(epochs)}: validation macro AUC {chosen[AUC]:.4f}, "
            f"loss {chosen['validation_loss']:.3f}",
        ),
        *((name, str(report[key])) for key, name in FACTS.items() if report.get(key) is not None),
    ]
    images = _mapping(report["images"])
    generators = list(_mapping(images["train"]))
    counts = [[name, *(str(_mapping(images[split])[name]) for split in images)] for name in generators]
    more = len(skipped) - SHOWN_SKIPPED
    return page(
        title,
        [
            f"<h1>{escape(title)}</h1>",
            facts_table(facts),
            "<h2>Loss</h2>",
            loss_plot(epochs, best),
            bullets(
                ["Training's loss is of images with timesteps left out and of negatives; validation's has neither."]
            ),
            "<h2>Validation macro AUC</h2>",
            auc_plot(epochs, best),
            "<h2>Images</h2>",
            table(["generator", *images], counts),
            bullets([*skipped[:SHOWN_SKIPPED], *([f"and {more} more, see training.json"] if more > 0 else [])]),
            "<h2>Epochs</h2>",
            table(
                ["epoch", "training loss", "validation loss", "validation macro AUC"],
                [
                    [
                        f"{int(one['epoch'])}",
                        f"{one['training_loss']:.4f}",
                        f"{one['validation_loss']:.4f}",
                        f"{one[AUC]:.4f}",
                    ]
                    for one in epochs
                ],
            ),
            "<h2>Settings</h2>",
            facts_table([(name, str(value)) for name, value in _mapping(report["settings"]).items()]),
        ],
    )


def loss_plot(epochs: Epochs, best: int) -> str:
    """Training and validation loss over the epochs."""
    series = [Series(name, [(one["epoch"], one[key]) for one in epochs], shape="circle") for name, key in LOSSES]
    return line_plot(series, _epoch_axis(epochs), Axis("loss"), "Loss of each epoch.", bands=[_band(best)])


def auc_plot(epochs: Epochs, best: int) -> str:
    """Validation macro AUC over the epochs; the vertical axis begins where the worst epoch was."""
    values = [one[AUC] for one in epochs]
    axis = Axis("validation macro AUC", start=min(values), end=max(*values, min(values) + 1e-3))
    series = [Series("validation", [(one["epoch"], one[AUC]) for one in epochs], shape="circle")]
    return line_plot(series, _epoch_axis(epochs), axis, "Validation macro AUC of each epoch.", bands=[_band(best)])


def _epoch_axis(epochs: Epochs) -> Axis:
    return Axis("epoch", start=1.0, end=max(2.0, epochs[-1]["epoch"]))


def _band(best: int) -> Band:
    return Band(float(best), float(best), f"epoch {best}, whose weights were kept")


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)  # the report is made by `train`
    return value
