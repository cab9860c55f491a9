"""The report says what was found and no more, in a file of bounded size."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.runtime.drift import DriftEvent
from protoleak.video.events import FailureEvent, GapEvent, TrackEvent
from protoleak.video.outputs.report.collector import FACES_KEPT, POINTS_KEPT, TRACKS_KEPT, SourceCollector, Thinned
from protoleak.video.outputs.report.page import report_page
from protoleak.video.outputs.report.report import HtmlReport
from protoleak.video.outputs.report.wording import verdict_paragraphs
from protoleak.video.outputs.timeline import CELLS, Timeline, timecode
from tests.browser import check_plots, chromium, fits, opened
from tests.video.outputs.made import RUN, crop, ended, face, info, statistics, track_verdict

Label = Literal["known", "real", "unknown"]


def collected(label: Label = "known", faces: int = 5, name: str = "clip.mp4") -> SourceCollector:
    source = SourceCollector()
    for number in range(faces):
        event = face(number * 0.4, label=label, of_track=track_verdict(label, number + 1), sharpness=number + 1.0)
        source.add(event, crop(number))
    source.add(ended(verdict=track_verdict(label, faces), source=name), None)
    return source


def page(source: SourceCollector) -> str:
    return report_page(info(), RUN, source, statistics())


def test_it_loads_nothing_and_runs_nothing() -> None:
    text = page(collected())
    assert "<script" not in text
    assert re.findall(r'(?:src|href)="(?!data:image/jpeg;base64,)', text) == []
    assert "url(" not in text
    HTMLParser().feed(text)
    for plot in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(plot)


def test_a_named_generator_comes_with_what_it_does_not_mean() -> None:
    text = page(collected("known"))
    assert "merged p-value of 0.400" in text
    assert "It does not mean that the person shown did anything" in text
    assert "3 of 40 photographs of real faces" in text
    assert "prototype of dawn is number 1" in text
    assert "number 0 of moss, at 7.5, 3 times as far" in text


@pytest.mark.parametrize(
    ("label", "words"),
    [("real", "It is no proof of authenticity"), ("unknown", "It says neither that the face was generated nor that")],
)
def test_other_verdicts_say_their_limits_too(label: Label, words: str) -> None:
    assert words in page(collected(label))


def test_an_unusual_track_and_a_withheld_one_are_unknown_for_different_reasons() -> None:
    for p_value, said, unsaid in (
        (0.03, "unlike everything that the bundle knows", "accusation:"),
        (0.4, "not unlike enough to the bundle's camera originals for an accusation:", "unlike everything"),
    ):
        words = " ".join(verdict_paragraphs(track_verdict("unknown", 5, p_value, real_p_value=0.3), RUN, None))
        assert said in words
        assert unsaid not in words


def test_a_track_that_is_nearest_to_cameras_is_unknown_since_generators_images_are_like_it() -> None:
    track = msgspec.structs.replace(
        track_verdict("unknown", 5, 0.4, real_p_value=0.6), nearest="camera", generated_p_value=0.217
    )
    words = " ".join(verdict_paragraphs(track, RUN, None))
    assert "not unlike enough to images by generators to be called real" in words
    assert "0.217" in words
    assert "accusation:" not in words
    assert "made by camera" not in words


def test_an_undecided_track_shows_no_reasons() -> None:
    source = SourceCollector()
    source.add(face(0.0, of_track=track_verdict("undecided", 1)), crop())
    source.add(ended(verdict=track_verdict("undecided", 1)), None)
    text = page(source)
    assert "There is no verdict yet: 1 attributed face, and 3 are the least" in text
    assert "Why: the face" not in text


def test_a_track_that_began_with_a_face_without_enough_to_judge_has_its_plots() -> None:
    source = SourceCollector()
    nothing_yet = msgspec.structs.replace(track_verdict("undecided", 0), scores={}, nearest=None)
    source.add(face(0.0, of_track=nothing_yet), crop(0))
    source.add(face(0.4, of_track=track_verdict("known", 3)), crop(1))
    source.add(ended(), None)
    assert "Mean class scores over time" in page(source)


def test_the_appendix_has_the_hashes_and_versions() -> None:
    text = page(collected())
    for value in ("a" * 64, "b" * 64, "c" * 64, "fp32", "onnxruntime 1.2", "numpy 2.0", "every 1.0"):
        assert value in text


def test_drift_is_said_at_the_top_and_the_evidence_in_any_case() -> None:
    source, counts = collected(), msgspec.structs.replace(statistics(), drift_faces=30, drift_evidence=120.0)
    assert "evidence against it at most 120:1, over 30 faces" in report_page(info(), RUN, source, counts)
    assert "Drift:" not in report_page(info(), RUN, source, counts)
    source.add(DriftEvent(source="x", timestamp=1.0, faces=30, evidence=120.0, mean_p_value=0.3), None)
    text = report_page(info(), RUN, source, counts)
    assert "Drift: after 30 faces the evidence is 120:1" in text
    assert text.index("Drift:") < text.index("<h2>Tracks</h2>")


def test_what_was_not_seen_is_said() -> None:
    source = collected()
    source.add(GapEvent(source="x", timestamp=0.5, seconds=None, reason="connection <lost>"), None)
    source.add(FailureEvent(source="x", message="not finite", timestamp=1.0), None)
    text = report_page(info(live=True), RUN, source, statistics(live=True, interrupted=True))
    assert "10 frames of 60 dropped" in text
    assert "connection &lt;lost&gt;" in text
    assert "not finite" in text
    assert "stopped by somebody" in text


def test_names_with_markup_in_them_are_shown_and_not_obeyed() -> None:
    text = report_page(info("<img src=x onerror=y>.mp4"), RUN, collected(), statistics())
    assert "<img src=x" not in text


def test_a_source_without_faces_still_has_a_report(tmp_path: Path) -> None:
    report = HtmlReport(tmp_path / "report.html", RUN)
    report.start(info())
    report.finish(statistics())
    assert "No face was seen" in (tmp_path / "report.html").read_text()


def test_only_the_best_faces_of_a_track_are_kept() -> None:
    source = collected(faces=30)
    kept = source.tracks[1].faces
    assert [kept_face.event.sharpness for kept_face in kept] == [30.0, 29.0, 28.0, 27.0]
    assert len(kept) == FACES_KEPT


def test_of_many_tracks_the_gravest_are_kept_and_the_others_counted() -> None:
    source = SourceCollector()
    many = 3 * TRACKS_KEPT
    for number in range(1, many + 1):
        label: Label = "known" if number % 10 == 0 else "real"
        source.add(face(0.0, track=number, label=label), None)
        source.add(ended(number, track_verdict(label)), None)
    assert len(source.tracks) == TRACKS_KEPT
    assert source.left_out == many - TRACKS_KEPT
    assert sum(one.verdict.label == "known" for one in source.tracks.values()) == many // 10
    assert sum(source.verdicts.values()) == many
    assert f"{many - TRACKS_KEPT} further tracks" in page(source)


@settings(deadline=None)
@given(st.integers(0, 5000))
def test_a_thinned_series_is_short_even_and_ends_with_the_newest(count: int) -> None:
    series: Thinned[int] = Thinned()
    for number in range(count):
        series.add(number)
    items = series.items()
    assert len(items) <= POINTS_KEPT + 1
    assert items[:1] == [0][:count]
    assert items[-1:] == [count - 1][: min(count, 1)]
    assert set(np.diff(items[:-1])) <= {series.apart}


@pytest.mark.parametrize("duration", [10.0, 0.5, 5000.0, None])
def test_the_timeline_shows_the_gravest_verdict_of_every_moment(duration: float | None) -> None:
    timeline = Timeline(duration)
    for number in range(200):
        timeline.add(number / 25, ["real"] if number < 100 else ["undecided", "known"])
    image = np.zeros((60, CELLS, 3), np.uint8)
    timeline.draw(image, {0.5: 0.0, 5000.0: 4000.0}.get(duration or 0, 199 / 25))  # the mark covers cells
    colours = {tuple(colour) for colour in image[-1]}
    assert (208, 44, 44) in colours  # known
    assert (128, 132, 138) not in colours  # undecided stood behind it
    if duration != 5000.0:  # there, all frames fall into the first cell
        assert (36, 140, 72) in colours


def test_times_are_written_as_people_read_them() -> None:
    assert [timecode(value) for value in (0.0, 63.9, 3600.0)] == ["0:00", "1:03", "1:00:00"]


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_its_plots_and_images_and_loads_nothing(tmp_path: Path, width: int) -> None:
    source = collected()
    source.add(GapEvent(source="x", timestamp=0.5, seconds=0.3, reason="connection lost"), None)
    source.add(face(1.0, track=2, label="unknown", of_track=track_verdict("unknown", 3, 0.01)), crop(9))
    event: TrackEvent = ended(2, track_verdict("unknown", 3, 0.01))
    source.add(event, None)
    file = tmp_path / "report.html"
    file.write_text(page(source))
    with chromium() as browser, opened(browser, file, width) as shown:
        check_plots(shown, at_least=9)  # the overview, and four of each track
        for image in shown.locator("img").all():
            assert image.get_attribute("alt")
            assert image.evaluate("image => image.naturalWidth") > 0
        assert fits(shown)
