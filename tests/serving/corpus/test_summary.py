"""The summary is what counting the rows by hand gives."""

from __future__ import annotations

from pathlib import Path

from protoleak.metrics.false_discovery import NOT_KNOWN, NOT_REAL, benjamini_hochberg
from protoleak.metrics.intervals import wilson_interval
from protoleak.serving.corpus.plan import Folder
from protoleak.serving.corpus.run import duration
from protoleak.serving.corpus.settings import JudgeSettings
from protoleak.serving.corpus.summary import summarise
from tests.serving.corpus.conftest import begin, judge, rows_of, write_images


def test_counts_intervals_and_findings(settings: JudgeSettings, tmp_path: Path) -> None:
    from PIL import Image

    write_images(tmp_path / "in", 24)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"nothing")
    (tmp_path / "in" / "label.cls").write_bytes(b"0")
    Image.new("RGB", (80, 80)).save(tmp_path / "in" / "black.png")  # lacks content: no evidence, and no test
    work = begin(tmp_path / "out", [tmp_path / "in"], settings)
    judge(work)
    rows = rows_of(tmp_path / "out")
    verdicts = [row for row in rows if row["outcome"] == "verdict"]
    summary = summarise(Folder(work.folder), work.corpus, 0.2)
    assert (summary.inputs, summary.rows) == (27, 27)
    assert summary.outcomes == {"verdict": 25, "no_face": 0, "error": 1, "skipped": 1}
    assert list(summary.generators) == ["dawn", "moss"]
    for name, found in summary.generators.items():
        count = sum(row["generator"] == name for row in verdicts)
        assert (found.count, found.of, found.share) == (count, 25, count / 25)
        assert found.interval_95 == wilson_interval(count, 25)
        assert count > 0
    assert sum(found.count for found in summary.verdicts.values()) == 25
    judged = [row for row in verdicts if row["lacking"] is None]
    assert summary.lacking == 1
    assert len(judged) == 24
    control = summary.false_discovery_control
    assert control.not_real == benjamini_hochberg([row["real_p_value"] for row in judged], 0.2, NOT_REAL)
    assert control.not_known == benjamini_hochberg([row["p_value"] for row in judged], 0.2, NOT_KNOWN)
    assert control.not_real is not None
    assert control.not_real.found > 0


def test_what_is_left_is_said_in_two_units_at_most() -> None:
    times = [5, 89, 120, 3600 * 3 + 60 * 20, 3600 * 24 * 4 + 3600 * 6]
    assert [duration(time) for time in times] == ["5 s", "89 s", "2 min", "3 h 20 min", "4 d 6 h"]
