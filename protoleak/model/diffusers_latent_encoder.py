"""Latent encoders from diffusers: AutoencoderKL and AutoencoderTiny, from a directory or the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from protoleak.errors import CheckpointError, MissingExtra, first_line
from protoleak.model.torch_latent_encoder import EncoderModule, TorchLatentEncoder

CONFIG_FILE = "config.json"
VAE_FOLDER = "vae"
KL_CLASS, TINY_CLASS = "AutoencoderKL", "AutoencoderTiny"
HUB_TIMEOUT_SECONDS = 10.0


def load_hub(name: str) -> TorchLatentEncoder:
    """From the hub, or its cache on this machine: the model itself, or the `vae` folder of a pipeline.

    Raises:
        CheckpointError: it is not there, cannot be reached, or is no such model.
        MissingExtra: diffusers is not installed.
    """
    diffusers = _import_diffusers()
    import huggingface_hub

    candidates = {CONFIG_FILE: None, f"{VAE_FOLDER}/{CONFIG_FILE}": VAE_FOLDER}
    failure, offline = "", False
    try:
        # One request without retries: diffusers' own look-up takes most of a minute to find that there is no network.
        listing = huggingface_hub.HfApi().model_info(name, timeout=HUB_TIMEOUT_SECONDS).siblings or []
        files = {each.rfilename for each in listing}
    except Exception as error:  # the hub's client raises errors of its own, of its HTTP library and of the system
        failure, offline = first_line(error), True
        files = {file for file in candidates if isinstance(huggingface_hub.try_to_load_from_cache(name, file), str)}
    for file, subfolder in candidates.items():
        if file not in files:
            continue
        try:
            config = diffusers.AutoencoderKL.load_config(name, subfolder=subfolder, local_files_only=offline)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"cannot read {file} of {name} from the hub: {first_line(error)}") from error
        return load_diffusers(str(config.get("_class_name")), name, subfolder, local_files_only=offline)
    reason = failure or f"it has neither {' nor '.join(candidates)}"
    raise CheckpointError(
        f"there is no directory {name}, and the Hugging Face hub does not give such a latent encoder ({reason}): "
        "check the name and the connection, or download the model and give its directory"
    )


def load_diffusers(
    class_name: str, source: str, subfolder: str | None = None, *, local_files_only: bool = False
) -> TorchLatentEncoder:
    """An AutoencoderKL or AutoencoderTiny from a directory or, with a hub id, the hub.

    Raises:
        CheckpointError: another class, weights that are missing or NaN, or an encoder that does not take RGB.
        MissingExtra: diffusers is not installed.
    """
    if class_name not in (KL_CLASS, TINY_CLASS):
        raise CheckpointError(
            f"{source} holds a {class_name}: a latent encoder is an {KL_CLASS}, an {TINY_CLASS}, a "
            "LightEncoder or an .onnx file"
        )
    diffusers = _import_diffusers()
    try:
        autoencoder, loading = getattr(diffusers, class_name).from_pretrained(
            source,
            subfolder=subfolder,
            local_files_only=local_files_only,
            use_safetensors=True,
            torch_dtype=torch.float32,
            low_cpu_mem_usage=False,  # the other way needs `accelerate`
            output_loading_info=True,
        )
    except Exception as error:  # diffusers raises what its many loaders raise, without a common base
        raise CheckpointError(
            f"cannot load the {class_name} {source}: {first_line(error)}; config.json and a .safetensors file "
            "that fits it are needed (pickled .bin weights are not read)"
        ) from error
    missing = [name for name in loading["missing_keys"] if name.startswith(("encoder.", "quant_conv."))]
    if missing:  # diffusers only warns, and leaves them random
        raise CheckpointError(f"the {class_name} {source} lacks weights, among them {missing[0]}: get it again")
    channels = autoencoder.config.in_channels
    if channels != 3:
        raise CheckpointError(
            f"the {class_name} {source} takes {channels} channels: an encoder of RGB images is needed"
        )
    scaling = float(autoencoder.config.scaling_factor)
    projection = getattr(autoencoder, "quant_conv", None)
    module = EncoderModule(
        autoencoder.encoder,
        nn.Identity() if projection is None else projection,
        autoencoder.config.latent_channels,
        scaling,
    )
    for name, tensor in module.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"the {class_name} {source} has NaN or infinite weights in {name}")

    def save(directory: Path) -> None:
        autoencoder.save_pretrained(directory, safe_serialization=True)

    return TorchLatentEncoder("autoencoder_kl" if class_name == KL_CLASS else "autoencoder_tiny", module, save)


def _import_diffusers() -> Any:
    try:
        import diffusers
    except ImportError:
        raise MissingExtra("diffusers", "export") from None
    return diffusers
