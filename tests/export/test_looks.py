"""A model that looks at faces in three ways, from its data to the verdicts of its bundle."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

import protoleak
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import Preprocessing
from protoleak.calibration.conformal_fit import LeftOutMargins
from protoleak.dataset import read_dataset
from protoleak.errors import ProtoleakError
from protoleak.export.export import export_bundle
from protoleak.export.runner import VariantRunner
from protoleak.export.settings import ExportSettings
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.model.checkpoint import TrainedModel, attributor_outputs
from protoleak.model.model_config import ModelConfig
from tests.look_bundle import IMAGE_SIZE, KINDS, LOOKS, YUNET, face_image, write_left_out


@pytest.fixture(scope="module")
def unseen() -> list[Image.Image]:
    return [face_image(kind, 900 + index) for kind in KINDS.values() for index in range(6)]


def test_the_manifest_says_how_the_model_looked(look_model: TrainedModel, exported_looks: Path) -> None:
    manifest = Bundle.load(exported_looks).manifest
    assert manifest.preprocessing == Preprocessing(IMAGE_SIZE, LOOKS, 0.3)
    assert manifest.positions == [(look, timestep) for look in LOOKS for timestep in (0, 300)]
    assert manifest.amplitudes == look_model.config.amplitudes
    latent, noise = manifest.coefficients()
    assert latent**2 + noise**2 == pytest.approx([1, 1], abs=1e-6)  # equal variance at every timestep
    for ours, theirs in zip((latent, noise), look_model.config.coefficients(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_both_graphs_agree_with_pytorch_in_every_look(exported_looks: Path) -> None:
    parity = Bundle.load(exported_looks).variant("fp32").report.parity
    assert parity is not None
    assert {row.output for row in parity} >= {"z0", "z_t", "timestep_weight", "class_score", "log_density"}
    assert all(row.passes for row in parity)


def test_the_bundle_scores_faces_as_the_network_does_framed_alike(
    look_model: TrainedModel, exported_looks: Path, unseen: list[Image.Image]
) -> None:
    framer = Framer(look_model.config.framing, LargestFace(YUNET))
    looks = np.concatenate([framer.frame(image, framer.find(image)) for image in unseen if framer.find])
    expected = attributor_outputs(look_model, look_model.config.noised(look_model.encode(looks)))
    with protoleak.load(exported_looks, engine="onnxruntime", threads=1) as screener:
        verdicts = screener(unseen)
    scores = np.array([list(verdict.scores.values()) for verdict in verdicts])
    # What the parity gate allows between float32 graphs and PyTorch.
    assert np.abs(scores - expected["class_score"]).max() <= 1e-4 * np.abs(expected["class_score"]).max()
    weights = expected["timestep_weight"].reshape(len(unseen), len(LOOKS), 2)
    for verdict, table in zip(verdicts, weights, strict=True):
        assert list(verdict.why.look_weights.values()) == pytest.approx(table.sum(axis=1), abs=1e-4)
        assert list(verdict.why.timestep_weights.values()) == pytest.approx(table.sum(axis=0), abs=1e-4)
        assert verdict.lacking is None


def test_faces_that_training_never_saw_are_told_apart(exported_looks: Path, unseen: list[Image.Image]) -> None:
    wanted = [name for name in KINDS for _ in range(6)]
    with protoleak.load(exported_looks, threads=1) as screener:
        nearest = [verdict.nearest for verdict in screener(unseen)]
    assert sum(found == right for found, right in zip(nearest, wanted, strict=True)) >= 13  # chance would give 6


def test_latents_of_the_training_images_have_mean_0_and_variance_1_in_the_deployed_graph(
    look_model: TrainedModel, exported_looks: Path, face_data: Path
) -> None:
    bundle = Bundle.load(exported_looks)
    variant = bundle.variant("fp32")
    find = LargestFace(YUNET)
    runner = VariantRunner(bundle.manifest, bundle.noise_bank, variant.latent_encoder, variant.attributor, find)
    framer = Framer(bundle.manifest.preprocessing.framing, find)
    files = [sample.path for sample in read_dataset(face_data, "camera").train]
    z0 = runner.stages(np.stack([framer.file(path) for path in files]))["z0"]
    assert z0.shape == (len(files) * len(LOOKS), *look_model.config.latent_shape)
    # Of the images as deployed; the constants are of their views too, which are cropped, scaled and compressed.
    assert np.abs(z0.mean(axis=(0, 2, 3))).max() < 0.5
    assert z0.std(axis=(0, 2, 3)) == pytest.approx(np.ones(len(z0[0])), rel=0.5)


def test_margins_of_what_was_left_out_take_the_place_of_the_calibrations_own(
    exported_looks: Path, unseen: list[Image.Image], tmp_path: Path
) -> None:
    left_out = LeftOutMargins.read(write_left_out(tmp_path / "left_out.npz"))
    calibration = Bundle.load(exported_looks).variant("fp32").calibration
    np.testing.assert_array_equal(calibration.real_margins, np.sort(left_out.camera))
    np.testing.assert_array_equal(calibration.generated_margins, np.sort(left_out.generated))
    with protoleak.load(exported_looks, threads=1) as screener:
        for verdict in screener(unseen):
            margin = verdict.scores["camera"] - max(verdict.scores["rows"], verdict.scores["columns"])
            assert verdict.generated_p_value == (1 + (left_out.generated >= margin).sum()) / 61
            assert verdict.acquittal_level == verdict.alpha == 0.05
            if verdict.label == "real":
                assert verdict.generated_p_value <= 0.05


def test_a_model_that_looks_at_faces_is_not_exported_without_a_face_detector(
    look_model: TrainedModel, face_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ProtoleakError, match=r"looks at faces \(face, native, image\): give --face-detector"):
        export_bundle(look_model, read_dataset(face_data, "camera"), tmp_path / "bundle", ExportSettings(computes=()))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"looks": ("face", "native")}, r"looks \['face', 'native'\] × timesteps \[0, 300\], the network has 6"),
        ({"looks": ("face", "face", "image")}, "each once"),
        ({"amplitudes": [1.0]}, r"amplitudes \[1.0\]"),
        ({"amplitudes": [1.0, 0.0]}, r"amplitudes \[1.0, 0.0\]"),
        ({"latent_mean": None}, "mean and spread do not fit"),
        ({"latent_spread": [1.0, 0.0, 1.0, 1.0]}, "mean and spread do not fit"),
        ({"latent_mean": [0.0], "latent_spread": [1.0]}, "mean and spread do not fit 4 channels"),
    ],
)
def test_a_model_whose_looks_and_constants_do_not_fit_is_refused(
    look_model: TrainedModel, change: dict[str, object], message: str
) -> None:
    plain = msgspec.to_builtins(look_model.config)
    with pytest.raises((msgspec.ValidationError, ValueError), match=message):
        msgspec.convert({**plain, **change}, ModelConfig)
