"""The whole report of one source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from protoleak.reports.line_plot import Band
from protoleak.reports.page import Cell, bullets, facts_table, page, table
from protoleak.reports.timeline_plot import Span, spans
from protoleak.runtime.drift import evidence_text
from protoleak.video.events import TrackEvent
from protoleak.video.frames import SourceInfo
from protoleak.video.outputs.report.collector import INCIDENTS_KEPT, CollectedTrack, SourceCollector
from protoleak.video.outputs.report.track import precise_timecode, time_axis, track_section, when
from protoleak.video.outputs.report.wording import accusations
from protoleak.video.outputs.run_record import RunRecord
from protoleak.video.outputs.verdict_style import STYLES, generator_or_label
from protoleak.video.statistics import Statistics

_LIGHT = " ".join(f"--{label}: {style.light};" for label, style in STYLES.items())
_DARK = " ".join(f"--{label}: {style.dark};" for label, style in STYLES.items())
_BADGES = "\n".join(f".badge.{label} {{ color: var(--{label}); }}" for label in STYLES)

STYLE = f"""
:root {{ {_LIGHT} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
h4 {{ font-size: .95rem; margin: 1.3rem 0 .3rem; }}
.badge {{ display: inline-block; border: 1.5px solid currentColor; border-radius: 1em; padding: 0 .7em;
          font-size: .85em; font-weight: 600; line-height: 1.7; white-space: nowrap; vertical-align: middle;
          max-width: 100%; overflow: hidden; text-overflow: ellipsis; }}
{_BADGES}
.verdicts {{ display: flex; flex-wrap: wrap; gap: .5rem 1rem; padding: 0; margin: .8rem 0; list-style: none; }}
.track {{ border: 1px solid var(--faint); border-radius: 10px; padding: .2rem 1.2rem 1rem; margin: 1.2rem 0; }}
.track h3 {{ display: flex; flex-wrap: wrap; align-items: center; gap: .3rem .7rem; margin: 1rem 0 .2rem;
             font-size: 1.1rem; }}
.track > p {{ max-width: 80ch; margin: .5rem 0; }}
.faces {{ display: flex; flex-wrap: wrap; gap: 1rem; margin: .8rem 0; }}
figure {{ margin: 0; width: 160px; }}
figure img {{ border-radius: 6px; display: block; background: var(--faint); }}
figcaption {{ font-size: 12px; line-height: 1.4; color: var(--weak); margin-top: .3rem; }}
.plot-title {{ font-size: 14px; color: var(--weak); }}
td.hash {{ font: 11px/1.4 ui-monospace, monospace; white-space: normal; overflow-wrap: anywhere; min-width: 15rem;
           text-align: left; }}
.plain {{ background: var(--raised); border-radius: 8px; padding: .6rem 1.1rem; margin: 1rem 0; }}
.plain p {{ margin: .4rem 0; max-width: 85ch; }}
a {{ color: inherit; }}
@media print {{ .track {{ border: 0; border-top: 1px solid var(--faint); border-radius: 0; padding: 0; }}
                td.hash {{ font-size: 8px; overflow-wrap: anywhere; }} }}
"""

READING = (
    "A verdict is one piece of evidence with a stated error rate, not a finding about a person. It is about images "
    "of faces, each cut out and judged, and about nothing else in the video.",
    "known: consistent with what a generator that the bundle knows makes. real: consistent with the camera images of "
    "its training. unknown: unlike all of these, which a camera image can be too. undecided: too few faces so far.",
)


def report_page(
    info: SourceInfo,
    run: RunRecord,
    collected: SourceCollector,
    statistics: Statistics,
    annotated: str | None = None,
    open_tracks: Sequence[TrackEvent] | None = None,
) -> str:
    """The file's content.

    Args:
        annotated: name of the annotated video beside it.
        open_tracks: that have not ended, in a report that is written while the source is being screened; else None.
    """
    end = max([statistics.media_seconds, 1e-3, *(track.last for track in collected.tracks.values())])
    bands = [
        Band(gap.timestamp, end if gap.seconds is None else gap.timestamp + gap.seconds, f"no images: {gap.reason}")
        for gap in collected.gaps
    ]
    tracks = sorted(collected.tracks.values(), key=lambda track: track.first)
    sections = [
        f"<h1>protoleak: {escape(info.name)}</h1>",
        _verdicts(collected, len(open_tracks or ())),
        '<div class="plain">' + "".join(f"<p>{escape(text)}</p>" for text in (accusations(run), *READING)) + "</div>",
        facts_table(_source_facts(info, statistics, annotated)),
        _broken_off(statistics, collected, ended=open_tracks is None),
        "<h2>Tracks</h2>",
        _overview(tracks, bands, end),
        _left_out(collected),
        *(track_section(track, run, bands) for track in tracks),
        "<h2>What was not seen</h2>",
        _not_seen(statistics, collected),
        "<h2>Appendix: what judged it</h2>",
        facts_table(_run_facts(run, collected)),
    ]
    return page(f"protoleak: {info.name}", sections, STYLE)


def counted(number: int, one: str, many: str | None = None) -> str:
    """ "1 track", "2 tracks"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _verdicts(collected: SourceCollector, open_tracks: int) -> str:
    in_view = f"<p>{counted(open_tracks, 'track')} in view, not counted yet.</p>" if open_tracks else ""
    if not collected.verdicts:
        return in_view or "<p>No face was seen.</p>"
    items = []
    for label, style in STYLES.items():
        number = collected.verdicts[label]
        if not number:
            continue
        by_name = [f"{name} {count}" for name, count in collected.generators.most_common()] if label == "known" else []
        text = counted(number, "track") + (f" ({', '.join(by_name)})" if by_name else "")
        shape = f'<span aria-hidden="true">{style.symbol}</span>'
        items.append(f'<li><span class="badge {label}">{shape} {label}</span> {escape(text)}</li>')
    return f'<ul class="verdicts">{"".join(items)}</ul>{in_view}'


def _source_facts(info: SourceInfo, statistics: Statistics, annotated: str | None) -> list[tuple[str, str]]:
    size = "not known" if info.width is None else f"{info.width} × {info.height} pixels"
    rate = "" if info.rate is None else f", {float(info.rate):.5g} frames per second on average"
    lasts = "" if info.duration is None else f", {precise_timecode(info.duration)} long"
    facts = [
        ("source", f"{info.name} ({info.kind}{', live' if info.live else ''})"),
        ("SHA-256", info.sha256 or "none: not a file"),
        ("images", size + rate + lasts),
        (
            "screened",
            f"{counted(statistics.frames_processed, 'frame')} up to {precise_timecode(statistics.media_seconds)}, in "
            f"{statistics.seconds:.1f} s ({statistics.fps_processed:.1f} frames per second); "
            f"{counted(statistics.attributed, 'face')} attributed in {counted(statistics.tracks, 'track')}",
        ),
    ]
    if statistics.drift_faces:
        evidence = evidence_text(statistics.drift_faces, statistics.drift_evidence)
        facts.append(("like the calibration's", f"{evidence}. Of a track one face is compared"))
    if statistics.latency is not None and info.live:
        late = statistics.latency
        facts.append(("capture to verdict", f"p50 {late.p50:.3f} s, p95 {late.p95:.3f} s, p99 {late.p99:.3f} s"))
    if annotated is not None:
        facts.append(("annotated video", f"{annotated}, beside this file"))
    return [*facts, *(("note", note) for note in info.notes)]


def _broken_off(statistics: Statistics, collected: SourceCollector, *, ended: bool) -> str:
    lines = []
    if not ended:
        at = precise_timecode(statistics.media_seconds)
        lines.append(
            f"This report was written while the source was being screened, at {at}. If nothing screens it any more, "
            "the program was killed: what comes after was not screened."
        )
    if statistics.interrupted:
        at = precise_timecode(statistics.media_seconds)
        lines.append(f"Screening was stopped by somebody at {at}: what comes after was not screened.")
    if collected.drift is not None:
        lines.append(f"Drift: {collected.drift}.")
    if collected.failure_count:
        lines.append("Something could not be read or judged: see below, What was not seen.")
    return "".join(f"<p><strong>{escape(line)}</strong></p>" for line in lines)


def _overview(tracks: Sequence[CollectedTrack], bands: Sequence[Band], end: float) -> str:
    if not tracks:
        return '<p class="weak">There is none.</p>'
    rows = [
        Span(
            f"track {track.track} {STYLES[track.verdict.label].symbol}",
            track.first,
            track.last,
            f"var(--{track.verdict.label})",
            generator_or_label(track.verdict),
        )
        for track in tracks
    ]
    described = "; ".join(f"track {track.track} {when(track)}: {generator_or_label(track.verdict)}" for track in tracks)
    shaded = '<p class="weak">Shaded: no images there.</p>' if bands else ""
    return spans(rows, time_axis(0.0, end), f"When each track was seen: {described}.", bands) + shaded


def _left_out(collected: SourceCollector) -> str:
    if not collected.left_out:
        return ""
    return (
        f'<p class="weak">{counted(collected.left_out, "further track")} with less evidence, or milder verdicts, '
        "are in tracks.json and verdicts.jsonl only.</p>"
    )


def _not_seen(statistics: Statistics, collected: SourceCollector) -> str:
    lines = []
    if statistics.live:
        lines.append(
            f"{counted(statistics.frames_dropped, 'frame')} of {statistics.frames_in:,} dropped, and "
            f"{counted(statistics.faces_given_up, 'sampled face')} given up for newer ones."
        )
    else:
        lines.append(f"No frame of {statistics.frames_in:,} decoded was dropped.")
    lines.append(
        f"{counted(collected.gap_count, 'gap')} without images, {counted(collected.failure_count, 'failure')}."
    )
    if max(collected.gap_count, collected.failure_count) > INCIDENTS_KEPT:
        lines.append(f"Only the first {INCIDENTS_KEPT} of each are listed here; tracks.json has all.")
    rows: list[tuple[float, Sequence[str | Cell]]] = []
    for gap in collected.gaps:
        lasted = "to the end" if gap.seconds is None else f"{gap.seconds:.2f} s"
        row: Sequence[str | Cell] = [precise_timecode(gap.timestamp), "gap", lasted, Cell(gap.reason, kind="text")]
        rows.append((gap.timestamp, row))
    for failure in collected.failures:
        at = "–" if failure.timestamp is None else precise_timecode(failure.timestamp)
        rows.append((failure.timestamp or 0.0, [at, "failure", "–", Cell(failure.message, kind="text")]))
    rows.sort(key=lambda row: row[0])
    listed = table(("from", "what", "for", "reason"), [row for _, row in rows], "Gaps and failures") if rows else ""
    return bullets(lines) + listed


def _run_facts(run: RunRecord, collected: SourceCollector) -> list[tuple[str, str]]:
    settings = ", ".join(f"{name} {'none' if value is None else value}" for name, value in run.settings.items())
    engine = run.engine
    return [
        ("bundle", f"{run.bundle.name}, variant {run.bundle.variant}"),
        ("SHA-256 of its manifest", run.bundle.sha256),
        ("classes", ", ".join(run.generators) + (f"; cameras: {run.real_class}" if run.real_class else "; no cameras")),
        ("engine", f"{engine.name} on {engine.device}; {_listed(engine.versions)}"),
        *([("engine's settings", _listed(engine.settings))] if engine.settings else []),
        ("significance level", f"α = {run.alpha:g}"),
        ("faces found by", run.face_finder or "nobody: every sampled frame was judged whole"),
        ("settings", settings),
        ("libraries", _listed(run.libraries)),
        ("run begun", run.created),
        ("verdicts", f"{counted(collected.faces, 'face')}, each with the SHA-256 of its pixels, in verdicts.jsonl"),
    ]


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
