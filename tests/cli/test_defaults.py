"""Every command has the defaults of its settings type, and shows the choices that there are."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import msgspec
import pytest
import typer

from protoleak.bench.settings import BenchmarkSettings
from protoleak.cli.app import application
from protoleak.cli.screen_options import ScreenOptions, VideoOptions
from protoleak.cli.typed_values import joined
from protoleak.discovery.clusters import SMALLEST_CLUSTER
from protoleak.distillation.settings import DistillationSettings
from protoleak.enrolment.report import Limits
from protoleak.evaluation.settings import EvaluationSettings
from protoleak.export.settings import ExportSettings
from protoleak.faces.settings import FaceSettings
from protoleak.runtime.engine_options import EngineOptions
from protoleak.serving.corpus.cluster import Place
from protoleak.serving.corpus.run import CorpusOptions
from protoleak.serving.corpus.settings import JudgeSettings
from protoleak.serving.settings import MEBIBYTE, BundleOptions, RequestLimits, ServeSettings
from protoleak.serving.triton.settings import RepositorySettings
from protoleak.training.settings import TrainingSettings
from protoleak.video.settings import StreamSettings
from protoleak.video.sources.network_settings import GB, NetworkSettings
from tests.cli.conftest import Run

COMMANDS: Mapping[str, Any] = typer.main.get_command(application()).commands  # type: ignore[attr-defined]
LATENT_ENCODER = {"encoder_range": "0,1", "scaling": 1.0}  # of `load_latent_encoder`, tested below
# Command → its settings types; parameter → field, where they are named otherwise; parameters that are no settings, with
# their defaults.
SETTINGS: dict[str, tuple[tuple[type, ...], dict[str, str], dict[str, object]]] = {
    "screen": (
        (ScreenOptions, VideoOptions, StreamSettings, NetworkSettings, EngineOptions),
        {"connect_timeout": "open_timeout"},
        # Left out, the first two are others for images than for videos.
        {"batch_size": None, "faces": None, "max_download": NetworkSettings.most_bytes / GB},
    ),
    "corpus": (
        (CorpusOptions, JudgeSettings, Place, FaceSettings, EngineOptions),
        {},
        {"faces": None},  # left out, as the bundle was trained
    ),
    "train": (
        (TrainingSettings,),
        {},
        {
            **LATENT_ENCODER,
            **{"real_class": None, "negatives": None, "auxiliary": None, "resume": False, "overwrite": False},
            **{"face_model": None},
            **{"workers": None, "settings_file": None, "print_settings": False},
        },
    ),
    "export": (
        (ExportSettings,),
        {},
        {"settings_file": None, "print_settings": False, "variants": joined(("fp32", *ExportSettings().variants))},
    ),
    "distill": (
        (DistillationSettings,),
        {},
        # Left out, widths and blocks are those of the student that is the default.
        {"teacher_range": "0,1", "scaling": 1.0, "student": None, "widths": None, "blocks": None}
        | {"workers": None, "resume": False},
    ),
    "import-checkpoint": (
        (TrainingSettings,),
        {},
        {**LATENT_ENCODER, "temporal": None, "real_class": None, "low_frequency": None},
    ),
    "evaluate": (
        (EvaluationSettings,),
        {"images": "images_per_class", "bootstrap": "resamples"},
        {"bundle": None, "trusted_key": None, "operators": "all", "json_file": None, "html_file": None},
    ),
    "bench": (
        (BenchmarkSettings,),
        {"engine": "engines", "compute": "computes", "model": "baseline_model"},
        {"bundle": None, "trusted_key": None, "baseline": None, "json_file": None, "html_file": None},
    ),
    "build-plans": (
        (EngineOptions,),
        {"workspace": "workspace_mib"},
        {"bundle": None, "trusted_key": None, "engine": "tensorrt", "variants": None, "compute_capability": None},
    ),
    "serve": (
        (BundleOptions, RequestLimits, ServeSettings),
        {"faces": "finder", "images_limit": "images", "faces_limit": "faces", "request_seconds": "seconds"}
        | {"streams_limit": "streams", "no_token": "open_to_all"},
        {
            **{"body_limit": RequestLimits.body / MEBIBYTE, "token_file": None, "cors_origin": None},
            **{"allow_streams": None, "face_model": None, "face_score": FaceSettings.face_score},
            **{"minimum_face": FaceSettings.minimum_face, "margin": FaceSettings.margin},
        },
    ),
    "triton": (
        (RepositorySettings,),
        {},
        # One of them is refused in either form.
        {"bundle": None, "trusted_key": None, "backend": None, "engine": None, "python_path": None},
    ),
    "enrol": (
        (Limits, ScreenOptions),
        {},
        {
            **{"bundle": None, "trusted_key": None, "key": None, "as_json": False, "photographs": None},
            **{"generator": None, "data": None, "cluster": None, "force": False, "remove": None},
        },
    ),
    "recalibrate": (
        (ScreenOptions,),
        {},
        {"bundle": None, "trusted_key": None, "key": None, "as_json": False, "photographs": None},
    ),
    "discover": ((ScreenOptions,), {}, {"bundle": None, "trusted_key": None, "smallest": SMALLEST_CLUSTER}),
    "engines": ((EngineOptions, ScreenOptions), {}, {"bundle": None, "as_json": False}),
    "inspect": ((ScreenOptions,), {}, {"bundle": None, "as_json": False}),
}


NO_SETTINGS = {"sign"}  # commands that have none: their options name files


def defaults_of(kind: type) -> dict[str, object]:
    """Field → default, of those that have one."""
    if issubclass(kind, msgspec.Struct):
        return {field.name: field.default for field in msgspec.structs.fields(kind)}
    return {field.name: field.default for field in fields(kind) if field.default is not MISSING}


def test_every_command_is_compared() -> None:
    assert set(SETTINGS) | NO_SETTINGS == set(COMMANDS)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_command_has_the_defaults_of_its_settings(name: str) -> None:
    kinds, renamed, others = SETTINGS[name]
    compared = 0
    for parameter in COMMANDS[name].params:
        if parameter.required or parameter.name == "help":
            continue
        if parameter.name in others:
            assert parameter.default == others[parameter.name], parameter.name
            continue
        field = renamed.get(parameter.name, parameter.name)
        found = [default for kind in kinds for key, default in defaults_of(kind).items() if key == field]
        assert found, f"--{parameter.name} is no setting of {name}"
        for default in found:
            typed = joined(default) if isinstance(default, tuple) else default
            assert parameter.default == typed, parameter.name
        compared += 1
    assert compared


def test_a_checkpoint_and_a_latent_encoder_have_the_same_defaults_in_python() -> None:
    from protoleak.cli.typed_values import input_range
    from protoleak.model.latent_encoder import load_latent_encoder
    from protoleak.model.published import import_checkpoint

    of_encoder = inspect.signature(load_latent_encoder).parameters
    assert of_encoder["input_range"].default == input_range(str(LATENT_ENCODER["encoder_range"]))
    assert of_encoder["scaling"].default == LATENT_ENCODER["scaling"]
    of_checkpoint = inspect.signature(import_checkpoint).parameters
    for name in ("image_size", "noise_seed"):
        assert of_checkpoint[name].default == getattr(TrainingSettings(), name)


@pytest.mark.parametrize(
    ("command", "choices"),
    [
        ("train", ("conv", "resnet101", "vit_b_16", "auto", "exact", "bf16")),
        ("export", ("prototype", "tied_gaussian", "whitened", "gated")),
        ("screen", ("tensorrt-rtx", "onnxruntime-cuda", "openvino", "exact", "bf16", "yunet", "haar")),
        ("evaluate", ("test", "all", "jpeg", "greyscale", "chain")),
        ("build-plans", ("tensorrt", "tensorrt-rtx")),
        ("triton", ("onnxruntime", "tensorrt")),
        ("bench", ("pytorch",)),
    ],
)
def test_help_lists_the_choices(
    command: str,
    choices: tuple[str, ...],
    run: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert run(command, "--help") == 0
    shown = capsys.readouterr().out
    for choice in choices:
        assert choice in shown
