"""The report that training leaves beside the model."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from protoleak.training.report import html_page

EPOCHS = [
    {"epoch": 1, "training_loss": 2.0, "validation_loss": 1.5, "validation_macro_auc": 0.6125},
    {"epoch": 2, "training_loss": 1.0, "validation_loss": 1.1, "validation_macro_auc": 0.8375},
    {"epoch": 3, "training_loss": 0.5, "validation_loss": 1.3, "validation_macro_auc": 0.825},
]
REPORT: dict[str, Any] = {
    "data": "<faces>",
    "best_epoch": 2,
    "images": {"train": {"a": 12, "b": 34}, "validation": {"a": 5, "b": 6}},
    "settings": {"epochs": 3, "learning_rate": 0.001},
    "compute": "bf16",
    "seconds": 12.5,
    "negatives": None,
}


def test_the_page_names_the_epoch_that_was_kept_and_every_epoch_s_numbers() -> None:
    page = html_page(REPORT, EPOCHS, [])
    assert "epoch 2 of 3: validation macro AUC 0.8375, loss 1.100" in page
    for number in ("2.0000", "1.5000", "0.6125", "0.8250"):
        assert f"<td>{number}</td>" in page
    assert "<td>34</td><td>6</td>" in page
    assert "&lt;faces&gt;" in page
    assert "<faces>" not in page
    assert "negatives" not in page.split("<h2>")[0]


def test_the_page_loads_nothing_and_its_plots_are_well_formed() -> None:
    page = html_page(REPORT, EPOCHS, [])
    for part in ("<script", "src=", "href=", "url("):
        assert part not in page
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) == 2
    lines = [len(ElementTree.fromstring(plot).findall(".//polyline")) for plot in plots]
    assert lines == [2, 1]  # training and validation loss; validation AUC


@pytest.mark.parametrize("count", [1, 2])
def test_a_run_of_few_epochs_has_a_report(count: int) -> None:
    page = html_page(REPORT | {"best_epoch": 1}, EPOCHS[:count], [])
    assert f"epoch 1 of {count}" in page


def test_skipped_files_are_listed_up_to_a_number_and_counted_then() -> None:
    page = html_page(REPORT, EPOCHS, [f"{index}.png: broken" for index in range(53)])
    assert "49.png: broken" in page
    assert "50.png: broken" not in page
    assert "and 3 more" in page
