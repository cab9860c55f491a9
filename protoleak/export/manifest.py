"""What a bundle's manifest says of its model, and of how and from which images it was made."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from protoleak.bundle.manifest import (
    SCHEMA_VERSION,
    CalibratedCompute,
    Density,
    LowFrequency,
    Manifest,
    MeasuredOn,
    Preprocessing,
)
from protoleak.calibration.density import DensityModel
from protoleak.calibration.posterior import PosteriorDensity
from protoleak.environment.instructions import instructions
from protoleak.environment.machine import processor
from protoleak.environment.versions import library_versions
from protoleak.export.settings import ExportSettings
from protoleak.export.stems import stem_is_above
from protoleak.model.checkpoint import TrainedModel
from protoleak.version import __version__

LIBRARIES = ("torch", "onnx", "onnxruntime", "numpy", "pillow", "scikit-learn")


def describe(
    model: TrainedModel,
    density: DensityModel | PosteriorDensity,
    settings: ExportSettings,
    name: str,
) -> Manifest:
    """The manifest of a bundle, its list of files still empty; which images served it is added by `with_images`.

    Raises:
        ProtoleakError: a stem above the noise is asked for, and the backbone has none.
    """
    config = model.config
    components = config.low_frequency_components
    provenance = {
        "model": config.provenance,
        "latent_encoder": msgspec.to_builtins(config.latent_encoder) | dict(model.latent_encoder.provenance),
        "attributor": msgspec.to_builtins(config.attributor),
        "export": {
            "opset": settings.opset,
            **({} if settings.face_detector is None else {"face_detector": settings.face_detector.name}),
            "libraries": {"protoleak": __version__} | library_versions(LIBRARIES),
        },
    }
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=name,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        generators=list(config.generators),
        real_class=config.real_class,
        preprocessing=Preprocessing(config.image_size, config.looks, config.face_margin, config.upright),
        schedule=config.schedule,
        timesteps=list(config.timesteps),
        noise_seed=config.noise_seed,
        low_frequency=None if components is None else LowFrequency(components),
        latent_shape=config.latent_shape,
        embedding_size=model.attributor.config.embedding_size,
        prototypes_per_generator=model.attributor.config.prototypes_per_generator,
        head=settings.head,
        density=_density(density),
        provenance=provenance,
        variants=["fp32"],
        files={},
        face_detector=None if settings.face_detector is None else "yunet",
        alpha=settings.alpha,
        amplitudes=config.amplitudes,
        attributor_input="z0" if stem_is_above(config.attributor.backbone, settings.stem) else "z_t",
    )


def _density(density: DensityModel | PosteriorDensity) -> Density:
    if isinstance(density, PosteriorDensity):
        return Density(density.space)
    contrast: dict[str, Any] = {}  # left out where there is none: protoleaks that know of none read the bundle then
    if density.auxiliary is not None:
        contrast = {"auxiliary_images": len(density.auxiliary), "contrast": density.contrast}
    return Density(
        density.space,
        density.bandwidth,
        density.bandwidth_in_neighbour_distances,
        len(density.references),
        **contrast,
    )


def with_images(manifest: Manifest, images: Mapping[str, int], skipped: Sequence[str]) -> Manifest:
    """The manifest with how many images of each split were used, and a line per file that is no readable image."""
    export = {**manifest.provenance["export"], "images": dict(images), "skipped": list(skipped)}
    return msgspec.structs.replace(manifest, provenance=manifest.provenance | {"export": export})


def with_variants(
    manifest: Manifest,
    variants: Sequence[str],
    refused: Mapping[str, str],
    speeds: dict[str, dict[str, float]] | None,
) -> Manifest:
    """The manifest with the variants that were written, why others weren't, and how fast each is in which engine."""
    export = {**manifest.provenance["export"], "refused_variants": dict(refused)}
    provenance = manifest.provenance | {"export": export}
    return msgspec.structs.replace(manifest, variants=list(variants), provenance=provenance, speeds=speeds)


def with_computes(manifest: Manifest, computes: Sequence[CalibratedCompute], refused: Mapping[str, str]) -> Manifest:
    """The manifest with the computes that were calibrated beside exact computing, why others weren't, and what they
    and `speeds` were measured on."""
    export = {**manifest.provenance["export"], **({"refused_computes": dict(refused)} if refused else {})}
    return msgspec.structs.replace(
        manifest,
        provenance=manifest.provenance | {"export": export},
        computes=list(computes),
        measured_on=MeasuredOn(processor(), sorted(instructions() or ())),
    )
