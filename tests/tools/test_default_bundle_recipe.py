"""tools/default_bundle: how images are dealt, and how the accusation level is read off the left-out sources."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.default_bundle.build import chosen_level
from tools.default_bundle.left_out import LEVELS, MOST_ACCUSED, left_out, levels, turns_over
from tools.default_bundle.reconstructions import SIDE, through
from tools.default_bundle.shortcuts import accuracy
from tools.default_bundle.sources import CAMERAS, ENDS, REAL, Collection, auxiliary_to, known_to, link_known, parts_of


def _folder(data: Path, name: str, count: int) -> None:
    (data / name).mkdir(parents=True)
    for index in range(count):
        (data / name / f"{index:03d}.jpg").write_bytes(b"")


def test_images_are_dealt_in_the_shares_asked_for_and_a_person_stays_in_one_part(tmp_path: Path) -> None:
    _folder(tmp_path, "people", 300)
    parts = parts_of(tmp_path, Collection("g", "people", group=3))
    assert [sum(part == name for part in parts.values()) for name in ("train", "val", "calibration", "test")] == [
        round(300 * share) for share in np.diff([0.0, *ENDS])
    ]
    files = sorted(parts)
    assert all(len({parts[file] for file in files[start : start + 3]}) == 1 for start in range(0, 300, 3))
    link_known(tmp_path, [Collection("g", "people", group=3)], tmp_path / "known")
    split = json.loads((tmp_path / "known" / "Split.json").read_text())
    assert sorted(name for part in split.values() for name in part["g"]) == [f"people/{file.name}" for file in files]


@pytest.mark.parametrize("research", [False, True])
def test_every_camera_source_and_every_generator_is_left_out_once_and_never_together(research: bool) -> None:
    known = known_to(research)
    turns = turns_over(known)
    names = [one.name for turn in turns for one in left_out(turn, known)]
    assert sorted(names) == sorted(one.name for one in (*known, *CAMERAS))
    assert all(len({one.label == REAL for one in left_out(turn, known)}) == 1 for turn in turns)


@pytest.mark.parametrize("research", [False, True])
def test_what_is_named_is_never_learnt_as_something_else(research: bool) -> None:
    assert not {one.folder for one in known_to(research)} & {one.folder for one in auxiliary_to(research)}


def test_the_level_is_the_greatest_that_keeps_to_the_target_with_two_standard_errors() -> None:
    random = np.random.default_rng(0)
    alike = {str(source): random.normal(size=4000).tolist() for source in range(8)}
    chosen = chosen_level({"levels": levels(alike)})
    assert chosen == max(level for level in LEVELS if level < MOST_ACCUSED)
    odd = alike | {"odd": (random.normal(size=400) - 8).tolist()}
    rows = levels(odd)
    assert chosen_level({"levels": rows}) < chosen
    some = {str(source): (random.normal(size=4000) - 0.05 * source).tolist() for source in range(8)}
    kept = [row["level"] for row in levels(some) if row["mean"] + 2 * row["standard_error"] <= MOST_ACCUSED]
    assert chosen_level({"levels": levels(some)}) == max(kept)
    for row in rows:
        together = np.concatenate([np.array(one) for one in odd.values()])
        threshold = np.quantile(together, row["level"])
        shares = [np.mean(np.array(one) <= threshold) for one in odd.values()]
        assert row["mean"] == round(float(np.mean(shares)), 4)
        assert row["standard_error"] == round(float(np.std(shares, ddof=1) / 3), 4)


def test_what_goes_through_the_autoencoder_keeps_its_place_and_range() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    same = through(image, lambda planes: planes, lambda planes: planes)
    np.testing.assert_array_equal(same, np.asarray(image))
    brighter = through(image, lambda planes: planes, lambda planes: planes * 3)
    assert brighter.max() == 255


def test_a_shortcut_is_found_where_there_is_one_and_chance_where_there_is_none() -> None:
    random = np.random.default_rng(0)

    def rows(count: int) -> list[tuple[str, dict[str, list[float]]]]:
        labels = [("a", "b")[index % 2] for index in range(count)]
        return [
            (label, {"size": [random.normal(4.0 * (label == "a"))], "colour": [random.normal()]}) for label in labels
        ]

    train, test = rows(200), rows(200)
    assert accuracy(train, test, ["size"], ["a", "b"]) > 0.9
    assert 0.35 < accuracy(train, test, ["colour"], ["a", "b"]) < 0.65
