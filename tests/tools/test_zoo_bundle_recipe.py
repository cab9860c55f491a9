"""benchmarks/zoo_bundle/open_set.py: generators left out, and settings measured on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.zoo_bundle.open_set import BANDWIDTHS, CONTRASTS, Turn, link_without, measured
from protoleak.export.features import Features
from zoo.generators import GENERATORS, families


def test_families_are_known_generators_and_all_auxiliary_ones_of_their_kind() -> None:
    parts = {generator.name: generator.part for generator in GENERATORS}
    found = families()
    assert found["nearest_decoder"] == ("nearest_sibling_1", "nearest_sibling_2", "nearest_sibling_3")
    assert found["denoised_cosine_ddim"] == ("cosine_sibling_1", "cosine_sibling_2")
    assert all(parts[known] == "known" for known in found)
    siblings = [name for names in found.values() for name in names]
    assert sorted(siblings) == sorted(name for name, part in parts.items() if part == "auxiliary")


def test_a_generator_is_left_out_with_its_siblings_and_nothing_else(tmp_path: Path) -> None:
    work = tmp_path / "work"
    for folder in ("known/real", "known/rows", "known/columns", "auxiliary/rows_1", "auxiliary/columns_1"):
        (work / folder).mkdir(parents=True)
    split = {"train": {"real": ["a"], "rows": ["b"], "columns": ["c"]}, "val": {"rows": ["d"]}}
    (work / "known" / "Split.json").write_text(json.dumps(split))
    for _ in range(2):  # a second run finds the links of the first
        link_without(work, "rows", ("rows_1",), tmp_path / "out")
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").glob("*/*"))
    assert found == ["auxiliary/columns_1", "known/Split.json", "known/columns", "known/real"]
    assert json.loads((tmp_path / "out" / "known" / "Split.json").read_text()) == {
        "train": {"real": ["a"], "columns": ["c"]},
        "val": {},
    }


def test_a_generator_like_the_auxiliary_ones_is_told_apart_by_contrast_alone() -> None:
    random = np.random.default_rng(0)

    def of(count: int, centre: float, spread: float) -> Features:
        values = np.concatenate([random.normal(4, 1, (count, 5)), random.normal(centre, spread, (count, 1))], axis=1)
        ones, none = np.ones((count, 6), np.float32), np.zeros((count, 0), np.float32)
        return Features(values.astype(np.float32), ones, none, np.arange(count) % 2, ())

    # The known ones are spread wide along one axis; the one left out lies in the midst of them, beside the auxiliary.
    turn = Turn(of(200, 0, 3), of(60, 0, 3), of(200, 0, 0.1), of(60, 0, 0.1))
    table = np.array([list(row) for row in measured(turn)])
    assert table.shape == (len(BANDWIDTHS), len(CONTRASTS))
    assert (table[1:4, -1] > table[1:4, 0] + 0.1).all()
