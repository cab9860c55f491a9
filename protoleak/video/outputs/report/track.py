"""The part of a report that is about one track."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from protoleak.reports.bar_plot import bars
from protoleak.reports.line_plot import Axis, Band, Rule, Series, line_plot
from protoleak.reports.page import Cell, table
from protoleak.video.events import TrackLabel, TrackVerdict
from protoleak.video.outputs.report.collector import KeptFace, Point, TrackStory
from protoleak.video.outputs.report.wording import verdict_words, why_words
from protoleak.video.outputs.run_record import RunRecord
from protoleak.video.outputs.timeline import clock
from protoleak.video.outputs.verdict_style import LOOKS, named

CLASSES_SHOWN = 6
LOWEST_P_VALUE = 1e-4  # of an axis; a calibration of more images than 10,000 is rare
MILLISECONDS_BELOW = 10.0  # seconds of a plot, below which its times have decimals


def track_section(story: TrackStory, run: RunRecord, bands: Sequence[Band]) -> str:
    """Heading, faces, words, reasons and plots.

    Args:
        bands: stretches without images.
    """
    verdict, telling = story.verdict, story.telling_face
    group = telling.event.verdict.calibration.group if telling else None
    words = "".join(f"<p>{escape(text)}</p>" for text in verdict_words(verdict, run, _class_of(group, telling)))
    frames = "" if story.frames is None else f", in {story.frames:,} frames"
    seen = f"Seen from {time_words(story.first)} to {time_words(story.last)}{frames}."
    # Reasons and curves of an undecided track would look like an answer.
    decided = verdict.label != "undecided"
    reasons = f"{_why(telling)}{_plots(story, run, bands)}" if decided and telling else ""
    return (
        f'<section class="track" id="track-{story.track}"><h3>Track {story.track} {badge(verdict)}</h3>'
        f'<p class="weak">{escape(seen)}</p>{_faces(story.faces)}{words}'
        f"{reasons}{_table(story)}</section>"
    )


def badge(verdict: TrackVerdict) -> str:
    """The answer as a coloured plate, with a shape for those who don't see colours."""
    look, answer = LOOKS[verdict.label], named(verdict)
    text = f"known: {answer}" if verdict.label == "known" else answer
    return f'<span class="badge {verdict.label}"><span aria-hidden="true">{look.symbol}</span> {escape(text)}</span>'


def time_words(seconds: float) -> str:
    """A timestamp for people: "1:03.25"."""
    hundredths = round(100 * seconds)
    return f"{clock(hundredths // 100)}.{hundredths % 100:02d}"


def time_axis(start: float, end: float) -> Axis:
    """The source's own time."""
    short = end - start < MILLISECONDS_BELOW
    return Axis("time in the source", start=start, end=end, shown=_with_tenths if short else clock)


def _with_tenths(seconds: float) -> str:
    tenths = round(10 * seconds)
    return f"{clock(tenths // 10)}.{tenths % 10}"


def _class_of(group: str | None, telling: KeptFace | None) -> str | None:
    """The class of the calibration images, or "overall"."""
    if group is None or telling is None or group == "overall":
        return group
    return telling.event.verdict.nearest


def _faces(faces: Sequence[KeptFace]) -> str:
    if not faces:
        return '<p class="weak">None of its faces was attributed.</p>'
    return '<div class="faces">' + "".join(_face(face) for face in faces) + "</div>"


def _face(face: KeptFace) -> str:
    event = face.event
    own = event.verdict
    answer = own.generator or own.label
    at = time_words(event.timestamp)
    alternative = f"Face of track {event.track} at {at}, alone judged {answer}"
    data = b64encode(face.jpeg).decode()
    size = f"{event.box.width:.0f} × {event.box.height:.0f} pixels"
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{escape(alternative)}" width="160" height="160">'
        f"<figcaption>{at}, frame {event.frame:,}<br>{size}<br>"
        f"alone: {LOOKS[own.label].symbol} {escape(answer)}<br>p-value {own.p_value:.3f}</figcaption></figure>"
    )


def _why(face: KeptFace) -> str:
    verdict = face.event.verdict
    weights = [(f"timestep {step}", weight, f"{weight:.3f}") for step, weight in verdict.why.timestep_weights.items()]
    features = [
        (f"feature {item.feature}", item.contribution, f"{item.contribution:+.3g}")
        for item in (*verdict.why.features_for, *reversed(verdict.why.features_against))
    ]
    at = time_words(face.event.timestamp)
    drawn = (
        f"<h4>Why: the face at {at}</h4><p>{escape(why_words(verdict))}</p>"
        '<p class="plot-title">What each diffusion timestep adds to the embedding</p>'
        + bars(weights, "", f"Weights of the timesteps: {', '.join(f'{name} {text}' for name, _, text in weights)}.")
    )
    if features:
        first, second = escape(verdict.why.nearest_prototype.generator), escape(verdict.why.runner_up.generator)
        drawn += (
            f'<p class="plot-title">Embedding features that speak for {first} (to the right) and for {second} '
            "(to the left)</p>"
            + bars(features, "", f"Features: {', '.join(f'{name} {text}' for name, _, text in features)}.")
        )
    return drawn


