"""Reads manifest.json, and refuses one that contradicts itself or asks for too much."""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec

from protoleak.bundle.manifest import MANIFEST, SCHEMA_VERSION, Manifest
from protoleak.errors import BundleError, shortened
from protoleak.strict_json import decode_json

MAXIMUM_TOTAL_BYTES = 512 * 2**20  # all of it is held in memory; three variants of an SD 2.1 encoder are 300 MB
MAXIMUM_GENERATORS = 10_000
MAXIMUM_TIMESTEPS = 1000
MAXIMUM_STEPS = 100_000  # of the noise schedule
MAXIMUM_FEATURES = 65_536  # of an embedding, and prototypes of a generator
MAXIMUM_LATENT = 2**24  # elements of one latent
MAXIMUM_FILES = 1000
MAXIMUM_VARIANTS = 16
MAXIMUM_COMPUTES = 100
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")


def parse_manifest(raw: bytes, location: Path) -> Manifest:
    """Decodes and checks a manifest.

    Args:
        raw: the bytes of manifest.json.
        location: of the bundle, for messages.

    Raises:
        BundleError: it is no manifest, of another schema, or its fields contradict each other.
    """
    where = f"{location}/{MANIFEST}"
    try:
        version = decode_json(raw, _SchemaOnly).schema_version
    except msgspec.DecodeError as error:
        raise BundleError(f"{where} is not a bundle's manifest: {error}") from error
    if version != SCHEMA_VERSION:
        newer = "upgrade protoleak" if version > SCHEMA_VERSION else "export the bundle again"
        raise BundleError(f"{where} has schema version {version}, this protoleak reads {SCHEMA_VERSION}: {newer}")
    try:
        manifest = decode_json(raw, Manifest)
    except msgspec.DecodeError as error:
        raise BundleError(f"{where} is not a valid manifest: {error}") from error
    _check_manifest(manifest, where)
    return manifest


class _SchemaOnly(msgspec.Struct):
    schema_version: int


def _check_manifest(manifest: Manifest, where: str) -> None:
    """The cross-field rules that types cannot say."""
    _refuse_unless(_rules_of_size(manifest), where)  # before anything is computed from these numbers
    names = manifest.generators
    try:
        schedule_fits = bool(manifest.noise_schedule.coefficients(tuple(manifest.timesteps)))
    except ValueError:
        schedule_fits = False
    total = sum(record.size for record in manifest.files.values())
    rules: list[tuple[bool, str]] = [
        (len(set(names)) == len(names), "two generators share a name"),
        (
            [one.name for one in manifest.enrolled] == names[manifest.generators_in_graph :],
            "the enrolled generators are not the last of the generators",
        ),
        (all(math.isfinite(one.offset) for one in manifest.enrolled), "an enrolled generator's offset is not finite"),
        (
            manifest.real_class is None or manifest.real_class in names,
            f"{manifest.real_class!r} is no generator",
        ),
        (manifest.schedule.kind == "linear", f"schedule {manifest.schedule.kind!r}: only 'linear' is known"),
        (bool(schedule_fits), f"timesteps {manifest.timesteps} do not fit the schedule"),
        (
            manifest.amplitudes is None
            or (
                len(manifest.amplitudes) == len(manifest.timesteps)
                and all(0 < one < 1e6 for one in manifest.amplitudes)
            ),
            f"amplitudes {manifest.amplitudes} for {len(manifest.timesteps)} timesteps",
        ),
        (
            0 < len(manifest.preprocessing.looks) == len(set(manifest.preprocessing.looks)),
            f"looks {list(manifest.preprocessing.looks)}: at least one, each once",
        ),
        (0 <= manifest.preprocessing.face_margin <= 4, f"face margin {manifest.preprocessing.face_margin}"),
        (
            manifest.low_frequency is None or 1 <= manifest.low_frequency.components <= min(manifest.latent_shape[1:]),
            f"{manifest.low_frequency} for latents of {manifest.latent_shape}",
        ),
        (
            all(set(of) <= set(manifest.variants) for of in (manifest.speeds or {}).values()),
            f"speeds of other variants than {manifest.variants}",
        ),
        (
            all(one.variant in manifest.variants and 0 < one.milliseconds < math.inf for one in manifest.computes),
            "a compute of no variant, or without a time",
        ),
        (
            all(re.fullmatch(r"[a-z0-9-]+", one.engine) for one in manifest.computes)
            and len({one.folder for one in manifest.computes}) == len(manifest.computes),
            "computes of no engine, or one of them twice",
        ),
        (manifest.face_detector in (None, "yunet"), f"face detector {manifest.face_detector!r}: only 'yunet' is known"),
        (0 < manifest.alpha < 1, f"alpha {manifest.alpha:g} lies outside 0 to 1"),
        (bool(manifest.variants), "no variant"),
        (len(set(manifest.variants)) == len(manifest.variants), f"variants {manifest.variants}: one occurs twice"),
        (
            all(re.fullmatch(r"[a-z0-9_]+", name) for name in manifest.variants),
            f"variants {manifest.variants}",
        ),
        (all(record.size >= 0 for record in manifest.files.values()), "a negative file size"),
        (total <= MAXIMUM_TOTAL_BYTES, f"{total} bytes declared, more than {MAXIMUM_TOTAL_BYTES}: refused"),
        (
            all(SHA256_PATTERN.fullmatch(record.sha256) for record in manifest.files.values()),
            "a malformed SHA-256",
        ),
    ]
    _refuse_unless(rules, where)


def _rules_of_size(manifest: Manifest) -> list[tuple[bool, str]]:
    """Bounds on what sizes are computed from."""
    generators, steps = len(manifest.generators), manifest.schedule.steps
    in_graph = manifest.generators_in_graph
    features, prototypes = manifest.embedding_size, manifest.prototypes_per_generator
    beta = (manifest.schedule.beta_start, manifest.schedule.beta_end)
    return [
        (2 <= generators <= MAXIMUM_GENERATORS, f"{generators} generators: at least two are needed"),
        (in_graph >= 2, f"{in_graph} generators in the graph: at least two are needed"),
        (1 <= len(manifest.timesteps) <= MAXIMUM_TIMESTEPS, f"{len(manifest.timesteps)} timesteps"),
        (1 <= steps <= MAXIMUM_STEPS, f"{steps} steps of the schedule"),
        (0 < beta[0] < 1 and 0 < beta[1] < 1, f"betas from {beta[0]:g} to {beta[1]:g} lie outside 0 to 1"),
        (1 <= features <= MAXIMUM_FEATURES, f"an embedding of {features} features"),
        (1 <= prototypes <= MAXIMUM_FEATURES, f"{prototypes} prototypes per generator"),
        (min(manifest.latent_shape) > 0, f"latent shape {manifest.latent_shape}"),
        (math.prod(manifest.latent_shape) <= MAXIMUM_LATENT, f"latent shape {manifest.latent_shape}: too large"),
        (16 <= manifest.preprocessing.image_size <= 4096, f"image size {manifest.preprocessing.image_size}"),
        (len(manifest.variants) <= MAXIMUM_VARIANTS, f"{len(manifest.variants)} variants"),
        (len(manifest.computes) <= MAXIMUM_COMPUTES, f"{len(manifest.computes)} computes"),
        (len(manifest.files) <= MAXIMUM_FILES, f"{len(manifest.files)} files"),
    ]


def _refuse_unless(rules: list[tuple[bool, str]], where: str) -> None:
    broken = [shortened(text) for holds, text in rules if not holds]
    if broken:
        raise BundleError(f"{where}: {'; '.join(broken)}")
