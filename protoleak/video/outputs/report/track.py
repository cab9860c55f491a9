"""The part of a report that is about one track."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from protoleak.reports.bar_plot import bars
from protoleak.reports.line_plot import Axis, Band, Rule, Series, line_plot
from protoleak.reports.page import Cell, table
from protoleak.video.events import TrackLabel, TrackVerdict
from protoleak.video.outputs.report.collector import CollectedTrack, KeptFace, Point
from protoleak.video.outputs.report.wording import reason_text, verdict_paragraphs
from protoleak.video.outputs.run_record import RunRecord
from protoleak.video.outputs.timeline import timecode
from protoleak.video.outputs.verdict_style import STYLES, generator_or_label

CLASSES_SHOWN = 6
LOWEST_P_VALUE = 1e-4  # of an axis; a calibration of more images than 10,000 is rare
MILLISECONDS_BELOW = 10.0  # seconds of a plot, below which its times have decimals


def track_section(track: CollectedTrack, run: RunRecord, bands: Sequence[Band]) -> str:
    """Heading, faces, meaning, reasons and plots.

    Args:
        bands: stretches without images.
    """
    verdict, representative = track.verdict, track.representative_face
    group = representative.event.verdict.calibration.group if representative else None
    paragraphs = verdict_paragraphs(verdict, run, _class_of(group, representative))
    meaning = "".join(f"<p>{escape(text)}</p>" for text in paragraphs)
    frames = "" if track.frames is None else f", in {track.frames:,} frames"
    seen = f"Seen {when(track)}{frames}."
    # Reasons and curves of an undecided track would look like a verdict.
    decided = verdict.label != "undecided"
    reasons = f"{_why(representative)}{_plots(track, run, bands)}" if decided and representative else ""
    return (
        f'<section class="track" id="track-{track.track}"><h3>Track {track.track} {badge(verdict)}</h3>'
        f'<p class="weak">{escape(seen)}</p>{_faces(track.faces)}{meaning}'
        f"{reasons}{_table(track)}</section>"
    )


def badge(verdict: TrackVerdict) -> str:
    """The verdict as a coloured plate, with a shape for those who don't see colours."""
    style, name = STYLES[verdict.label], generator_or_label(verdict)
    text = f"known: {name}" if verdict.label == "known" else name
    return f'<span class="badge {verdict.label}"><span aria-hidden="true">{style.symbol}</span> {escape(text)}</span>'


def precise_timecode(seconds: float) -> str:
    """A timestamp for people: "1:03.25"."""
    hundredths = round(100 * seconds)
    return f"{timecode(hundredths // 100)}.{hundredths % 100:02d}"


def when(track: CollectedTrack) -> str:
    """Between which times it was seen, in words."""
    return f"from {precise_timecode(track.first)} to {precise_timecode(track.last)}"


def time_axis(start: float, end: float) -> Axis:
    """The source's own time."""
    short = end - start < MILLISECONDS_BELOW
    return Axis("time in the source", start=start, end=end, shown=_with_tenths if short else timecode)


def _with_tenths(seconds: float) -> str:
    tenths = round(10 * seconds)
    return f"{timecode(tenths // 10)}.{tenths % 10}"


def _class_of(group: str | None, representative: KeptFace | None) -> str | None:
    """The class of the calibration images, or "overall"."""
    if group is None or representative is None or group == "overall":
        return group
    return representative.event.verdict.nearest


def _faces(faces: Sequence[KeptFace]) -> str:
    if not faces:
        return '<p class="weak">None of its faces was attributed.</p>'
    return '<div class="faces">' + "".join(_face(face) for face in faces) + "</div>"


def _face(face: KeptFace) -> str:
    event = face.event
    own = event.verdict
    name = own.generator or own.label
    at = precise_timecode(event.timestamp)
    alternative = f"Face of track {event.track} at {at}, alone judged {name}"
    data = b64encode(face.jpeg).decode()
    size = f"{event.box.width:.0f} × {event.box.height:.0f} pixels"
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{escape(alternative)}" width="160" height="160">'
        f"<figcaption>{at}, frame {event.frame:,}<br>{size}<br>"
        f"alone: {STYLES[own.label].symbol} {escape(name)}<br>p-value {own.p_value:.3f}</figcaption></figure>"
    )


