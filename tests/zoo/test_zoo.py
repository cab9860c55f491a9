"""A zoo of a few images, built by the real steps."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from protoleak.dataset import list_images, read_dataset
from protoleak.errors import DatasetError
from tests.zoo.conftest import TINY
from zoo.generators import GENERATORS, Gan, Original
from zoo.inputs import Inputs, read_sources
from zoo.zoo import Split, build_zoo, folder_of

Report = dict[str, object]


def report(zoo: Path) -> Report:
    return msgspec.json.decode((zoo / "zoo.json").read_bytes(), type=Report)


def split(zoo: Path, part: str) -> Split:
    return msgspec.json.decode((zoo / part / "Split.json").read_bytes(), type=Split)


def test_train_and_export_read_the_known_generators_as_they_lie(zoo: Path) -> None:
    dataset = read_dataset(zoo / "known", real_class="real")
    assert set(dataset.generators) == {generator.name for generator in GENERATORS if generator.part == "known"}


def test_a_source_and_all_that_is_made_from_it_is_in_one_split(zoo: Path) -> None:
    places: dict[str, set[str]] = {}
    for part in ("known", "unknown"):
        for name, classes in split(zoo, part).items():
            for files in classes.values():
                for file in files:
                    places.setdefault(file, set()).add(name)
    assert len(places) == 15 + 15  # sources, and the GAN's faces
    assert all(len(names) == 1 for names in places.values())


def test_every_image_is_in_the_split_file(zoo: Path) -> None:
    for generator in GENERATORS:
        if generator.part == "auxiliary":
            continue
        listed = split(zoo, generator.part)
        names = [name for classes in listed.values() for name in classes[generator.name]]
        assert sorted(names) == sorted(path.name for path in list_images(folder_of(generator, zoo)))


def test_every_generator_makes_other_images_of_the_same_source(zoo: Path, material: Inputs) -> None:
    source = next(source for source in read_sources(material.data, TINY) if source.collection == "portraits")
    images = []
    for generator in GENERATORS:
        path = folder_of(generator, zoo) / f"{source.name}.jpg"
        if path.exists():
            with Image.open(path) as opened:
                images.append(np.asarray(opened))
    assert len(images) == len(GENERATORS) - 2  # neither the GAN nor Stable Diffusion 3 has it
    for index, image in enumerate(images):
        assert image.shape == (256, 256, 3)
        assert not any(np.array_equal(image, other) for other in images[:index])


def test_format_alone_does_not_tell_the_classes_apart(zoo: Path) -> None:
    check = report(zoo)["format_check"]
    assert isinstance(check, dict)
    assert check["classes"] == len(GENERATORS) + 1  # and the negatives
    assert check["balanced_accuracy"] <= check["chance"] + 0.02


def test_the_report_counts_every_image(zoo: Path) -> None:
    rows = report(zoo)["generators"]
    assert isinstance(rows, list)
    counts = {row["name"]: sum(row["images"].values()) for row in rows}
    assert counts == {g.name: len(list_images(folder_of(g, zoo))) for g in GENERATORS}


def test_an_interrupted_build_goes_on_and_repeats_nothing_that_was_done(
    zoo: Path, material: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "zoo"
    shutil.copytree(zoo, out)
    nearest = out / "known" / "nearest_decoder"
    before = {path.name: path.read_bytes() for path in nearest.iterdir()}
    (out / "work" / "steps" / "images_nearest_decoder.json").unlink()
    next(nearest.iterdir()).unlink()
    build_zoo(material, TINY, out)
    assert {path.name: path.read_bytes() for path in nearest.iterdir()} == before
    done = capsys.readouterr().out
    assert "denoiser: done before" in done
    assert "images_nearest_decoder: done before" not in done


def test_a_zoo_does_not_go_on_with_other_settings(zoo: Path, material: Inputs) -> None:
    with pytest.raises(DatasetError, match="begun with other settings"):
        build_zoo(material, msgspec.structs.replace(TINY, seed=1), zoo)


def test_which_generators_are_known_cannot_change_after_a_build_began(zoo: Path, material: Inputs) -> None:
    swapped = [replace(generator, part="unknown" if generator.part == "known" else "known") for generator in GENERATORS]
    with pytest.raises(DatasetError, match="begun with other generators"):
        build_zoo(material, TINY, zoo, swapped)


def test_a_build_without_weights_of_the_gan_does_not_go_on_with_one_that_has_them(zoo: Path, material: Inputs) -> None:
    with pytest.raises(DatasetError, match="begun with other generators"):
        build_zoo(replace(material, dcgan=None), TINY, zoo)


def test_without_weights_of_the_gan_that_generator_is_left_out(material: Inputs, tmp_path: Path) -> None:
    gan_and_originals = [g for g in GENERATORS if isinstance(g.pipeline, Gan | Original)]
    one = next(g for g in GENERATORS if g.part == "unknown")
    build_zoo(replace(material, dcgan=None), TINY, tmp_path, [*gan_and_originals, one])
    rows = report(tmp_path)["generators"]
    assert isinstance(rows, list)
    assert [row["name"] for row in rows] == ["real", "stable_diffusion_3", one.name]


def test_a_missing_collection_is_named(material: Inputs, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="portraits-sd3"):
        build_zoo(replace(material, data=tmp_path), TINY, tmp_path / "zoo")


def test_auxiliary_generators_re_make_training_sources_only(zoo: Path, material: Inputs) -> None:
    training = {source.name for source in read_sources(material.data, TINY) if source.split == "train"}
    auxiliary = [generator for generator in GENERATORS if generator.part == "auxiliary"]
    assert len(auxiliary) == 10
    for generator in auxiliary:
        assert {path.stem for path in list_images(folder_of(generator, zoo))} == training


def test_a_sibling_is_another_training_that_starts_from_its_decoder(zoo: Path) -> None:
    own, sibling = (load_file(zoo / "work" / "decoders" / f"{name}.safetensors") for name in ("nearest", "nearest_1"))
    for name, weights in own.items():
        if weights.dim() > 1:
            change = float((sibling[name] - weights).std() / weights.std())
            assert 0.2 < change < 0.5  # the disturbance, and one small step
