"""`protoleak triton`: what is written, and that its models say what `protoleak screen` says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protoleak.bundle.bundle import Bundle
from protoleak.cli.app import main
from protoleak.serving.triton.graphs import output_shapes
from protoleak.serving.triton.prepare import Preparation
from tests.paths import EXAMPLES
from tests.serving.triton.examples import check_lines, nine_examples, screened
from tests.serving.triton.stand_in import ask_ensemble, ask_single, encoded, model
from tests.tiny_bundle import make_image

PHOTOGRAPH = EXAMPLES / "images" / "photograph.jpg"  # of one face


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the default bundle; not to be changed."""
    out = tmp_path_factory.mktemp("ensemble") / "repository"
    assert main(["triton", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the default bundle; not to be changed."""
    out = tmp_path_factory.mktemp("single") / "repository"
    assert main(["triton", "--single", "--engine", "onnxruntime", "--out", str(out)]) == 0
    return out


def test_both_forms_say_what_screen_says(ensemble: Path, single: Path, tmp_path: Path) -> None:
    images = nine_examples(tmp_path)
    expected = screened(images, None, tmp_path / "verdicts.jsonl")
    data = [path.read_bytes() for path in images]
    for answers in (ask_ensemble(ensemble, [data[:4], data[4:]]), ask_single(single, [data[:4], data[4:]])):
        for path, answer in zip(images, [one for request in answers for one in request], strict=True):
            check_lines(answer, expected[str(path)])
    assert len(expected[str(images[6])]) == 2  # the image with two faces


def test_a_broken_image_fails_alone(ensemble: Path, single: Path) -> None:
    good = PHOTOGRAPH.read_bytes()
    for ask, repository in ((ask_ensemble, ensemble), (ask_single, single)):
        ((first, broken, empty, last),) = ask(repository, [[good, b"no image", b"", good]])
        assert json.loads(broken)["outcome"] == json.loads(empty)["outcome"] == "error"
        assert "image 1: not an image" in json.loads(broken)["reason"]
        assert json.loads(first)["sha256"] == json.loads(last)["sha256"]
        assert json.loads(first)["outcome"] == json.loads(last)["outcome"] == "verdict"


def test_images_are_judged_whole_where_the_bundle_looks_at_no_faces(tiny_bundle: Path, tmp_path: Path) -> None:
    images = [tmp_path / f"{kind}.png" for kind in range(3)]
    for kind, path in enumerate(images):
        Image.fromarray(make_image(kind, 5)).save(path)
    expected = screened(images, tiny_bundle, tmp_path / "verdicts.jsonl")
    for form, ask in (([], ask_ensemble), (["--single"], ask_single)):
        out = tmp_path / f"repository{len(form)}"
        assert main(["triton", str(tiny_bundle), *form, "--out", str(out), "--alpha", "0.05"]) == 0
        (answers,) = ask(out, [[path.read_bytes() for path in images]])
        for path, answer in zip(images, answers, strict=True):
            check_lines(answer, expected[str(path)])


def test_more_faces_than_the_graphs_take_are_an_error_of_their_image(tmp_path: Path) -> None:
    two = nine_examples(tmp_path)[6].read_bytes()
    looks, prepared = Preparation(Bundle.load(), 3)([two, two, PHOTOGRAPH.read_bytes()])
    assert len(looks) == 3
    assert [len(image.faces) for image in prepared.images] == [2, 0, 1]
    assert "2 faces beside 2 of other images" in str(prepared.images[1].failure)
    alone, _ = Preparation(Bundle.load(), 1)([two])
    assert len(alone) == 1
    assert not alone.any()  # a black row that belongs to nobody: the graphs take no batch of nothing


def test_more_than_sixteen_images_in_a_request_are_refused(ensemble: Path) -> None:
    with model(ensemble, "prepare") as prepare:
        too_many, good = prepare.execute([encoded([b"x"] * 17), encoded([b"x"])])
    assert "17 images in one request" in str(too_many.error)
    assert good.error is None


def test_a_number_that_is_not_finite_is_an_error_of_its_face(ensemble: Path, tmp_path: Path) -> None:
    two = nine_examples(tmp_path)[6].read_bytes()
    with model(ensemble, "prepare") as prepare, model(ensemble, "decide") as decide:
        (prepared,) = prepare.execute([encoded([two])])
        shapes = output_shapes(Bundle.load().manifest)
        outputs = {name: np.ones((2, *shape), np.float32) for name, shape in shapes.items()}
        outputs["log_density"][1] = np.nan
        (answer,) = decide.execute([{"about": prepared.tensors["about"], **outputs}])
    first, second = (json.loads(line) for line in answer.tensors["verdicts"][0, 0].splitlines())
    assert (first["outcome"], second["outcome"]) == ("verdict", "error")
    assert "'log_density' as NaN" in second["reason"]


def test_a_repository_replaces_its_predecessor_and_nothing_else(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "repository"
    assert main(["triton", str(tiny_bundle), "--out", str(out)]) == 0
    (out / "left_over").mkdir()
    assert main(["triton", str(tiny_bundle), "--single", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "probe.png", "protoleak"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    assert main(["triton", str(tiny_bundle), "--out", str(tmp_path / "mine")]) == 2
    assert "is no repository of protoleak's" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "do not touch"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--single", "--backend", "tensorrt"], "leave it out with --single"),
        (["--engine", "openvino"], "give --single too"),
        (["--variant", "int8"], "has no variant 'int8'"),
        (["--alpha", "0.0001"], "0.0001"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    options: list[str], message: str, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["triton", str(tiny_bundle), *options, "--out", str(tmp_path / "repository")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "repository").exists()


def test_the_warm_up_is_an_image_as_it_goes_on_the_wire(ensemble: Path, single: Path) -> None:
    for file in (ensemble / "prepare/warmup/image", single / "protoleak/warmup/image"):
        data = file.read_bytes()
        assert int.from_bytes(data[:4], "little") == len(data) - 4
        assert data[4:] == (ensemble / "probe.png").read_bytes()


def test_the_readme_names_the_bundle_and_files_that_are_there(ensemble: Path) -> None:
    text = (ensemble / "README.md").read_text()
    assert Bundle.load().sha256 in text
    assert "{" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL)  # nothing was left unfilled
    assert all(len(line) <= 120 for line in text.splitlines())
    assert (ensemble / "probe.png").is_file()
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        compile(block, "README.md", "exec")


def test_plans_are_built_by_a_script_with_the_shapes_of_the_configuration(tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "repository"
    given = ["--backend", "tensorrt", "--batch-maximum", "4"]
    assert main(["triton", str(tiny_bundle), *given, "--out", str(out)]) == 0
    script = out / "build_plans.sh"
    assert script.stat().st_mode & 0o100
    assert "build latent_encoder looks:1x1x64x64x3 looks:4x1x64x64x3 looks:4x1x64x64x3" in script.read_text()
    assert "build attributor z0:1x1x4x8x8 z0:4x1x4x8x8 z0:4x1x4x8x8" in script.read_text()
    assert 'default_model_filename: "model.plan"' in (out / "attributor/config.pbtxt").read_text()
    assert "build_plans.sh" in (out / "README.md").read_text()