def _why(face: KeptFace) -> str:
    verdict = face.event.verdict
    weights = [(f"timestep {step}", weight, f"{weight:.3f}") for step, weight in verdict.why.timestep_weights.items()]
    looks = [(f"look {name}", weight, f"{weight:.3f}") for name, weight in verdict.why.look_weights.items()]
    features = [
        (f"feature {item.feature}", item.contribution, f"{item.contribution:+.3g}")
        for item in (*verdict.why.features_for, *reversed(verdict.why.features_against))
    ]
    at = precise_timecode(face.event.timestamp)
    drawn = (
        f"<h4>Why: the face at {at}</h4><p>{escape(reason_text(verdict))}</p>"
        '<p class="plot-title">What each diffusion timestep adds to the embedding</p>'
        + bars(weights, "", f"Weights of the timesteps: {', '.join(f'{name} {text}' for name, _, text in weights)}.")
    )
    if len(looks) > 1:
        drawn += '<p class="plot-title">What each look at the face adds to the embedding</p>' + bars(
            looks, "", f"Weights of the looks: {', '.join(f'{name} {text}' for name, _, text in looks)}."
        )
    if features:
        first, second = escape(verdict.why.nearest_prototype.generator), escape(verdict.why.runner_up.generator)
        drawn += (
            f'<p class="plot-title">Embedding features that speak for {first} (to the right) and for {second} '
            "(to the left)</p>"
            + bars(features, "", f"Features: {', '.join(f'{name} {text}' for name, _, text in features)}.")
        )
    return drawn


def _plots(track: CollectedTrack, run: RunRecord, bands: Sequence[Band]) -> str:
    points = track.points.items()
    if not points:
        return ""
    axis = time_axis(track.first, max(track.last, track.first + 1))
    shown = [band for band in bands if band.end > track.first and band.start < track.last]
    thinned = f" One in {track.points.apart} attributed faces is drawn." if track.points.apart > 1 else ""
    return (
        "<h4>p-values over time</h4>"
        + line_plot(
            _p_value_series(points),
            axis,
            Axis("p-value", scale="log10", start=_lowest(points, run.alpha), end=1.0, shown="{:g}".format),
            f"p-values of track {track.track} over time, from {points[0].p_value:.3f} for the first face to "
            f"{points[-1].p_value:.3f} for the last; the merged one ends at {track.verdict.p_value:.3f}, and α "
            f"is {run.alpha:g}.",
            rules=[Rule(run.alpha, f"α = {run.alpha:g}: at or below, unknown")],
            bands=shown,
        )
        + "<h4>Mean class scores over time</h4>"
        + line_plot(
            _score_series(points, track.verdict),
            axis,
            Axis("mean of the head's scores", start=_floor(points, track.verdict), end=_ceiling(points, track.verdict)),
            f"Mean scores of track {track.track} over time; at the end highest for {track.verdict.nearest}.",
            bands=shown,
        )
        + f'<p class="weak">The higher a score, the better the class fits; scores are not probabilities.{thinned}</p>'
    )


def _p_value_series(points: Sequence[Point]) -> list[Series]:
    series = [Series("the track, merged", [(point.timestamp, _drawn(point.track_p_value)) for point in points])]
    labels: tuple[TrackLabel, ...] = ("known", "unknown", "real")
    for label in labels:
        places = [(point.timestamp, _drawn(point.p_value)) for point in points if point.label == label]
        if places:
            paint, shape = f"var(--{label})", STYLES[label].shape
            series.append(Series(f"a face, alone {label}", places, joined=False, shape=shape, colour=paint))
    return series


def _classes(verdict: TrackVerdict) -> list[str]:
    return sorted(verdict.scores, key=lambda name: -verdict.scores[name])[:CLASSES_SHOWN]


def _score_series(points: Sequence[Point], verdict: TrackVerdict) -> list[Series]:
    series = []
    for name in _classes(verdict):
        # A point without scores stands before the first face that held enough to judge.
        places = [(point.timestamp, point.track_scores[name]) for point in points if name in point.track_scores]
        series.append(Series(name, places, shape="circle" if len(places) == 1 else "none"))
    return series


def _scores(points: Sequence[Point], verdict: TrackVerdict) -> list[float]:
    return [score for point in points for name, score in point.track_scores.items() if name in _classes(verdict)]


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


def _table(track: CollectedTrack) -> str:
    """The figures of the faces that are shown."""
    columns = ("face", "verdict", "nearest", "p-value", "log density", "sharpness", "detector", "SHA-256 of its pixels")
    rows: list[Sequence[str | Cell]] = [
        [
            f"{precise_timecode(event.timestamp)}, frame {event.frame:,}",
            event.verdict.label,
            event.verdict.nearest,
            f"{event.verdict.p_value:.3f}",
            f"{event.verdict.log_density:.4g}",
            f"{event.sharpness:.4g}",
            f"{event.face_score:.2f}",
            Cell(event.verdict.input.sha256, kind="hash"),
        ]
        for event in (face.event for face in track.faces)
    ]
    return table(columns, rows, "The faces shown above, each judged alone") if rows else ""
