"""Which images the default bundle is made from, what each may be used for, and how they are split.

`DATA` is a folder as docs/default_bundle.md describes it: one folder per collection. Rights decide what may train
weights that ship; everything may be measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from protoleak.dataset import IMAGE_SUFFIXES

REAL = "real"
Part = Literal["train", "val", "calibration", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "calibration", "test")
ENDS = (0.56, 0.66, 0.83, 1.0)  # of the parts, as shares of a collection's groups


@dataclass(frozen=True)
class Collection:
    """Images of one generator, or camera originals, that one writer collected.

    Attributes:
        label: the generator, or REAL.
        folder: below DATA.
        group: consecutive files that show one person and stay in one part; 1 where files are independent.
    """

    label: str
    folder: str
    group: int = 1

    @property
    def name(self) -> str:
        return Path(self.folder).name


KNOWN = (
    Collection("stable_diffusion_3", "portraits-sd3"),
    Collection("flux1_dev", "generators/flux1_dev"),
    Collection("grok2_image", "generators/grok2_image"),
    Collection("sdxl_turbo", "generators/sdxl_turbo"),
    Collection("gemini_3_pro_image", "generators/gemini_3_pro_image", group=3),
)
CAMERAS = (
    Collection(REAL, "real-portraits"),
    Collection(REAL, "real-headshots"),
    Collection(REAL, "generators/real-usgov-fellows"),
    Collection(REAL, "generators/real-usgov-cio"),
    Collection(REAL, "generators/real-govfr-eig"),
    Collection(REAL, "generators/real-bssw"),
    Collection(REAL, "generators/real-govca-cds"),
)
AUXILIARY = (Collection("stylegan2_tpdne_2020", "generators/stylegan2_tpdne_2020"),)
RECONSTRUCTED = "autoencoder"  # the other auxiliary generator: training images as `reconstructions.py` makes them
# Measured on alone: their rights don't allow more, or they are held back.
UNKNOWN = (
    Collection("stable_diffusion_2_1", "generators/stable_diffusion_2_1"),
    Collection("stylegan2", "generators/stylegan2"),
    Collection("pixart_xl2_512", "generators/unknown/pixart_xl2_512"),
    Collection("stable_diffusion_1_5", "generators/unknown/stable_diffusion_1_5"),
    Collection("kandinsky_3", "generators/unknown/kandinsky_3"),
    Collection("dreamshaper_8", "generators/unknown/dreamshaper_8"),
)
PHOTOGRAPHS = (Collection(REAL, "real-faces"), Collection(REAL, "generators/real-unsplash-men"))
# `--research` names these too; what it makes doesn't ship.
RESEARCH = ("stable_diffusion_2_1", "stylegan2")


def known_to(research: bool) -> tuple[Collection, ...]:
    """What the recipe names, without the camera sources. With research, the auxiliary StyleGAN2 is a second source of
    what is named then."""
    if not research:
        return KNOWN
    more = (one for one in UNKNOWN if one.label in RESEARCH)
    return (*KNOWN, *more, *(Collection("stylegan2", one.folder) for one in AUXILIARY))


def auxiliary_to(research: bool) -> tuple[Collection, ...]:
    """What is learnt and never named, but for the reconstructed images."""
    return () if research else AUXILIARY


def files_of(data: Path, collection: Collection) -> list[Path]:
    """The images of a collection, by name."""
    folder = data / collection.folder
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)


def parts_of(data: Path, collection: Collection) -> dict[Path, Part]:
    """Every image of a collection with its part: groups in the order of their hashes, so that neither the files' order
    nor another collection has a say."""
    files = files_of(data, collection)
    groups = [
        f"{collection.name}/{index // collection.group if collection.group > 1 else file.stem}"
        for index, file in enumerate(files)
    ]
    order = sorted(set(groups), key=lambda group: hashlib.sha256(f"split {group}".encode()).hexdigest())
    place = {group: (index + 0.5) / len(order) for index, group in enumerate(order)}
    return {file: _part(place[group]) for file, group in zip(files, groups, strict=True)}


def link_known(data: Path, collections: Iterable[Collection], folder: Path) -> None:
    """A data set of links, GENERATOR/SOURCE/file, with its Split.json."""
    split: dict[str, dict[str, list[str]]] = {part: {} for part in PARTS}
    for collection in collections:
        for file, part in parts_of(data, collection).items():
            name = f"{collection.name}/{file.name}"
            link_once(file, folder / collection.label / name)
            split[part].setdefault(collection.label, []).append(name)
    (folder / "Split.json").write_text(json.dumps(split, indent=1) + "\n")


def link_all(data: Path, collections: Iterable[Collection], folder: Path, parts: Iterable[Part] = PARTS) -> None:
    """Links to the images of some parts, LABEL/SOURCE/file."""
    wanted = set(parts)
    for collection in collections:
        for file, part in parts_of(data, collection).items():
            if part in wanted:
                link_once(file, folder / collection.label / collection.name / file.name)


def link_once(target: Path, link: Path) -> None:
    """A symbolic link, unless it is there."""
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(target.resolve())


def without(collections: Iterable[Collection], labels: Iterable[str], names: Iterable[str]) -> Iterator[Collection]:
    """The collections that are of none of these labels and have none of these names."""
    left_out, left_names = set(labels), set(names)
    return (one for one in collections if one.label not in left_out and one.name not in left_names)


def _part(place: float) -> Part:
    return next(part for part, end in zip(PARTS, ENDS, strict=True) if place < end)