def _plots(story: TrackStory, run: RunRecord, bands: Sequence[Band]) -> str:
    points = story.points.items()
    if not points:
        return ""
    axis = time_axis(story.first, max(story.last, story.first + 1))
    shown = [band for band in bands if band.end > story.first and band.start < story.last]
    thinned = f" One in {story.points.apart} attributed faces is drawn." if story.points.apart > 1 else ""
    return (
        "<h4>p-values over time</h4>"
        + line_plot(
            _p_value_series(points),
            axis,
            Axis("p-value", scale="log10", start=_lowest(points, run.alpha), end=1.0, shown="{:g}".format),
            f"p-values of track {story.track} over time, from {points[0].p_value:.3f} for the first face to "
            f"{points[-1].p_value:.3f} for the last; the merged one ends at {story.verdict.p_value:.3f}, and α "
            f"is {run.alpha:g}.",
            rules=[Rule(run.alpha, f"α = {run.alpha:g}: at or below, unknown")],
            bands=shown,
        )
        + "<h4>Mean class scores over time</h4>"
        + line_plot(
            _score_series(points, story.verdict),
            axis,
            Axis("mean of the head's scores", start=_floor(points, story.verdict), end=_ceiling(points, story.verdict)),
            f"Mean scores of track {story.track} over time; at the end highest for {story.verdict.nearest}.",
            bands=shown,
        )
        + f'<p class="weak">The higher a score, the better the class fits; scores are not probabilities.{thinned}</p>'
    )


def _p_value_series(points: Sequence[Point]) -> list[Series]:
    series = [Series("the track, merged", [(point.timestamp, _drawn(point.track_p_value)) for point in points])]
    answers: tuple[TrackLabel, ...] = ("known", "unknown", "real")
    for answer in answers:
        places = [(point.timestamp, _drawn(point.p_value)) for point in points if point.answer == answer]
        if places:
            paint, shape = f"var(--{answer})", LOOKS[answer].shape
            series.append(Series(f"a face, alone {answer}", places, joined=False, shape=shape, colour=paint))
    return series


def _classes(verdict: TrackVerdict) -> list[str]:
    return sorted(verdict.scores, key=lambda name: -verdict.scores[name])[:CLASSES_SHOWN]


def _score_series(points: Sequence[Point], verdict: TrackVerdict) -> list[Series]:
    series = []
    for name in _classes(verdict):
        places = [(point.timestamp, point.track_scores[name]) for point in points]
        series.append(Series(name, places, shape="circle" if len(places) == 1 else "none"))
    return series


def _scores(points: Sequence[Point], verdict: TrackVerdict) -> list[float]:
    return [point.track_scores[name] for point in points for name in _classes(verdict)]


def _floor(points: Sequence[Point], verdict: TrackVerdict) -> float:
    values = _scores(points, verdict)
    return min(values) - 0.05 * (max(values) - min(values))


def _ceiling(points: Sequence[Point], verdict: TrackVerdict) -> float:
    values = _scores(points, verdict)
    return max(values) + 0.05 * (max(values) - min(values))


def _drawn(p_value: float) -> float:
    return max(p_value, LOWEST_P_VALUE)


def _lowest(points: Sequence[Point], alpha: float) -> float:
    """The power of ten below all p-values and α."""
    lowest = min([alpha, *(point.p_value for point in points)])
    power = 1.0
    while power > lowest and power > LOWEST_P_VALUE:
        power /= 10
    return power


def _table(story: TrackStory) -> str:
    """The figures of the faces that are shown."""
    columns = ("face", "verdict", "nearest", "p-value", "log density", "sharpness", "detector", "SHA-256 of its pixels")
    rows: list[Sequence[str | Cell]] = [
        [
            f"{time_words(event.timestamp)}, frame {event.frame:,}",
            event.verdict.label,
            event.verdict.nearest,
            f"{event.verdict.p_value:.3f}",
            f"{event.verdict.log_density:.4g}",
            f"{event.sharpness:.4g}",
            f"{event.face_score:.2f}",
            Cell(event.verdict.input.sha256, kind="hash"),
        ]
        for event in (face.event for face in story.faces)
    ]
    return table(columns, rows, "The faces shown above, each judged alone") if rows else ""
