"""All rows of the ablations, in the order of the method's parts."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.ablations.judge import AT_ALPHA, NOT_ASKED, UNLIKE_CAMERAS, Judge
from benchmarks.ablations.latents import Encoded
from benchmarks.ablations.network import Switches, embed_all
from benchmarks.ablations.openness import DEFAULT_RULE, NOT_CONTRASTED, RULES
from benchmarks.ablations.results import Row
from benchmarks.ablations.retrain import train_variation, variations
from protoleak.choices import HEAD_KINDS, HeadKind
from protoleak.model.checkpoint import TrainedModel
from protoleak.progress import Progress
from protoleak.training.noising import Noising
from protoleak.training.settings import TrainingSettings


def switched(model: TrainedModel, judge: Judge, encoded: Encoded, head: HeadKind) -> Iterator[Row]:
    """The trained network, whole and with parts switched off; then other heads and open-set rules on it."""
    config, network = model.config, model.attributor.config
    noising = Noising.build(
        tuple(config.timesteps),
        config.latent_shape,
        config.noise_seed,
        config.low_frequency_components,
        config.noise_schedule,
        config.amplitudes,
    )
    whole = embed_all(model.attributor, noising, encoded, Switches())
    yield judge.row("everything", "as it is", "as trained", *whole, head)
    changes = [
        ("number of timesteps", f"first {count} of {network.timesteps}", Switches(timesteps=count))
        for count in range(1, network.timesteps)
    ]
    if network.temporal_attention:
        changes.append(("temporal pooling", "uniform", Switches(uniform=True)))
    if network.gate:
        changes.append(("gate", "off", Switches(gate=False)))
    if config.low_frequency_components is not None:
        changes.append(("low-frequency channels", "zero", Switches(low_frequency=False)))
    for part, change, switches in changes:
        found = embed_all(model.attributor, noising, encoded, switches)
        yield judge.row(part, change, "switched at test time", *found, head)
    # The number of prototypes bears on scores through the prototype head alone.
    for count in range(1, network.prototypes_per_generator + 1):
        found = embed_all(model.attributor, noising, encoded, Switches(prototypes=count))
        change = f"first {count} of {network.prototypes_per_generator}, prototype head"
        yield judge.row("prototypes per class", change, "switched at test time", *found, "prototype")
    for kind in HEAD_KINDS:
        yield judge.row("head", kind, "fitted again", *whole, kind)
    for rule in RULES:
        yield judge.row("open-set rule", rule, "fitted again", *whole, head, rule)
    if config.real_class is not None:
        for level in (AT_ALPHA, NOT_ASKED):
            yield judge.row(UNLIKE_CAMERAS, level, "as trained", *whole, head, level=level)


def retrained(
    base: TrainingSettings,
    judge: Judge,
    encoded: Encoded,
    head: HeadKind,
    progress: Progress,
) -> Iterator[Row]:
    """Short trainings that differ in one part each."""
    for variation in variations(base, encoded.auxiliary is not None):
        name = f"{variation.part}: {variation.change}"

        def show(stage: str, done: int, total: int, note: str = "", /, name: str = name) -> None:
            progress(f"train {name}, {stage}", done, total, note)

        network, noising = train_variation(variation, base, encoded, len(judge.manifest.generators), show)
        found = embed_all(network, noising, encoded, Switches())
        # The prototype head is what the number of prototypes is about.
        kind: HeadKind = "prototype" if variation.part == "prototypes per class" else head
        change = variation.change + (", prototype head" if kind == "prototype" and head != kind else "")
        rule = DEFAULT_RULE if variation.auxiliary else NOT_CONTRASTED
        yield judge.row(variation.part, change, "trained again", *found, kind, rule)
        if variation.part == "everything" and encoded.auxiliary is not None:
            change = "learnt, not contrasted"
            yield judge.row("auxiliary generators", change, "trained again", *found, head, NOT_CONTRASTED)
        if variation.part == "everything" and head != "prototype":
            change = f"{base.prototypes_per_generator}, prototype head"
            yield judge.row("prototypes per class", change, "trained again", *found, "prototype")
