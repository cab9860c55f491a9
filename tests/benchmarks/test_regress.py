"""The guard against regressions, on a repository of two commits whose times are written down in them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.regress import chosen_of, main, measures
from benchmarks.regression.checkouts import checkouts
from benchmarks.regression.ratios import ratio_of, rows_of
from benchmarks.regression.turns import Measure, Round
from protoleak.errors import ProtoleakError

# As benchmarks/regression/probe.py does it: ready, then an answer for every line. What it "measures" is in the commit,
# with an offset that grows from turn to turn as on a machine that gets hotter: the order of turns takes it out.
PROBE = """
import json, sys, pathlib
from measured import MILLISECONDS, STAGE
clock = pathlib.Path(sys.argv[1])
print(json.dumps({}), flush=True)
for _ in sys.stdin:
    turn = int(clock.read_text()) if clock.exists() else 0
    clock.write_text(str(turn + 1))
    print(json.dumps({"total": MILLISECONDS + 0.01 * turn, STAGE: 1.0}), flush=True)
"""
SETTINGS = ("--processes", "2", "--rounds", "3")


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Commits with the tags `slow` (120 ms), `fast` (100 ms) and `broken`, in this order."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for tag, content in (
        ("slow", "MILLISECONDS, STAGE = 120, 'old'\n"),
        ("fast", "MILLISECONDS, STAGE = 100, 'new'\n"),
        ("broken", "raise RuntimeError('this engine is gone')\n"),
    ):
        (folder / "measured.py").write_text(content)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", tag)
        git(folder, "tag", tag)
    return folder


@pytest.fixture
def played(tmp_path: Path) -> list[Measure]:
    probe = tmp_path / "probe.py"
    probe.write_text(PROBE)
    return [Measure("played", (str(probe), str(tmp_path / "clock")))]


def compared(repository: Path, played: list[Measure], base: str, head: str, *more: str) -> int:
    return main([base, head, "--repository", str(repository), *SETTINGS, *more], played)


def test_a_slower_commit_is_found_whatever_drifts_meanwhile(
    repository: Path, played: list[Measure], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out" / "regress.json"
    assert compared(repository, played, "fast", "slow", "--json", str(file)) == 1
    shown = capsys.readouterr().out
    assert "SLOWER played: 1.2" in shown
    found = json.loads(file.read_text())
    assert found["base"]["commit"] == git(repository, "rev-parse", "fast")
    assert found["head"]["subject"] == "slow"
    whole, *stages = found["rows"]
    # 120/100, less the drift of 0.01 ms a turn that both have: without turns in both orders it would not be the same in
    # each round.
    assert whole["change"]["low"] == pytest.approx(1.2, abs=0.001)
    assert whole["change"]["rounds"] == 6
    assert {row["part"]: row["why"] for row in stages} == dict.fromkeys(("old", "new"), "not in both commits")
    assert git(repository, "worktree", "list").count("\n") == 0  # both checkouts are taken away


def test_a_faster_commit_and_a_commit_with_itself_are_within_the_limit(
    repository: Path, played: list[Measure], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(repository, played, "slow", "fast") == 0
    assert "all measures together: 0.83" in capsys.readouterr().out
    assert compared(repository, played, "slow", "slow") == 0
    assert compared(repository, played, "fast", "slow", "--limit", "1.25") == 0


def test_what_head_cannot_do_any_more_is_a_regression_and_what_base_could_not_is_none(
    repository: Path, played: list[Measure], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(repository, played, "fast", "broken") == 1
    assert "SLOWER played: head: RuntimeError: this engine is gone" in capsys.readouterr().out
    assert compared(repository, played, "broken", "fast") == 2
    assert "no measure can be taken on base" in capsys.readouterr().err


def test_a_commit_that_is_none_and_a_measure_that_is_none_are_named(
    repository: Path, played: list[Measure], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(repository, played, "fast", "nosuch") == 2
    assert "'nosuch' is no commit of" in capsys.readouterr().err
    with pytest.raises(ProtoleakError, match="--only 'gpu' is in the name of no measure: choose among cold start"):
        chosen_of(measures(None), ["gpu"])
    one = "image openvino bf16 batch 1"
    assert [measure.name for measure in chosen_of(measures(None), [one, "cold"])] == ["cold start", one]
    assert len(chosen_of(measures(None), ["openvino bf16"])) == 2


def test_checkouts_are_taken_away_when_measuring_fails(repository: Path) -> None:
    seen: list[str] = []

    def measured() -> None:
        with checkouts(repository, "fast", "slow") as both:
            seen.extend((checkout.folder / "measured.py").read_text() for checkout in both)
            seen.extend(str(checkout.folder) for checkout in both)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured()
    assert ["= 100" in seen[0], "= 120" in seen[1]] == [True, True]
    assert not any(Path(folder).exists() for folder in seen[2:])
    assert git(repository, "worktree", "list").count("\n") == 0


def test_the_interval_holds_what_differs_between_processes() -> None:
    def alike(process: int, ratio: float) -> Round:
        return Round(process, ({"total": 10.0},) * 2, ({"total": 10.0 * ratio},) * 2)

    # Within each process every round is the same, so rounds alone would promise a ratio without any doubt.
    rounds = [alike(process, ratio) for process, ratio in enumerate((0.95, 1.0, 1.3)) for _ in range(20)]
    found = ratio_of(rounds, "total")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.95, 1.3))
    (row,) = rows_of("played", rounds)
    assert not row.slower_than(1.05)


def test_too_few_rounds_have_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    assert ratio_of([Round(0, ({"total": 1.0},) * 2, ({"total": 2.0},) * 2)] * 5, "total") is None
    with pytest.raises(SystemExit):
        main(["fast", "slow", "--processes", "1", "--rounds", "5"])
    assert "--processes 1 times --rounds 5: 6 or more in all" in capsys.readouterr().err
