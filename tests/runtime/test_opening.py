"""A bundle and its engines, opened before anything reads images."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest

from protoleak.runtime.executors import HostExecutor
from protoleak.runtime.opening import Opening
from protoleak.runtime.pipeline import ImagePipeline
from tests.tiny_bundle import make_image

IMAGE = make_image(0, 1)


@pytest.mark.parametrize("warm", [False, True])
def test_a_pipeline_that_was_opened_early_judges_as_any_other_and_is_sent_to_other_processes(
    tiny_bundle: Path, warm: bool
) -> None:
    opening = Opening(tiny_bundle, engine="onnxruntime", threads=1)
    opening.start(warm=warm)
    with ImagePipeline(opening) as early, ImagePipeline(tiny_bundle, engine="onnxruntime", threads=1) as plain:
        (expected,) = plain(IMAGE)
        for pipeline in (early, pickle.loads(pickle.dumps(early))):
            (verdict,) = pipeline(IMAGE)
            assert (verdict.log_density, verdict.scores) == (expected.log_density, expected.scores)
            assert verdict.engine == expected.engine


def test_what_is_done_meanwhile_has_bundle_and_framing_and_its_error_closes_the_engines(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[HostExecutor] = []
    monkeypatch.setattr(HostExecutor, "close", lambda executor: closed.append(executor))

    def meanwhile(pipeline: ImagePipeline) -> None:
        assert pipeline.bundle.manifest.preprocessing.framing.looks == pipeline.framing.looks
        raise KeyError("what was done meanwhile")

    with pytest.raises(KeyError, match="meanwhile"):
        ImagePipeline(tiny_bundle, engine="onnxruntime", threads=1, meanwhile=meanwhile)
    latest = time.monotonic() + 30
    while not closed and time.monotonic() < latest:
        time.sleep(0.01)
    assert len(closed) == 1
