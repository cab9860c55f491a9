"""Every kind of latent encoder loads, encodes as its origin does, and says what is wrong where it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from protoleak.errors import CheckpointError, EngineError
from protoleak.model.latent_encoder import LatentEncoder, OnnxLatentEncoder, TorchLatentEncoder, load_latent_encoder
from protoleak.model.light_encoder import LightEncoder

diffusers = pytest.importorskip("diffusers")
TOLERANCE = 1e-5  # latents here are of size 1; both sides are float32


def _images(count: int = 3, size: int = 32) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def _tiny_kl(**changes: Any) -> Any:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "block_out_channels": (8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "norm_num_groups": 2,
        "latent_channels": 4,
        "scaling_factor": 0.5,
    }
    return diffusers.AutoencoderKL(**(settings | changes)).eval()


def _onnx_encoder(
    path: Path,
    shape: list[Any],
    *,
    output_rank: int = 4,
    weight: float = 1.0,
    external: bool = False,
    random: bool = False,
    element: int = TensorProto.FLOAT,
) -> Path:
    """latent = mean over 8×8 blocks × weight."""
    dtype = helper.tensor_dtype_to_np_dtype(element)
    nodes = [
        helper.make_node("AveragePool", ["x"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Mul", ["pooled", "weight"], ["y" if output_rank == 4 and not random else "scaled"]),
    ]
    if random:
        nodes.append(helper.make_node("RandomNormalLike", ["scaled"], ["noise"]))
        nodes.append(helper.make_node("Add", ["scaled", "noise"], ["y"]))
    elif output_rank == 2:
        nodes.append(helper.make_node("Flatten", ["scaled"], ["y"]))
    output = [shape[0], 3, None, None] if output_rank == 4 else [shape[0], None]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", element, output)],
        [numpy_helper.from_array(np.full((3, 1, 1), weight, dtype=dtype), "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0} if external else {}
    onnx.save(model, path, **options)
    return path


def _block_means(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    n, size = images.shape[:2]
    blocks = images.reshape(n, size // 8, 8, size // 8, 8, 3).astype(np.float64) / 255
    return blocks.mean(axis=(2, 4)).transpose(0, 3, 1, 2)


def test_an_autoencoder_kl_gives_the_scaled_posterior_mean(tmp_path: Path) -> None:
    autoencoder = _tiny_kl()
    autoencoder.save_pretrained(tmp_path)
    encoder = load_latent_encoder(tmp_path)
    pixels = torch.from_numpy(_images()).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = autoencoder.encode(pixels).latent_dist.mean * 0.5
    assert encoder.kind == "autoencoder_kl"
    np.testing.assert_allclose(encoder.encode(_images()), expected.numpy(), atol=TOLERANCE)
    assert encoder.latent_shape(32) == (4, 16, 16)


def test_an_autoencoder_kl_without_quant_conv_and_inside_a_pipeline_folder_is_found(tmp_path: Path) -> None:
    autoencoder = _tiny_kl(use_quant_conv=False, use_post_quant_conv=False)
    autoencoder.save_pretrained(tmp_path / "vae")
    (tmp_path / "model_index.json").write_text("{}")
    pixels = torch.from_numpy(_images()).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = autoencoder.encode(pixels).latent_dist.mean * 0.5
    np.testing.assert_allclose(load_latent_encoder(tmp_path).encode(_images()), expected.numpy(), atol=TOLERANCE)


def test_an_autoencoder_tiny_gives_its_scaled_latent(tmp_path: Path) -> None:
    torch.manual_seed(0)
    autoencoder = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1), scaling_factor=2.0,
    ).eval()  # fmt: skip
    autoencoder.save_pretrained(tmp_path)
    pixels = torch.from_numpy(_images()).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = autoencoder.encode(pixels).latents * 2.0
    encoder = load_latent_encoder(tmp_path)
    assert encoder.kind == "autoencoder_tiny"
    np.testing.assert_allclose(encoder.encode(_images()), expected.numpy(), atol=TOLERANCE)


def test_a_light_encoder_gets_pixels_between_minus_one_and_one(
    light_encoder: LatentEncoder, light_encoder_folder: Path
) -> None:
    pixels = torch.from_numpy(_images()).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = LightEncoder.load(light_encoder_folder)(pixels)
    np.testing.assert_allclose(light_encoder.encode(_images()), expected.numpy(), atol=TOLERANCE)


@pytest.mark.parametrize("shape", [["n", 3, "h", "w"], [1, 3, 32, 32], [2, 3, 32, 32]])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0)])
def test_an_onnx_encoder_runs_whatever_batch_it_is_fixed_to(
    shape: list[Any], low: float, high: float, tmp_path: Path
) -> None:
    path = _onnx_encoder(tmp_path / "encoder.onnx", shape)
    encoder = load_latent_encoder(path, input_range=(low, high), scaling=2.0)
    assert isinstance(encoder, OnnxLatentEncoder)
    expected = (_block_means(_images()) * (high - low) + low) * 2.0
    np.testing.assert_allclose(encoder.encode(_images()), expected, atol=TOLERANCE)
    assert encoder.latent_shape(32) == (3, 4, 4)


def test_an_onnx_encoder_in_half_precision_gives_float32_latents(tmp_path: Path) -> None:
    path = _onnx_encoder(tmp_path / "encoder.onnx", ["n", 3, 32, 32], element=TensorProto.FLOAT16)
    latents = load_latent_encoder(path).encode(_images())
    assert latents.dtype == np.float32
    np.testing.assert_allclose(latents, _block_means(_images()), atol=2e-3)  # half precision has 11 bits


def test_the_real_onnx_encoder_of_the_shared_weights_loads(shared: Path) -> None:
    encoder = load_latent_encoder(shared / "weights" / "taef2_encoder.onnx")
    assert encoder.latent_shape(256) == (32, 32, 32)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": ["n", 1, 32, 32]}, "3 channels"),
        ({"shape": ["n", 3, 32, 64]}, "32×64"),
        ({"shape": ["n", 3, 32, 32], "output_rank": 2}, "one latent"),
        ({"shape": ["n", 3, 32, 32], "weight": float("nan")}, "NaN"),
        ({"shape": ["n", 3, 32, 32], "random": True}, "random operators"),
        ({"shape": ["n", 3, 32, 32], "external": True}, "outside the file"),
    ],
)
def test_an_onnx_file_that_is_no_latent_encoder_is_refused(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = _onnx_encoder(tmp_path / "encoder.onnx", **options)
    with pytest.raises(CheckpointError, match=words):
        load_latent_encoder(path)


def test_an_onnx_file_of_another_image_size_names_both_sizes(tmp_path: Path) -> None:
    encoder = load_latent_encoder(_onnx_encoder(tmp_path / "encoder.onnx", ["n", 3, 32, 32]))
    with pytest.raises(CheckpointError, match=r"32×32.*256"):
        encoder.latent_shape(256)


def test_latents_that_are_not_finite_are_an_error_and_no_latent(tmp_path: Path) -> None:
    encoder = load_latent_encoder(_onnx_encoder(tmp_path / "encoder.onnx", ["n", 3, 32, 32], weight=3e38), scaling=9.0)
    with pytest.raises(EngineError, match="NaN or infinite"):
        encoder.encode(_images())


@pytest.mark.parametrize(
    ("input_range", "scaling", "words"), [((1.0, 0.0), 1.0, "input range"), ((0.0, 1.0), 0.0, "scaling")]
)
def test_settings_that_cannot_be_are_refused(
    input_range: tuple[float, float], scaling: float, words: str, tmp_path: Path
) -> None:
    path = _onnx_encoder(tmp_path / "encoder.onnx", ["n", 3, 32, 32])
    with pytest.raises(CheckpointError, match=words):
        load_latent_encoder(path, input_range=input_range, scaling=scaling)


def test_a_stored_encoder_encodes_the_same_and_keeps_its_fingerprint(tmp_path: Path) -> None:
    _tiny_kl().save_pretrained(tmp_path / "kl")
    onnx_path = _onnx_encoder(tmp_path / "encoder.onnx", ["n", 3, 32, 32])
    originals = [load_latent_encoder(tmp_path / "kl"), load_latent_encoder(onnx_path, input_range=(-1, 1), scaling=3)]
    for index, original in enumerate(originals):
        original.save(tmp_path / str(index))
        copy = load_latent_encoder(tmp_path / str(index))
        assert copy.fingerprint == original.fingerprint
        np.testing.assert_array_equal(copy.encode(_images()), original.encode(_images()))


def test_the_fingerprint_changes_with_settings_and_weights(tmp_path: Path) -> None:
    path = _onnx_encoder(tmp_path / "encoder.onnx", ["n", 3, 32, 32])
    other = _onnx_encoder(tmp_path / "other.onnx", ["n", 3, 32, 32], weight=2.0)
    autoencoder = _tiny_kl()
    autoencoder.save_pretrained(tmp_path / "kl")
    with torch.no_grad():
        autoencoder.encoder.conv_in.bias[0] += 1e-3
    autoencoder.save_pretrained(tmp_path / "changed")
    encoders = [
        load_latent_encoder(path),
        load_latent_encoder(path, input_range=(-1, 1)),
        load_latent_encoder(path, scaling=2),
        load_latent_encoder(other),
        load_latent_encoder(tmp_path / "kl"),
        load_latent_encoder(tmp_path / "changed"),
    ]
    assert len({encoder.fingerprint for encoder in encoders}) == len(encoders)


def test_a_source_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    for source in (tmp_path / "absent", "absent.onnx", "./absent", "a/b/c"):
        with pytest.raises(CheckpointError, match="no latent encoder at"):
            load_latent_encoder(source)


def test_a_hub_that_cannot_be_reached_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def no_network(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", no_network)
    with pytest.raises(CheckpointError, match=r"hub.*Name or service not known"):
        load_latent_encoder("nobody/no-such-autoencoder")


def test_a_folder_without_a_usable_autoencoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load_latent_encoder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not a configuration"):
        load_latent_encoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "VQModel"}))
    with pytest.raises(CheckpointError, match="VQModel"):
        load_latent_encoder(tmp_path)
    _tiny_kl().save_pretrained(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="safetensors"):
        load_latent_encoder(tmp_path)


def test_an_autoencoder_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    _tiny_kl().save_pretrained(tmp_path)
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    del state["encoder.conv_in.weight"]
    save_file(state, weights)
    with pytest.raises(CheckpointError, match=r"encoder\.conv_in\.weight"):
        load_latent_encoder(tmp_path)


def test_an_encoder_of_grey_images_is_refused(tmp_path: Path) -> None:
    _tiny_kl(in_channels=1).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="1 channels"):
        load_latent_encoder(tmp_path)


def test_the_module_exports_with_a_free_batch_and_without_random_operators(tmp_path: Path) -> None:
    import onnxruntime

    from protoleak.bundle.graph_check import inspect_onnx

    _tiny_kl().save_pretrained(tmp_path)
    encoder = load_latent_encoder(tmp_path)
    assert isinstance(encoder, TorchLatentEncoder)
    program = torch.onnx.export(
        encoder.module,
        (torch.zeros(2, 32, 32, 3, dtype=torch.uint8),),
        dynamo=True,
        opset_version=20,
        input_names=["image"],
        output_names=["z0"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        verbose=False,
    )
    assert program is not None
    program.save(tmp_path / "encoder.onnx", external_data=False)
    exported = (tmp_path / "encoder.onnx").read_bytes()
    assert inspect_onnx(exported).problems() == []
    session = onnxruntime.InferenceSession(exported)
    for count in (1, 3):
        (z0,) = session.run(None, {"image": _images(count)})
        np.testing.assert_allclose(z0, encoder.encode(_images(count)), atol=TOLERANCE)
