"""The status panel shows what the statistics say."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from protoleak.cli.live_panel import StatusPanel
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import StatusSink
from protoleak.video.stream import stream
from tests.video.scripted import RecordingSink, ScriptedDetector, ScriptedSource, SlowScreener


def test_panel_shows_rates_drops_queues_latency_and_the_tracks_in_view(tiny_bundle: Path) -> None:
    shown = io.StringIO()
    panel, sink = StatusPanel(Console(file=shown, force_terminal=True, width=100)), RecordingSink()
    assert isinstance(panel, StatusSink)
    assert not isinstance(sink, StatusSink)
    source = ScriptedSource(range(40), live_rate=50)
    screener = SlowScreener(tiny_bundle, threads=1, engine="onnxruntime")
    settings = StreamSettings(every=0.1, minimum_evidence=1)
    list(stream(screener, source, settings, [panel, sink], ScriptedDetector()))
    text = shown.getvalue()
    for words in ("scripted", "frames/s", "processed", "faces to attribute", "p95", "track", "known"):
        assert words in text
    assert sink.statistics is not None
    assert f"{sink.statistics.frames_dropped} of 40 frames" in text
