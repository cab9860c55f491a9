"""The status panel shows what the statistics say."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from protoleak.cli.screen_videos.status_panel import StatusPanel
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import StatusSink
from protoleak.video.stream import stream
from protoleak.video.streams import streams
from tests.video.scripted import RecordingSink, ScriptedDetector, ScriptedSource, SlowScreener, named


def test_panel_shows_rates_drops_latency_and_the_tracks_in_view(tiny_bundle: Path) -> None:
    shown = io.StringIO()
    panel, sink = StatusPanel(Console(file=shown, force_terminal=True, width=120)), RecordingSink()
    row = panel.sink()
    assert isinstance(row, StatusSink)
    assert not isinstance(sink, StatusSink)
    source = ScriptedSource(range(40), live_rate=50)
    screener = SlowScreener(tiny_bundle, threads=1, engine="onnxruntime")
    settings = StreamSettings(every=0.1, minimum_evidence=1)
    list(stream(screener, source, settings, [row, sink], ScriptedDetector()))
    text = shown.getvalue()
    for words in ("scripted", "frames/s", "processed", "p95", "track", "known"):
        assert words in text
    assert sink.statistics is not None
    assert f"{sink.statistics.frames_dropped} of 40" in text


def test_several_sources_have_a_row_each_in_one_table(tiny_bundle: Path) -> None:
    shown = io.StringIO()
    panel = StatusPanel(Console(file=shown, force_terminal=True, width=120))
    screener = SlowScreener(tiny_bundle, threads=1, engine="onnxruntime")
    sources = [named(ScriptedSource(range(20), live_rate=25), name) for name in ("gate", "yard")]
    list(streams(screener, sources, StreamSettings(every=0.1), [panel], ScriptedDetector()))
    last = shown.getvalue().rpartition("frames/s")[2]
    assert "gate" in last
    assert "yard" in last
    assert last.count("of 20") == 2
