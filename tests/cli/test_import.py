"""`protoleak import-checkpoint`: published checkpoints become models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from protoleak.model.checkpoint import load_model
from tests.cli.conftest import Run


@pytest.fixture
def arguments(shared: Path, tmp_path: Path) -> list[object]:
    reference = shared / "reference" / "conv-multistep"
    return [
        *("import-checkpoint", reference / "checkpoint.pt", "--latent-encoder", reference / "vae"),
        *("--timesteps", "0,100,300,500", "--generators", "gen_a,gen_b,gen_c", "--out", tmp_path / "model"),
    ]


@pytest.mark.parametrize("temporal", ["FILE", "uniform"])
def test_a_checkpoint_becomes_a_model_with_the_temporal_pool_that_was_given(
    temporal: str,
    arguments: list[object],
    run: Run,
    shared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pool = shared / "reference" / "conv-multistep" / "temporal_pool.pt" if temporal == "FILE" else temporal
    assert run(*arguments, "--temporal", pool, "--real-class", "gen_c") == 0
    out = capsys.readouterr().out
    assert "conv, 3 generators × 6 prototypes, embedding 128, 4 timesteps" in out
    assert f"next: protoleak export {tmp_path / 'model'}" in out
    config = load_model(tmp_path / "model").config
    assert config.attributor.temporal == ("attention" if temporal == "FILE" else "uniform")
    assert config.provenance["temporal"] == config.attributor.temporal
    assert (config.real_class, config.timesteps) == ("gen_c", [0, 100, 300, 500])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "--temporal uniform"),
        ({"--temporal": "nowhere.pt"}, "nowhere.pt"),
        ({"--temporal": "uniform", "--generators": "a,b"}, "3"),
        ({"--temporal": "uniform", "--generators": "a,,c"}, "none empty"),
        ({"--temporal": "uniform", "--generators": "a,b,b"}, "names must differ"),
        ({"--temporal": "uniform", "--timesteps": "0,0,1,2"}, "one occurs twice"),
        ({"--temporal": "uniform", "--low-frequency": "8"}, "8 low-frequency components"),
        ({"--temporal": "uniform", "--real-class": "d"}, "'d'"),
    ],
)
def test_a_missing_or_contradicting_option_is_one_line_and_nothing_is_written(
    change: dict[str, str],
    words: str,
    arguments: list[object],
    run: Run,
    tmp_path: Path,
    one_line: Callable[[], str],
) -> None:
    assert run(*arguments, *[part for option in change.items() for part in option]) == 2
    assert words in one_line()
    assert not (tmp_path / "model").exists()


def test_a_file_that_is_no_checkpoint_is_one_line(
    arguments: list[object], run: Run, tmp_path: Path, one_line: Callable[[], str]
) -> None:
    (tmp_path / "photo.pt").write_bytes(b"no checkpoint")
    arguments[1] = tmp_path / "photo.pt"
    assert run(*arguments, "--temporal", "uniform") == 2
    assert "photo.pt" in one_line()
