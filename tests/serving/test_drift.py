"""The evidence that a server's images are not like the calibration's: by source, in what it says and in its log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

import protoleak
from protoleak.image_records import Record
from protoleak.runtime.drift import EVIDENCE
from protoleak.runtime.verdict import Verdict
from protoleak.serving.drift import MOST_SOURCES, DriftWatch
from protoleak.serving.judging import BundleJudge
from protoleak.serving.refusal import Refusal
from protoleak.serving.settings import BundleOptions, RequestLimits
from tests.serving.conftest import png
from tests.serving.running import ENGINE, RunningServer


@pytest.fixture(scope="module")
def judge(tiny_bundle: Path) -> Iterator[BundleJudge]:
    options = BundleOptions(bundle=str(tiny_bundle), engine="onnxruntime", threads=1, isolate=False)
    opened = BundleJudge(options, RequestLimits(), lambda _: None)
    opened.warm_up()
    yield opened
    opened.retire()


def records(judge: BundleJudge, number: int, density: float) -> list[Record]:
    """Of an image that is known."""
    assert judge.example is not None
    nearest = judge.screener.bundle.manifest.generators[0]
    verdict = msgspec.structs.replace(judge.example, nearest=nearest, log_density=density, lacking=None)
    return [Record("verdict", None, f"{number:064x}", verdict=verdict)]


def densities(judge: BundleJudge) -> list[float]:
    """Of the calibration's images of the first class, without the lowest ones."""
    calibration = judge.screener.bundle.variant("fp32").calibration
    return [float(one) for one in calibration.per_generator[0][len(calibration.per_generator[0]) // 10 :]]


def event_after(judge: BundleJudge, workers: int) -> int | None:
    """How many of 100 images that are all as usual as the most usual ones it takes to tell drift."""
    watch, most = DriftWatch(judge, workers), densities(judge)[-1]
    for number in range(100):
        taken = watch.take("gate", records(judge, number, most + 0.01), lambda _: None)
        if taken is not None and taken[1] is not None:
            return number
    return None


def test_sources_have_evidence_of_their_own(judge: BundleJudge) -> None:
    watch, usual = DriftWatch(judge, 1), densities(judge)
    events = []
    for number, drawn in enumerate(np.random.default_rng(0).choice(usual, 60)):
        for source, density in ((None, float(drawn)), ("gate", usual[-1] + 0.01)):
            taken = watch.take(source, records(judge, number, density), lambda _: None)
            assert taken is not None
            events += [taken[1]] if taken[1] is not None else []
    (event,) = events
    assert event.source == "gate"
    unnamed, gate = sorted(watch.all(), key=lambda one: one.source or "")
    assert (unnamed.source, unnamed.faces, unnamed.drift) == (None, 60, None)
    assert (gate.faces, gate.drift) == (60, event)
    assert gate.largest_evidence >= event.evidence >= EVIDENCE > unnamed.largest_evidence


def test_several_workers_take_more_evidence_each(judge: BundleJudge) -> None:
    alone, among_four = event_after(judge, 1), event_after(judge, 4)
    assert alone is not None
    assert among_four is not None
    assert alone < among_four


def test_an_image_that_is_sent_again_is_no_new_evidence(judge: BundleJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protoleak.serving.drift.SEEN", 20)
    watch = DriftWatch(judge, 1)
    for _ in range(50):
        watch.take("gate", records(judge, 1, densities(judge)[-1]), lambda _: None)
    assert [one.faces for one in watch.all()] == [1]
    for number in range(2, 22):
        watch.take("gate", records(judge, number, densities(judge)[-1]), lambda _: None)
    assert watch.take("gate", records(judge, 1, densities(judge)[-1]), lambda _: None) is not None


def test_sources_that_were_not_heard_of_for_longest_are_forgotten(judge: BundleJudge) -> None:
    watch = DriftWatch(judge, 1)
    forgotten: list[str] = []
    for number in range(MOST_SOURCES + 2):
        watch.take(f"camera {number}", records(judge, number, 0.0), forgotten.append)
        watch.take("camera 0", records(judge, number, 0.0), forgotten.append)
        watch.take(None, records(judge, number, 0.0), forgotten.append)
    assert forgotten == ["camera 1", "camera 2"]
    assert sum(one.source is not None for one in watch.all()) == MOST_SOURCES


def test_what_holds_too_little_or_has_no_verdict_is_not_compared(judge: BundleJudge) -> None:
    watch = DriftWatch(judge, 1)
    (one,) = records(judge, 1, 0.0)
    assert one.verdict is not None
    blurred = Record("verdict", None, "a", verdict=msgspec.structs.replace(one.verdict, lacking="blurred"))
    assert watch.take("gate", [blurred], lambda _: None) is None
    assert watch.take("gate", [Record("error", None, None, reason="broken")], lambda _: None) is None
    assert list(watch.all()) == []


@pytest.mark.parametrize("name", ["", "a" * 65, "line\nbreak", "\u202eevil"])
def test_names_that_a_log_could_not_hold_are_refused(name: str) -> None:
    from protoleak.serving.drift import source_named

    with pytest.raises(Refusal, match="printable characters"):
        source_named(name)


def test_a_server_tells_the_drift_of_a_source(tiny_bundle: Path) -> None:
    """The same images in a monitor of one's own say how it must turn out: an image of one class, ever a little
    changed, is not as varied as the calibration's."""
    with protoleak.load(tiny_bundle, engine="onnxruntime", threads=1) as screener:
        watch, sent, verdicts = screener.drift_monitor("gate"), [], []
        for number in range(200):
            sent.append(almost_the_same(number))
            verdicts += screener(sent[-1])
            if watch.take(verdicts[-1]) is not None:
                break
    assert watch.event is not None
    with RunningServer(tiny_bundle, *ENGINE, "--no-isolate") as server:
        for image in sent:
            assert server.screen(image, path=f"/v1/screen?source={quote('gate 1')}").status == 200
        server.screen(png(0, 1))
        said = {one["source"]: one for one in server.ask("GET", "/v1/drift").json["data"]}
        assert server.screen(png(0, 1), path="/v1/screen?source=a%0Ab").json["error"]["code"] == "bad_query"
        metrics = samples(server)
        server.wait_for(f"drift: gate 1: after {watch.event.faces} faces", 5)
    assert said[None]["faces"] <= 1
    assert said["gate 1"]["faces"] == watch.faces
    assert said["gate 1"]["drift"]["evidence"] == pytest.approx(watch.event.evidence)
    assert metrics[("protoleak_drift_evidence", "gate 1")] == pytest.approx(watch.evidence)
    assert metrics[("protoleak_drifts_total", "")] == 1


def test_a_client_names_its_source(server: RunningServer) -> None:
    pytest.importorskip("httpx2", reason="it speaks HTTP")
    from protoleak.client import Client

    with Client(f"http://127.0.0.1:{server.port}", source="desk & co") as client:
        verdict: Verdict = client(png(0, 77))[0]
    said = {one["source"]: one for one in server.ask("GET", "/v1/drift").json["data"]}
    assert said["desk & co"]["faces"] >= (verdict.p_value > verdict.alpha)


def almost_the_same(number: int) -> bytes:
    """An image of the first class with other noise of little amplitude."""
    import io

    from PIL import Image

    from tests.tiny_bundle import make_image

    noise = np.random.default_rng(number).integers(-2, 3, (*make_image(0, 3).shape,))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(make_image(0, 3).astype(int) + noise, 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def samples(server: RunningServer) -> dict[tuple[str, str], Any]:
    text = server.ask("GET", "/v1/metrics").body.decode()
    found = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return {(one.name, one.labels.get("source", "")): one.value for one in found}
