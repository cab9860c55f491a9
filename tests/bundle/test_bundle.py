"""A bundle that is damaged, unsafe or of another schema is a BundleError, and nothing of it is executed."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.calibration import Calibration
from protoleak.bundle.manifest import Manifest
from protoleak.bundle.reader import FACE_DETECTOR
from protoleak.bundle.writer import array_bytes, write_bundle
from protoleak.errors import BundleError
from protoleak.images.framing import Framing

Files = dict[str, bytes]
ENCODER = "variants/fp32/latent_encoder.onnx"
ATTRIBUTOR = "variants/fp32/attributor.onnx"
CALIBRATION = "variants/fp32/calibration.npz"


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle directory that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


@pytest.fixture
def with_file(tiny_files: tuple[Manifest, Files], tmp_path: Path) -> Callable[[str, bytes], Path]:
    """A bundle with one file replaced and its hash right: only the content is wrong."""

    def make(name: str, data: bytes) -> Path:
        manifest, files = tiny_files
        write_bundle(tmp_path / "altered", manifest, files | {name: data})
        return tmp_path / "altered"

    return make


def edit_manifest(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = bundle / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


def fails(path: Path, *words: str) -> None:
    with pytest.raises(BundleError) as caught:
        Bundle.load(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_what_is_written_is_read_back(tiny_files: tuple[Manifest, Files], tiny_bundle: Path) -> None:
    manifest, files = tiny_files
    loaded = Bundle.load(tiny_bundle)
    assert loaded.manifest.generators == manifest.generators
    assert loaded.variant("fp32").attributor == files[ATTRIBUTOR]
    assert loaded.sha256 == hashlib.sha256((tiny_bundle / "manifest.json").read_bytes()).hexdigest()


def test_zip_holds_the_same_bundle_as_the_directory(
    tiny_files: tuple[Manifest, Files], tiny_bundle: Path, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "b.zip", *tiny_files)
    assert Bundle.load(tmp_path / "b.zip").sha256 == Bundle.load(tiny_bundle).sha256


def test_missing_bundle_names_its_place(tmp_path: Path) -> None:
    fails(tmp_path / "nowhere", "nowhere", "protoleak export")


def test_empty_folder_is_no_bundle(tmp_path: Path) -> None:
    fails(tmp_path, "manifest.json")


@pytest.mark.parametrize("name", ["noise_bank.npy", "prototypes.npy", ENCODER, ATTRIBUTOR, CALIBRATION])
def test_one_changed_byte_is_found_and_the_file_named(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    fails(copy, name, "SHA-256")


def test_changed_byte_in_a_zip_is_found(copy: Path, tmp_path: Path) -> None:
    packed = tmp_path / "b.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(copy.rglob("*")):
            if file.is_file():
                data = bytearray(file.read_bytes())
                if file.name == "noise_bank.npy":
                    data[-1] ^= 1
                archive.writestr(str(file.relative_to(copy)), bytes(data))
    fails(packed, "noise_bank.npy", "SHA-256")


def test_longer_file_is_found_before_it_is_read(copy: Path) -> None:
    with (copy / ATTRIBUTOR).open("ab") as file:
        file.write(b"\0")
    fails(copy, ATTRIBUTOR, "bytes")


@pytest.mark.parametrize("name", ["noise_bank.npy", ATTRIBUTOR])
def test_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    fails(copy, name, "missing")


def test_file_that_the_manifest_does_not_list_is_missed(copy: Path) -> None:
    edit_manifest(copy, lambda manifest: manifest["files"].pop(CALIBRATION))
    fails(copy, CALIBRATION, "does not list")


def test_newer_schema_says_upgrade_whatever_else_is_in_it(copy: Path) -> None:
    (copy / "manifest.json").write_text('{"schema_version": 99, "shape": "not known yet"}')
    fails(copy, "99", "upgrade protoleak")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema_version": "1"}', '{"schema_version": 1}', "\udcff", "[" * 20000]
)
def test_manifest_that_is_not_one_is_refused(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    fails(copy, "manifest.json")


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("generators", ["only"], "two"),
        ("generators", ["a", "a", "b"], "share a name"),
        ("real_class", "nobody", "nobody"),
        ("timesteps", [0, 1000], "timesteps"),
        ("timesteps", [], "timesteps"),
        ("variants", [], "variant"),
        ("variants", ["../fp32"], "variants"),
        ("latent_shape", [4, 0, 8], "latent shape"),
        ("preprocessing", {"image_size": 1_000_000}, "image size"),
        ("preprocessing", {"looks": ["face", "profile"]}, "profile"),
        ("preprocessing", {"looks": ["face", "face"]}, "each once"),
        ("preprocessing", {"looks": []}, "at least one"),
        ("preprocessing", {"face_margin": 5}, "face margin 5"),
        ("preprocessing", {"margin": 0.2}, "margin"),
        ("amplitudes", [1.0], "amplitudes [1.0] for 2 timesteps"),
        ("amplitudes", [1.0, 0.0], "amplitudes"),
        ("amplitudes", [1.0, -2.0], "amplitudes"),
        ("amplitudes", [], "amplitudes []"),
        ("low_frequency", {"components": 9}, "9"),
        ("schedule", {"kind": "cosine"}, "cosine"),
        ("noise_seed", "seven", "noise_seed"),
        ("face_detector", "eyes", "eyes"),
        ("alpha", 0.0, "alpha 0"),
        ("alpha", 1.5, "alpha 1.5"),
        ("alpha", "low", "alpha"),
        ("surprise", 1, "surprise"),
    ],
)
def test_manifest_that_contradicts_itself_is_refused(copy: Path, field: str, value: object, word: str) -> None:
    edit_manifest(copy, lambda manifest: manifest.update({field: value}))
    fails(copy, word)


def test_a_manifest_of_before_there_were_looks_judges_whole_images(copy: Path) -> None:
    edit_manifest(copy, lambda manifest: manifest.update({"preprocessing": {"image_size": 64}}))
    assert Bundle.load(copy).manifest.preprocessing.framing == Framing(("image",), 64)


@pytest.mark.parametrize("name", ["../outside.npy", "/etc/hostname", "a/../../outside", "C:/x", "..\\x"])
def test_path_that_leaves_the_bundle_is_refused(copy: Path, name: str) -> None:
    (copy.parent / "outside.npy").write_bytes(b"secret")
    record = {"sha256": hashlib.sha256(b"secret").hexdigest(), "size": 6}
    edit_manifest(copy, lambda manifest: manifest["files"].update({name: record}))
    fails(copy, "leaves the bundle")


@pytest.mark.parametrize("name", ["noise_bank.npy", "manifest.json", "signature.json"])
def test_link_that_leaves_the_bundle_is_refused(copy: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "elsewhere"
    target.write_bytes(b"{}")
    if (copy / name).exists():
        shutil.move(copy / name, target)
    (copy / name).symlink_to(target)
    fails(copy, name, "link")


def test_zip_member_that_leaves_the_bundle_is_refused(tiny_files: tuple[Manifest, Files], tmp_path: Path) -> None:
    packed = tmp_path / "b.zip"
    write_bundle(packed, *tiny_files)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("../evil.py", "print()")
    fails(packed, "../evil.py", "leaves the bundle")


def repack(packed: Path, change: Callable[[dict[str, Any], Files], None]) -> None:
    """Rewrites a zipped bundle; `change` gets the manifest and the members."""
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    change(manifest, members)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, data in members.items():
            archive.writestr(name, data)


def test_zip_bomb_with_honest_sizes_is_refused_without_unpacking(
    tiny_files: tuple[Manifest, Files], tmp_path: Path
) -> None:
    packed = tmp_path / "b.zip"
    write_bundle(packed, *tiny_files)
    zeros = bytes(2**25)

    def change(manifest: dict[str, Any], members: Files) -> None:
        manifest["files"]["zeros"] = {"sha256": hashlib.sha256(zeros).hexdigest(), "size": len(zeros)}
        members["zeros"] = zeros

    repack(packed, change)
    fails(packed, "zip bomb")


def test_zip_member_larger_than_declared_is_refused(tiny_files: tuple[Manifest, Files], tmp_path: Path) -> None:
    packed = tmp_path / "b.zip"
    write_bundle(packed, *tiny_files)
    repack(packed, lambda _, members: members.update({"noise_bank.npy": members["noise_bank.npy"] + b"more"}))
    fails(packed, "noise_bank.npy", "more than")


def test_sizes_beyond_all_bundles_are_refused_from_the_manifest(copy: Path) -> None:
    edit_manifest(copy, lambda manifest: manifest["files"][ATTRIBUTOR].update({"size": 2**40}))
    fails(copy, "refused")


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_truncated_zip_is_refused(tiny_files: tuple[Manifest, Files], tmp_path: Path, keep: float) -> None:
    packed = tmp_path / "b.zip"
    write_bundle(packed, *tiny_files)
    data = packed.read_bytes()
    packed.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    fails(packed, "b.zip")


def test_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_text("hello")
    fails(tmp_path / "b.zip", "zip")


def test_array_with_nan_is_refused(with_file: Callable[[str, bytes], Path]) -> None:
    noise = np.zeros((2, 4, 8, 8), np.float32)
    noise[0, 0, 0, 0] = np.nan
    fails(with_file("noise_bank.npy", array_bytes(noise)), "noise_bank.npy", "NaN")


@pytest.mark.parametrize(
    "array", [np.zeros((2, 4, 8, 8), np.float64), np.zeros((3, 4, 8, 8), np.float32)], ids=["type", "shape"]
)
def test_array_of_another_type_or_shape_is_refused(with_file: Callable[[str, bytes], Path], array: np.ndarray) -> None:
    fails(with_file("noise_bank.npy", array_bytes(array)), "noise_bank.npy", "float32")


class Trap:
    """Unpickling this would raise AssertionError."""

    def __reduce__(self) -> tuple[object, ...]:
        return (_spring, ())


def _spring() -> None:
    raise AssertionError("a pickle was executed")


def test_pickled_array_is_refused_and_not_executed(with_file: Callable[[str, bytes], Path]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap()], dtype=object), allow_pickle=True)
    fails(with_file("prototypes.npy", buffer.getvalue()), "prototypes.npy")


def test_pickled_calibration_is_refused_and_not_executed(with_file: Callable[[str, bytes], Path]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, overall=np.array([Trap()], dtype=object))
    with pytest.raises(BundleError, match=r"calibration\.npz"):
        Bundle.load(with_file(CALIBRATION, buffer.getvalue())).variant("fp32")


@pytest.mark.parametrize("values", [[2.0, 1.0], [np.nan], [-np.inf, 1.0]])
@pytest.mark.parametrize("field", ["overall", "real_margins"])
def test_calibration_that_is_not_sorted_and_finite_is_refused(
    with_file: Callable[[str, bytes], Path], field: str, values: list[float]
) -> None:
    sound = Calibration(np.zeros(1), (np.zeros(1),) * 3, None, real_margins=np.zeros(1))
    calibration = replace(sound, **{field: np.array(values)})
    with pytest.raises(BundleError, match="sorted"):
        Bundle.load(with_file(CALIBRATION, calibration.to_bytes())).variant("fp32")


def test_graph_with_nan_weights_is_refused(
    tiny_files: tuple[Manifest, Files], with_file: Callable[[str, bytes], Path]
) -> None:
    import onnx

    model = onnx.load_from_string(tiny_files[1][ATTRIBUTOR])
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "w1")
    values = onnx.numpy_helper.to_array(weights).copy()
    values.flat[5] = np.nan
    weights.CopyFrom(onnx.numpy_helper.from_array(values, "w1"))
    fails(with_file(ATTRIBUTOR, model.SerializeToString()), ATTRIBUTOR, "NaN", "w1")


def test_graph_with_a_random_operator_is_refused(
    tiny_files: tuple[Manifest, Files], with_file: Callable[[str, bytes], Path]
) -> None:
    import onnx

    model = onnx.load_from_string(tiny_files[1][ENCODER])
    model.graph.node.append(onnx.helper.make_node("RandomNormalLike", ["z0"], ["noise"]))
    fails(with_file(ENCODER, model.SerializeToString()), ENCODER, "RandomNormalLike")


def test_graph_with_data_outside_its_file_is_refused(
    tiny_files: tuple[Manifest, Files], with_file: Callable[[str, bytes], Path]
) -> None:
    import onnx

    model = onnx.load_from_string(tiny_files[1][ENCODER])
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "../../secret")
    fails(with_file(ENCODER, model.SerializeToString()), ENCODER, "outside the file")


def test_bytes_that_are_no_graph_are_refused(with_file: Callable[[str, bytes], Path]) -> None:
    fails(with_file(ATTRIBUTOR, b"GIF89a not a graph"), ATTRIBUTOR, "not an ONNX model")


@pytest.fixture
def with_detector(tiny_files: tuple[Manifest, Files], tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """A bundle that says it holds a face detector, and the file that is given for it."""

    def make(files: dict[str, bytes]) -> Path:
        manifest = msgspec.structs.replace(tiny_files[0], face_detector="yunet")
        write_bundle(tmp_path / "faces", manifest, tiny_files[1] | files)
        return tmp_path / "faces"

    return make


def test_face_detector_is_read_back(
    with_detector: Callable[[dict[str, bytes]], Path],
) -> None:
    import onnx

    from tests.tiny_bundle import model_bytes

    # Any sound graph of one image; whether its outputs are a detector's is asked where it is opened.
    graph = model_bytes([onnx.helper.make_node("Relu", ["image"], ["y"])], [("image", 1, [1, 3, "h", "w"])], ["y"], [])
    assert Bundle.load(with_detector({FACE_DETECTOR: graph})).face_detector == graph


def test_bundle_without_a_face_detector_does_not_mention_one(tiny_bundle: Path) -> None:
    assert Bundle.load(tiny_bundle).face_detector is None
    assert "face_detector" not in json.loads((tiny_bundle / "manifest.json").read_text())


def test_face_detector_that_is_promised_and_not_listed_is_missed(
    with_detector: Callable[[dict[str, bytes]], Path],
) -> None:
    fails(with_detector({}), FACE_DETECTOR, "does not list")


def test_face_detector_that_is_no_graph_is_refused(with_detector: Callable[[dict[str, bytes]], Path]) -> None:
    fails(with_detector({FACE_DETECTOR: b"GIF89a"}), FACE_DETECTOR, "not an ONNX model")


def test_unknown_variant_lists_those_there_are(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="only fp32"):
        Bundle.load(tiny_bundle).variant("int8")


def test_writing_over_something_that_is_no_bundle_is_refused(
    tiny_files: tuple[Manifest, Files], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_bytes(b"precious")
    with pytest.raises(BundleError, match="not a bundle"):
        write_bundle(tmp_path / "photos", *tiny_files)
    assert (tmp_path / "photos" / "mine.jpg").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["full", "full.zip"])
def test_a_full_disk_leaves_no_half_bundle_and_says_what_to_do(
    name: str, tiny_files: tuple[Manifest, Files], tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource", reason="a limit on the size of files stands for a full disk")
    manifest, files = tiny_files
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(BundleError, match=r"^cannot write the bundle .*; free some space or give another place$"):
            write_bundle(tmp_path / name, manifest, files)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
