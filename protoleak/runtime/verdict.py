"""The verdict on one face, with its reasons and its record of evidence."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from protoleak.choices import Arithmetic, Upright
from protoleak.images.claims.claim import Claim
from protoleak.runtime.engines.base import EngineDescription

Label: TypeAlias = Literal["known", "real", "unknown"]


class NearestPrototype(msgspec.Struct, frozen=True):
    """A prototype and its gated squared distance Σ_j g_j (h_j − p_j)² to the image's embedding."""

    generator: str
    index: int
    distance: float


class Feature(msgspec.Struct, frozen=True):
    """One embedding feature and what it adds to d(runner-up) − d(nearest prototype)."""

    feature: int
    contribution: float


class Why(msgspec.Struct, frozen=True):
    """What decided the best class.

    Attributes:
        nearest_prototype: the nearest of the best class (the verdict's `nearest`).
        runner_up: the nearest of all other classes.
        timestep_weights: diffusion timestep → its share in the embedding, over all looks; they sum to 1.
        look_weights: look → its share in the embedding, over all timesteps; they sum to 1.
        features_for: up to five features that speak most for the nearest prototype and against the runner-up.
        features_against: up to five that speak most for the runner-up; their contributions are negative.
    """

    nearest_prototype: NearestPrototype
    runner_up: NearestPrototype
    timestep_weights: dict[int, float]
    look_weights: dict[str, float]
    features_for: list[Feature]
    features_against: list[Feature]


class CalibrationGroup(msgspec.Struct, frozen=True):
    """The calibration images that the p-value is a rank among: of this `generator`, or `overall`; n of them."""

    group: str
    n: int


class InputRecord(msgspec.Struct, frozen=True):
    """What was judged: SHA-256 and size in bytes of the encoded file (or of the RGB pixels, where there is no file)."""

    sha256: str
    hashed: Literal["file", "pixels"]
    size: int
    width: int
    height: int


class SignerRecord(msgspec.Struct, frozen=True):
    """Whose signature the bundle has: the public key's fingerprint, and whether it is the key that the user trusts."""

    key: str
    trusted: bool


class BundleRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What judged it. The SHA-256 is that of the manifest, which holds the hash of every other file. Of a bundle
    without a valid signature there is no `signer`, in JSON either; nor `compute`, the arithmetic that the conformal
    lists are of, where that is exact. What was really computed in says the engine's record."""

    name: str
    sha256: str
    variant: str
    signer: SignerRecord | None = None
    compute: Arithmetic = "exact"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of one face. All numbers are finite. In JSON `label` is called "verdict".

    Attributes:
        source: the path as given; None for an image from memory.
        label: "known" (made by `generator`), "real" (consistent with the camera images of the training) or
            "unknown" (p_value ≤ alpha; or nearest to a generator, but not unlike enough to camera originals; or nearest
            to those, but not unlike enough to images by generators; or the image is `lacking`).
        generator: the generator that is named, only when known.
        nearest: the class with the highest score, whatever the verdict.
        p_value: share of the calibration images that are as unusual as this one, in (0, 1].
        real_p_value: share of the camera calibration images that are as unlike a camera original as this one, in
            (0, 1]; a generator is named only where it is ≤ accusation_level. None for a bundle without such images.
        accusation_level: the bundle's share of alpha, a fifth unless it says otherwise, or 1/(n + 1) where n camera
            calibration images allow no less; None without them.
        generated_p_value: share of the calibration images by generators that are at least as camera-like as this one,
            in (0, 1]; `real` is said only where it is ≤ acquittal_level. None for a bundle that doesn't ask for that.
        acquittal_level: alpha, or 1/(n + 1) where n such images allow no less; None without them.
        alpha: significance level.
        calibration: what the p-value is a rank among.
        log_density: how usual the image is among the training images, in nats, by the density that the bundle has (see
            docs/method.md, *The decision*). Compare it within one bundle alone.
        scores: class → the head's own score, uncalibrated and not comparable between images.
        probabilities: class → calibrated softmax, only where the bundle has a fitted temperature.
        why: the reasons.
        notes: what was converted on the way from the file to RGB, and what the image lacks.
        upright: "auto" where images are turned as their EXIF orientation says; "never" where they are judged as they
            lie in their files, as published.
        lacking: what the image lacks to be judged at all, such as content or sharpness: such an image is `unknown` at
            any alpha, and no evidence; None where it can be judged.
        claims: what the file itself says of its origin; nothing of the verdict rests on them.
        disagreement: one line where a claim and the verdict contradict each other, else None.
        input, bundle, engine: the record that makes the verdict repeatable.
        milliseconds: stage → wall time; in a batch, the batch's time over its images.
    """

    source: str | None
    label: Label = msgspec.field(name="verdict")
    generator: str | None
    nearest: str
    p_value: float
    real_p_value: float | None
    accusation_level: float | None
    generated_p_value: float | None
    acquittal_level: float | None
    alpha: float
    calibration: CalibrationGroup
    log_density: float
    scores: dict[str, float]
    probabilities: dict[str, float] | None
    why: Why
    notes: list[str]
    upright: Upright = "auto"
    lacking: str | None
    claims: list[Claim] = []
    disagreement: str | None = None
    input: InputRecord
    bundle: BundleRecord
    engine: EngineDescription
    milliseconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain dictionaries, lists, strings and numbers, ready for `json.dumps`."""
        plain: dict[str, Any] = msgspec.to_builtins(self, str_keys=True)
        return plain

    def to_json(self) -> str:
        """One line of JSON."""
        return msgspec.json.encode(self).decode()
