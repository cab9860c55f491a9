"""What the pages quote is what benchmarks/results holds: every table is as its tool writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import msgspec

from protoleak import Bundle
from protoleak.evaluation.results import Report
from tests.paths import ROOT
from tools import guide_table, readme_tables, security_table, serve_table, targets
from tools.default_bundle import model_card


def between_marks(page: Path, mark: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return text.split(f"<!-- {mark} -->\n")[1].split(f"<!-- /{mark} -->")[0].splitlines()


def must_be(found: Iterable[str], written: Iterable[str], tool: str) -> None:
    assert list(found) == "\n".join(written).splitlines(), f"type: python {tool}"


def test_the_readme_has_the_measured_times_and_verdicts() -> None:
    bundle = Bundle.load()
    tool = "tools/readme_tables.py"
    must_be(between_marks(readme_tables.README, "times"), readme_tables.times(bundle), tool)
    must_be(between_marks(readme_tables.README, "verdicts"), readme_tables.verdicts(bundle), tool)


def test_the_load_table_has_the_measured_load() -> None:
    measured = json.loads(serve_table.RESULTS.read_text())
    must_be(between_marks(serve_table.PAGE, "load table"), serve_table.load_table(measured), "tools/serve_table.py")


def test_the_guide_has_what_enrolment_and_discovery_are_worth() -> None:
    page, tool = guide_table.PAGE, "tools/guide_table.py"
    newcomers, found = (json.loads(file.read_text()) for file in (guide_table.NEWCOMERS, guide_table.DISCOVERED))
    must_be(between_marks(page, "enrolled"), guide_table.enrolled(newcomers), tool)
    must_be(between_marks(page, "discovered"), guide_table.discovered(found), tool)


def test_the_targets_are_beside_what_was_measured() -> None:
    must_be(targets.PAGE.read_text(encoding="utf-8").splitlines(), targets.page(), "tools/targets.py")


def test_what_was_tried_is_what_was_run() -> None:
    must_be(between_marks(security_table.PAGE, "tried"), security_table.tried(), "tools/security_table.py")


def test_the_model_card_is_of_the_bundle_and_its_evaluation() -> None:
    bundle = Bundle.load()
    report = msgspec.json.decode(model_card.EVALUATION.read_bytes(), type=Report)
    assert report.bundle.sha256 == bundle.sha256, "evaluate the default bundle that is here"
    left_out = json.loads(model_card.LEFT_OUT.read_text())
    written = model_card.CARD.read_text(encoding="utf-8").splitlines()
    must_be(written, model_card.card(bundle, report, left_out), "tools/default_bundle/model_card.py")


def test_real_faces_accused_stand_first_wherever_a_bundle_is_measured() -> None:
    first = {
        "README.md": "people's photographs",
        "docs/default_bundle.md": "Real faces accused",
        "docs/targets.md": "real faces accused",
    }
    for page, text in first.items():
        numbers = [line for line in (ROOT / page).read_text().splitlines() if " %)" in line or "| [0." in line]
        assert text in numbers[0], page
