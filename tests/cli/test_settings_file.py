"""Settings files: written with every setting explained, read back strictly, and overridden by options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protoleak.cli.settings_file import read_settings, settings_text
from protoleak.errors import ProtoleakError
from protoleak.export.settings import ExportSettings, GateLimits
from protoleak.training.settings import TrainingSettings
from tests.cli.conftest import Run

KINDS: list[type[msgspec.Struct]] = [TrainingSettings, ExportSettings]


def written(folder: Path, text: str) -> Path:
    (folder / "settings.toml").write_text(text)
    return folder / "settings.toml"


@pytest.mark.parametrize("kind", KINDS)
def test_a_printed_file_reads_as_the_defaults(kind: type[msgspec.Struct], tmp_path: Path) -> None:
    assert read_settings(written(tmp_path, settings_text(kind, "train")), kind) == kind()


@pytest.mark.parametrize("kind", KINDS)
def test_a_printed_file_explains_every_setting(kind: type[msgspec.Struct]) -> None:
    blocks = settings_text(kind, "train").split("\n\n")[1:]
    keys = [block.splitlines()[-1].split(" = ")[0].strip("[]").split(".")[-1] for block in blocks]
    assert set(kind.__struct_fields__) <= set(keys)
    for block in blocks:
        comments = [line for line in block.splitlines() if line.startswith("# ")]
        assert comments, block
        assert all(len(line) <= 120 for line in comments)


def test_choices_stand_in_the_printed_file() -> None:
    text = settings_text(TrainingSettings, "train")
    assert "# One of conv, second_order, resnet18, resnet50, resnet101, efficientnet_b4, vit_b_16.\nbackbone = " in text
    assert "# Of fp16, int8.\nvariants = []" in settings_text(ExportSettings, "export")


def test_what_a_file_leaves_out_has_its_default_and_none_is_nothing(tmp_path: Path) -> None:
    text = 'low_frequency_components = "none"\ntimesteps = [0, 300]\nlearning_rate = 1\n'
    found = read_settings(written(tmp_path, text), TrainingSettings)
    assert found == TrainingSettings(low_frequency_components=None, timesteps=(0, 300), learning_rate=1.0)


def test_tables_within_a_file_and_paths_are_read(tmp_path: Path) -> None:
    text = 'unknown = "images/unknown"\nvariants = ["int8"]\n[variant_settings]\nmethod = "entropy"\n'
    found = read_settings(written(tmp_path, text + "[variant_settings.limits]\nauc_drop = 0.1\n"), ExportSettings)
    assert (found.unknown, found.variants) == (Path("images/unknown"), ("int8",))
    assert found.variant_settings.method == "entropy"
    assert found.variant_settings.limits == GateLimits(auc_drop=0.1)


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (TrainingSettings, "epoch = 3", "there is no setting epoch: did you mean epochs?"),
        (TrainingSettings, "horses = 3", "there is no setting horses: choose among backbone, "),
        (TrainingSettings, 'epochs = "many"', "epochs: Expected `int`, got `str`"),
        (TrainingSettings, "views = 2.5", "views: Expected `int`, got `float`"),
        (TrainingSettings, 'timesteps = [0, "late"]', "timesteps[1]: Expected `int`, got `str`"),
        (TrainingSettings, 'backbone = "resnet19"', "choose one of conv, second_order, resnet18"),
        (TrainingSettings, "batch_size = 1", "batch_size is 1: give 2 or more"),
        (TrainingSettings, "epochs = ", "not TOML"),
        (ExportSettings, 'variants = ["int4"]', "choose one of fp16, int8"),
        (ExportSettings, "unknown = 3", "unknown: Expected a path in quotes, got 3"),
        (ExportSettings, "bandwidth = 0.0", "bandwidth is 0: give a number above 0"),
        (ExportSettings, "contrast = nan", "contrast is nan: give a number from 0 (none) to 1"),
        (ExportSettings, '[variant_settings]\nmethod = "random"', "choose one of minmax, entropy, percentile"),
        (
            ExportSettings,
            "[variant_settings.limits]\nverdict_agreement = 99",
            "verdict_agreement is 99: give a share between 0 and 1",
        ),
        (
            ExportSettings,
            "[variant_settings]\nmethods = 1",
            "no setting variant_settings.methods: did you mean method?",
        ),
        (
            ExportSettings,
            "[variant_settings.limits]\nauc_drop = true",
            "variant_settings.limits.auc_drop: Expected `float`, got `bool`",
        ),
    ],
)
def test_a_file_that_cannot_be_is_one_line_with_its_name_and_the_key(
    kind: type[msgspec.Struct], text: str, words: str, tmp_path: Path
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ProtoleakError) as caught:
        read_settings(file, kind)
    message = str(caught.value)
    assert message.startswith(f"--settings {file}: ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("command", ["train", "export"])
def test_settings_are_printed_without_any_argument(
    command: str, run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(command, "--print-settings") == 0
    kind = TrainingSettings if command == "train" else ExportSettings
    assert read_settings(written(tmp_path, capsys.readouterr().out), kind) == kind()


@pytest.fixture
def given_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], list[Any]]:
    """Replaces a function by one that keeps the settings that it is given, and stops."""

    def replace(module: str, name: str) -> list[Any]:
        import importlib

        kept: list[Any] = []

        def keep(*arguments: Any, **_: Any) -> None:
            kept.extend(one for one in arguments if isinstance(one, (TrainingSettings, ExportSettings)))
            raise ProtoleakError("enough")

        monkeypatch.setattr(importlib.import_module(module), name, keep)
        return kept

    return replace


def test_options_of_train_override_the_file(
    data: Path, encoder: Path, run: Run, tmp_path: Path, given_to: Callable[[str, str], list[Any]]
) -> None:
    kept = given_to("protoleak.training.train", "train")
    file = written(tmp_path, 'epochs = 7\nseed = 3\nprototypes_per_generator = 2\nbackbone = "resnet18"\n')
    asked = ("train", data, "--latent-encoder", encoder, "--out", tmp_path / "model", "--settings", file)
    # An option that is typed overrides the file, even with its default.
    assert run(*asked, "--seed", 0, "--backbone", "conv", "--timesteps", "0,100") == 2
    [settings] = kept
    assert settings == TrainingSettings(epochs=7, seed=0, prototypes_per_generator=2, timesteps=(0, 100))


def test_options_of_export_override_the_file(
    model: Path, data: Path, run: Run, tmp_path: Path, given_to: Callable[[str, str], list[Any]]
) -> None:
    kept = given_to("protoleak.export.export", "export_bundle")
    file = written(tmp_path, 'alpha = 0.1\nname = "of the file"\nvariants = ["int8"]\nbandwidth = 2.0\n')
    asked = ("export", model, "--data", data, "--out", tmp_path / "bundle", "--settings", file)
    assert run(*asked, "--variants", "fp32,fp16", "--alpha", 0.2) == 2
    [settings] = kept
    assert settings == ExportSettings(alpha=0.2, name="of the file", variants=("fp16",), bandwidth=2.0)
