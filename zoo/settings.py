"""How large a zoo is and how long its networks are trained."""

from __future__ import annotations

from typing import Literal

import msgspec


class ZooSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything besides the input files that decides what a zoo holds. The defaults are the full zoo.

    Attributes:
        seed: of crops, noise, initial weights and batches.
        sources_per_collection: how many images of each collection are used, in order of name; None for all.
        crops_per_source, crops_per_photograph: random crops that decoders and denoiser are trained on.
        decoder_steps, denoiser_steps: optimiser steps of each decoder, and of the denoiser.
        sibling_steps: optimiser steps of a sibling, after its decoder's weights were disturbed.
        every_auxiliary: auxiliary generators re-make one in so many of the training sources.
        negatives_per_photograph: images of no class that each photograph gives.
        precision: of training arithmetic; "bf16" halves the time or better on processors with bfloat16 instructions
            and is slower on others.
    """

    seed: int = 0
    sources_per_collection: int | None = None
    crops_per_source: int = 4
    crops_per_photograph: int = 8
    decoder_steps: int = 320
    decoder_batch: int = 12
    sibling_steps: int = 60
    every_auxiliary: int = 2
    denoiser_steps: int = 900
    denoiser_batch: int = 16
    negatives_per_photograph: int = 12
    precision: Literal["fp32", "bf16"] = "bf16"


QUICK = ZooSettings(
    sources_per_collection=40,
    crops_per_source=3,
    crops_per_photograph=3,
    decoder_steps=60,
    sibling_steps=20,
    denoiser_steps=150,
    negatives_per_photograph=4,
)
