"""Builds a zoo, step by step.

OUT/known/<generator>/, OUT/known/Split.json        what a model is trained, calibrated and tested on
OUT/unknown/<generator>/, OUT/unknown/Split.json    generators that no model may be trained on, split alike
OUT/auxiliary/<generator>/                          generators to train with that are never named; training split only
OUT/negatives/                                      images of no class
OUT/zoo.json                                        how it was made
OUT/work/                                           networks, latents and the record of each step
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

import msgspec

from protoleak.dataset import SPLIT_FILE, list_images
from protoleak.environment.machine import describe_machine
from protoleak.errors import DatasetError
from protoleak.training.provenance import content_hash
from zoo.autoencoder import Autoencoder
from zoo.decoders import Upsampling
from zoo.format_check import check_format
from zoo.generators import GENERATORS, PARTS, REAL, DecoderOf, Gan, Generator
from zoo.images import for_training, load_content, make_content, make_images, make_negatives
from zoo.inputs import Inputs, read_sources
from zoo.networks import make_decoder, make_denoiser, make_training_latents
from zoo.settings import ZooSettings
from zoo.sources import SPLITS, Source, photographs, split_of
from zoo.steps import Measured, Steps, write_json

AUXILIARY, NEGATIVES, REPORT = "auxiliary", "negatives", "zoo.json"
SPLIT_PARTS = tuple(part for part in PARTS if part != AUXILIARY)
Split = dict[str, dict[str, list[str]]]


def build_zoo(inputs: Inputs, settings: ZooSettings, out: Path, generators: Sequence[Generator] = GENERATORS) -> None:
    """Builds the zoo in `out`, or goes on with one that was interrupted. Deterministic given seed, machine and threads.

    Raises:
        DatasetError: `out` was begun with other settings or generators, material is missing, or the files' formats tell
            the classes apart.
    """
    sources = read_sources(inputs.data, settings)
    backgrounds = list(photographs(inputs.photographs))
    if inputs.dcgan is None:
        generators = [generator for generator in generators if not isinstance(generator.pipeline, Gan)]
        print("no weights of the DCGAN given: that generator is left out", flush=True)
    work = out / "work"
    steps = Steps(work / "steps")
    _begin(work / "begun.json", settings, generators, sources)
    autoencoder = Autoencoder(inputs.encoder, inputs.decoder)

    steps.run("training_latents", partial(make_training_latents, autoencoder, sources, backgrounds, settings, work))
    used = {(g.pipeline.upsampling, g.pipeline.sibling) for g in generators if isinstance(g.pipeline, DecoderOf)}
    # A decoder before its siblings, which start from its weights, whether or not it has images of its own.
    for kind, sibling in sorted(used | {(kind, 0) for kind, _ in used}):
        steps.run(step_of(kind, sibling), partial(make_decoder, kind, sibling, settings, work))
    steps.run("denoiser", partial(make_denoiser, settings, work))
    steps.run("content", partial(make_content, autoencoder, sources, settings, work))
    content = load_content(sources, work)
    for generator in generators:
        folder = folder_of(generator, out)
        of = for_training(content, settings.every_auxiliary) if generator.part == AUXILIARY else content
        make = partial(make_images, generator, of, autoencoder, inputs.dcgan, settings, work, folder)
        steps.run(f"images_{generator.name}", make)
    steps.run("negatives", partial(make_negatives, backgrounds, settings, out / NEGATIVES))
    for part in SPLIT_PARTS:
        names = [generator.name for generator in generators if generator.part == part]
        write_json(out / part / SPLIT_FILE, split_of_folders(out / part, names, sources))
    steps.run("format_check", partial(_check_format, generators, out))
    _report(settings, generators, steps, out)


def folder_of(generator: Generator, out: Path) -> Path:
    """Where a generator's images lie."""
    return out / generator.part / generator.name


def step_of(kind: Upsampling, sibling: int) -> str:
    """Name of the step that trains a decoder."""
    return f"decoder_{kind}_{sibling}" if sibling else f"decoder_{kind}"


def split_of_folders(folder: Path, names: Sequence[str], sources: Sequence[Source]) -> Split:
    """Names of files per split and class: an image's split is its source's, or its own where it has no source."""
    by_name = {source.name: source.split for source in sources}
    split: Split = {name: {generator: [] for generator in names} for name in SPLITS}
    for generator in names:
        for path in list_images(folder / generator):
            split[by_name.get(path.stem) or split_of(path.stem)][generator].append(path.name)
    return split


def _begin(path: Path, settings: ZooSettings, generators: Sequence[Generator], sources: Sequence[Source]) -> None:
    """Keeps what the zoo is built from and by; refuses to go on with anything else."""
    # The table of generators is part of it, so that which are known can't be chosen after looking at results.
    facts = {
        "settings": msgspec.to_builtins(settings),
        "generators": [_described(generator) for generator in generators],
        "sources": content_hash(f"{source.name} {source.split}" for source in sources),
    }
    if not path.exists():
        write_json(path, {**facts, "machine": msgspec.to_builtins(describe_machine())})
        return
    begun = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    different = [name for name, value in facts.items() if begun.get(name) != value]
    if different:
        raise DatasetError(
            f"{path.parents[1]} was begun with other {' and '.join(different)}: give the same again, or another folder"
        )


def _described(generator: Generator) -> dict[str, object]:
    """A row of the table of generators, for JSON."""
    fields: dict[str, object] = msgspec.to_builtins(generator)
    pipeline = {"kind": type(generator.pipeline).__name__, **msgspec.to_builtins(generator.pipeline)}
    return {**fields, "pipeline": pipeline}


def _check_format(generators: Sequence[Generator], out: Path) -> Measured:
    classes = {generator.name: list_images(folder_of(generator, out)) for generator in generators}
    check = check_format({**classes, NEGATIVES: list_images(out / NEGATIVES)})
    if not check.at_chance:
        raise DatasetError(
            f"{out}: format alone tells its classes apart with a balanced accuracy of {check.balanced_accuracy:.3f} "
            f"(chance {check.chance:.3f}): build it again in an empty folder"
        )
    return cast(dict[str, float], msgspec.to_builtins(check))


def _report(settings: ZooSettings, generators: Sequence[Generator], steps: Steps, out: Path) -> None:
    begun = msgspec.json.decode((out / "work" / "begun.json").read_bytes(), type=dict[str, object])
    records = steps.records()
    counts: dict[str, dict[str, int]] = {}
    for part in SPLIT_PARTS:
        split = msgspec.json.decode((out / part / SPLIT_FILE).read_bytes(), type=Split)
        for name, classes in split.items():
            for class_, files in classes.items():
                counts.setdefault(class_, {})[name] = len(files)
    for generator in generators:
        if generator.part == AUXILIARY:
            counts[generator.name] = {"train": len(list_images(folder_of(generator, out)))}
    write_json(
        out / REPORT,
        {
            "settings": msgspec.to_builtins(settings),
            "machine": begun["machine"],
            "real": REAL,
            "generators": [{**_described(g), "images": counts[g.name]} for g in generators],
            "negatives": int(records["negatives"]["images"]),
            "decoders": {
                name: record["mean_absolute_error"] for name, record in records.items() if name.startswith("decoder_")
            },
            "denoiser": records["denoiser"]["mean_squared_error"],
            "format_check": records["format_check"],
            "seconds": {name: record["seconds"] for name, record in records.items()},
        },
    )
