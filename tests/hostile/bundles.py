"""Hostile bundles with right hashes, made from a seed: what somebody would send who wants more than a verdict.

Every kind is a function that takes the files of a sound bundle and a random generator and changes the files. The
manifest is written afterwards, with the hashes of what was changed, unless a kind says how the bundle is written.
"""

from __future__ import annotations

import io
import json
import os
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from protoleak.bundle.manifest import MANIFEST, Manifest
from protoleak.bundle.writer import write_bundle

ENCODER, ATTRIBUTOR = "variants/fp32/latent_encoder.onnx", "variants/fp32/attributor.onnx"
CALIBRATION, REPORT, PROTOTYPES, NOISE = (
    "variants/fp32/calibration.npz",
    "variants/fp32/report.json",
    "prototypes.npy",
    "noise_bank.npy",
)
Files = dict[str, bytes]
Random = np.random.Generator


@dataclass(frozen=True)
class Hostile:
    """One bundle.

    Attributes:
        kind: of attack, for messages.
        refused: it must be refused; else it may also be a sound bundle still, whose verdicts are then its own affair.
        write: writes it at a path that it returns.
    """

    kind: str
    refused: bool
    write: Callable[[Path], Path]


def varint(value: int, least: int = 1) -> bytes:
    """A protobuf number, of at least so many bytes."""
    out = bytearray()
    while value > 0x7F or len(out) + 1 < least:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


# Kinds that change a graph: (model, random) → bytes of the new one.


def _key_of_33_bits(model: onnx.ModelProto, random: Random) -> bytes:
    """Runtimes drop bit 32 and see an external tensor, an operator, or a second graph."""
    node = helper.make_node("RandomNormal", [], ["hidden"], shape=[1]).SerializeToString()
    number, payload = [(7, message(1, node)), (5, b""), (25, b"f")][random.integers(3)]
    key = varint((number << 3 | 2) | 1 << int(random.integers(32, 35)))
    return bytes(model.SerializeToString()) + key + varint(len(payload)) + payload


def _hidden_external_data(model: onnx.ModelProto, random: Random) -> bytes:
    tensor = model.graph.initializer[int(random.integers(len(model.graph.initializer)))]
    location = message(13, message(1, b"location") + message(2, b"/etc/hostname"))
    hidden = varint((13 << 3 | 2) | 1 << 32) + location[1:] + varint((14 << 3) | 1 << 32) + b"\1"
    changed = tensor.SerializeToString() + hidden
    del model.graph.initializer[list(model.graph.initializer).index(tensor)]
    graph = model.graph.SerializeToString() + message(5, changed)
    model.ClearField("graph")
    return bytes(model.SerializeToString()) + message(7, graph)


def _long_key(model: onnx.ModelProto, random: Random) -> bytes:
    return bytes(model.SerializeToString()) + varint(3 << 3 | 2, int(random.integers(6, 10))) + b"\1x"


def _unknown_field(model: onnx.ModelProto, random: Random) -> bytes:
    number = [0, 9, 15, 20, 25, 26, 99, 2**20][random.integers(8)]
    return bytes(model.SerializeToString()) + message(number, b"\0" * int(random.integers(9)))


def _second_graph(model: onnx.ModelProto, random: Random) -> bytes:
    extra = helper.make_graph([helper.make_node("Identity", ["z0"], [f"x{random.integers(99)}"])], "g", [], [])
    return bytes(model.SerializeToString()) + message(7, extra.SerializeToString())


def _forbidden_operator(model: onnx.ModelProto, random: Random) -> bytes:
    body = helper.make_graph([], "body", [], [])
    nodes = [
        helper.make_node("RandomNormalLike", [_input(model)], ["evil"]),
        helper.make_node("If", ["z"], ["evil"], then_branch=body, else_branch=body),
        helper.make_node("Loop", ["", "z"], ["evil"], body=body),
        helper.make_node("Scan", ["z"], ["evil"], body=body, num_scan_inputs=1),
        helper.make_node("Relu", [_input(model)], ["evil"], domain="com.microsoft"),
        helper.make_node("NonZero", [_input(model)], ["evil"]),
        helper.make_node("SequenceEmpty", [], ["evil"]),
        helper.make_node("Dropout", [_input(model), "", "z"], ["evil"]),
        helper.make_node("EyeLike", [_input(model)], ["evil"]),
        helper.make_node("MadeUp", [_input(model)], ["evil"]),
        helper.make_node("\x1b[31mEvil\n", [_input(model)], ["evil"]),
    ]
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "z"))
    model.graph.node.insert(0, nodes[random.integers(len(nodes))])
    return bytes(model.SerializeToString())


def _too_large(model: onnx.ModelProto, random: Random) -> bytes:
    """Small files, large tensors."""
    shape = [int(random.integers(2**15, 2**20))] * 2
    node, length = helper.make_node, 2 ** int(random.integers(15, 18))
    constants = {
        "x_one": np.ones((1, 1), np.float32),
        "x_shape": np.array(shape, np.int64),
        "x_column": np.ones((length, 1), np.float32),
        "x_row": np.ones((1, length), np.float32),
        "x_zero": np.array(0),
        "x_many": np.array(2**40),
        "x_step": np.array(1),
        "x_scales": np.full(2, 2.0**16, np.float32),
        "x_pads": np.array([0, 0, *shape]),
        "x_image": np.ones((1, 1, 8, 8), np.float32),
        "x_kernel": np.ones((4096, 1, 1, 1), np.float32),
        "x_zeros": np.zeros(2**16, np.int64),
        "x_wide": np.ones((1, 2**14), np.float32),
    }
    doubled = ["x_row", *(f"x_d{index}" for index in range(10))]
    added = ["x_row", *(f"x_a{index}" for index in range(4500))]
    chains = [
        [node("ConstantOfShape", ["x_shape"], ["evil"])],
        [node("Expand", ["x_one", "x_shape"], ["evil"])],
        [node("Tile", ["x_one", "x_shape"], ["evil"])],
        [node("Range", ["x_zero", "x_many", "x_step"], ["evil"])],
        [node("MatMul", ["x_column", "x_row"], ["evil"])],
        [node("Gemm", ["x_column", "x_row"], ["evil"])],
        [node("Add", ["x_column", "x_row"], ["evil"])],
        [node("Resize", ["x_one", "", "x_scales"], ["evil"])],
        [node("Pad", ["x_one", "x_pads"], ["evil"])],
        [node("Gather", ["x_wide", "x_zeros"], ["evil"], axis=0)],
        [node("Conv", ["x_image", "x_kernel"], ["evil"], pads=[2000, 2000, 2000, 2000])],
        [node("Concat", [before] * 8, [after], axis=1) for before, after in pairwise(doubled)],
        [node("Add", [before, before], [after]) for before, after in pairwise(added)],
    ]
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    for index, made in enumerate(chains[random.integers(len(chains))]):
        model.graph.node.insert(index, made)
    return bytes(model.SerializeToString())


def _outside(model: onnx.ModelProto, random: Random) -> bytes:
    tensor = model.graph.initializer[int(random.integers(len(model.graph.initializer)))]
    places = ["/etc/passwd", "../secret", "beside", "a/../../b", "*/_ORT_MEM_ADDR_/*"]
    onnx.external_data_helper.set_external_data(tensor, places[random.integers(len(places))])
    if random.integers(2):
        model.graph.node.insert(0, helper.make_node("Constant", [], ["evil"], value=tensor))
    return bytes(model.SerializeToString())


def _sparse(model: onnx.ModelProto, random: Random) -> bytes:
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    indices = numpy_helper.from_array(np.array([int(random.integers(99))]), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2**40]))
    return bytes(model.SerializeToString())


def _function(model: onnx.ModelProto, random: Random) -> bytes:
    opset = helper.make_opsetid("", 20)
    name = f"f{random.integers(9)}"
    node = helper.make_node("Bernoulli", ["x"], ["y"])
    model.functions.append(helper.make_function("local", name, ["x"], ["y"], [node], [opset]))
    return bytes(model.SerializeToString())


def _other_format(model: onnx.ModelProto, random: Random) -> bytes:
    """By these four bytes engines take a file for a FlatBuffer of theirs, and may find another graph in it."""
    model.ClearField("producer_name")
    version, model.ir_version = model.ir_version, 0
    model.ClearField("ir_version")
    mark = [b"ORTM", b"TFL3"][random.integers(2)]
    return varint(1 << 3) + varint(version) + message(2, mark) + bytes(model.SerializeToString())


def _grown(model: onnx.ModelProto, random: Random) -> bytes:
    """An input that stands beside what an operator works on, and makes its output larger in some engines."""
    node = helper.make_node
    one = np.ones(1, np.float32)
    constants = {"x_one": one.reshape(1, 1, 1, 1), "x_many": np.ones(4096, np.float32), "x_pads": np.zeros(8, np.int64)}
    constants |= {"x_flat": one.reshape(1, 1), "x_axes": np.arange(4)}
    made = [
        node("Conv", ["x_one", "x_one", "x_many"], ["evil"]),
        node("Gemm", ["x_flat", "x_flat", "x_many"], ["evil"]),
        node("LayerNormalization", ["x_flat", "x_many"], ["evil"]),
        node("Clip", ["x_one", "x_many"], ["evil"]),
        node("Sigmoid", ["x_one", "x_many"], ["evil"]),
        node("Pad", ["x_one", "x_pads"], ["evil"], pads=[0, 0, 0, 0, 0, 0, 4096, 4096]),
        node("Squeeze", ["x_one", "x_axes"], ["evil"], axes=[0]),
    ]
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    model.graph.node.insert(0, made[random.integers(len(made))])
    return bytes(model.SerializeToString())


def _two_of_a_name(model: onnx.ModelProto, random: Random) -> bytes:
    """A constant that stands for the input, an output twice, two versions of one set of operators."""
    choice = random.integers(3)
    if choice == 0:
        model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), _input(model)))
    elif choice == 1:
        model.graph.output.append(model.graph.output[0])
    else:
        model.opset_import.append(helper.make_opsetid(["", "ai.onnx"][random.integers(2)], int(random.integers(7, 17))))
    return bytes(model.SerializeToString())


def _other_interface(model: onnx.ModelProto, random: Random) -> bytes:
    graph, choice = model.graph, random.integers(5)
    if choice == 0:
        graph.input[0].name = "elsewhere"
    elif choice == 1:
        graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    elif choice == 2:
        graph.input[0].type.tensor_type.shape.dim[1].dim_value += int(random.integers(1, 99))
    elif choice == 3:
        graph.output[0].name = "elsewhere"
    else:
        graph.input.append(helper.make_tensor_value_info("more", 1, [1]))
    return bytes(model.SerializeToString())


def _not_finite(model: onnx.ModelProto, random: Random) -> bytes:
    floats = [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT]
    tensor = floats[int(random.integers(len(floats)))]
    values = numpy_helper.to_array(tensor).copy()
    values.reshape(-1)[int(random.integers(values.size))] = [np.nan, np.inf, -np.inf][random.integers(3)]
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return bytes(model.SerializeToString())


def _lying_shape(model: onnx.ModelProto, random: Random) -> bytes:
    tensor = model.graph.initializer[int(random.integers(len(model.graph.initializer)))]
    tensor.dims.append(int([0, 2, -1, 2**31, 2**62][random.integers(5)]))
    return bytes(model.SerializeToString())


def _many_fields(model: onnx.ModelProto, random: Random) -> bytes:
    return bytes(model.SerializeToString()) + message(14, b"") * int(random.integers(500_001, 600_000))


def _nested(model: onnx.ModelProto, random: Random) -> bytes:  # noqa: ARG001
    graph = b""
    for _ in range(int(random.integers(100, 2000))):
        graph = message(1, message(5, message(6, graph)))
    return message(7, graph)


def _mutated(model: onnx.ModelProto, random: Random) -> bytes:
    data = bytearray(model.SerializeToString())
    for _ in range(int(random.integers(1, 6))):
        place = int(random.integers(len(data)))
        choice = random.integers(3)
        if choice == 0:
            data[place] ^= 1 << int(random.integers(8))
        elif choice == 1:
            del data[place : place + int(random.integers(1, 20))]
        else:
            data[place:place] = random.bytes(int(random.integers(1, 9)))
    return bytes(data)


def _input(model: onnx.ModelProto) -> str:
    return str(model.graph.input[0].name)


# Kinds that change another file: (content, random) → new content.


def _garbage(content: bytes, random: Random) -> bytes:
    return [b"", b"GIF89a", random.bytes(64), content[: int(random.integers(len(content)))]][random.integers(4)]


def _npy_header(content: bytes, random: Random) -> bytes:
    """The header is Python source, and says how large the data is."""
    data = content[128:]
    headers = [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 64), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<U99999999', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f4'}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808, 0), }",
        "{'descr': '<M8[ns]', 'fortran_order': True, 'shape': (1,), }",
        "(" * 3000,
        "__import__('os').abort()",
        "{'descr': '<f4', 'fortran_order': False, 'shape': " + "9" * 3000 + ", }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 3.5, 'x'), }",
        "\n\n\u00e9",
    ]
    header = headers[random.integers(len(headers))].encode("latin-1")
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data


def _npz_named_npy(content: bytes, random: Random) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.frombuffer(random.bytes(len(content) % 64 + 4), np.uint8))
    return buffer.getvalue()


def _npz_bomb(content: bytes, random: Random) -> bytes:  # noqa: ARG001
    """Zeros that are packed a thousandfold; and an archive that lies about their size."""
    buffer = io.BytesIO()
    size = 2 ** int(random.integers(20, 23))
    array = io.BytesIO()
    np.save(array, np.zeros(size))
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("overall.npy", array.getvalue())
    data = buffer.getvalue()
    lie = struct.pack("<I", len(array.getvalue()))
    return data.replace(lie, struct.pack("<I", 4096)) if random.integers(2) else data


def _nested_json(content: bytes, random: Random) -> bytes:  # noqa: ARG001
    opening, closing = [(b"[", b"]"), (b'{"a":', b"}")][random.integers(2)]
    depth = int(random.integers(2000, 100_000))
    return b'{"schema_version": 1, "provenance": ' + opening * depth + b"1" + closing * depth + b"}"


# Kinds that change the manifest's values: (plain values, random) → None.


def _manifest_value(values: dict[str, object], random: Random) -> None:
    changes: list[tuple[str, object]] = [
        ("schema_version", 10**400),
        ("name", "\x1b[2J\nerror: all is well\r" * 10),
        ("timesteps", list(range(10**5))),
        ("timesteps", [-1]),
        ("schedule", {"kind": "linear", "steps": 10**12}),
        ("schedule", {"kind": "linear", "beta_start": -5.0, "beta_end": 1e308, "steps": 1000}),
        ("latent_shape", [10**6, 10**6, 10**6]),
        ("embedding_size", 2**62),
        ("prototypes_per_generator", -3),
        ("generators", [str(index) for index in range(20_000)]),
        ("generators", ["one"]),
        ("preprocessing", {"image_size": 10**9}),
        ("preprocessing", {"looks": ["image"] * 10_000}),
        ("variants", ["../../etc"]),
        ("variants", [f"v{index}" for index in range(10_000)]),
        ("alpha", -1e300),
        ("amplitudes", [0.0]),
        ("low_frequency", {"components": 10**9}),
        ("noise_seed", "now"),
        ("x" * 10**5, 1),
        ("files", {}),
        ("files", {f"f{index}": {"sha256": "0" * 64, "size": 0} for index in range(5000)}),
        ("files", {"noise_bank.npy": {"sha256": "0" * 64, "size": 2**60}}),
        ("files", {"../escape": {"sha256": "0" * 64, "size": 1}}),
        ("files", {"a\0b": {"sha256": "0" * 64, "size": 1}}),
        ("files", {"n" * 5000: {"sha256": "0" * 64, "size": 1}}),
        ("created", None),
    ]
    key, value = changes[random.integers(len(changes))]
    if key == "name":  # a name is anybody's; what must fail is the rest
        values["schema_version"] = 99
    values[key] = value


# Kinds of a whole bundle: (files with the manifest, random, path) → path.


def _zip_with(contents: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _hostile_zip(contents: Files, random: Random, path: Path) -> Path:
    choice = random.integers(9)
    data = _zip_with(contents, zipfile.ZIP_LZMA if choice == 0 else zipfile.ZIP_DEFLATED)
    if choice == 1:
        data = data[: int(random.integers(len(data)))]
    elif choice == 2:
        data += random.bytes(int(random.integers(1, 70)))
    elif choice == 3:  # two manifests
        buffer = io.BytesIO(data)
        with warnings.catch_warnings(), zipfile.ZipFile(buffer, "a") as archive:
            warnings.simplefilter("ignore")  # of the very thing
            archive.writestr(zipfile.ZipInfo(MANIFEST), b"{}")
        data = buffer.getvalue()
    elif choice == 4:  # leaves the folder
        data = _zip_with(contents | {"../../evil": b"x"})
    elif choice == 5:  # a table of contents of many entries
        data = _zip_with({f"{index:08}" * 20: b"" for index in range(12_000)} | contents)
    elif choice == 6:  # an encrypted member
        place = data.index(b"PK\1\2")
        data = data[: place + 8] + b"\1" + data[place + 9 :]
    elif choice == 7:  # a member of zeros that unpacks to more than the manifest says
        data = _zip_with(contents | {NOISE: bytes(2**26)})
    elif choice == 8:  # a table of contents that is said to be large
        data = data[:-10] + struct.pack("<I", int(random.integers(2**22, 2**32))) + data[-6:]
    path = path.with_suffix(".zip")
    path.write_bytes(data)
    return path


def _hostile_folder(contents: Files, random: Random, path: Path) -> Path:
    for name, data in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    names = sorted(contents)
    victim = path / names[random.integers(len(names))]
    victim.unlink()
    choice = random.integers(5)
    if choice == 0:
        os.mkfifo(victim)
    elif choice == 1:
        victim.symlink_to("/etc/hostname")
    elif choice == 2:
        victim.mkdir()
    elif choice == 3:
        victim.symlink_to(victim)
    return path


def _hostile_signature(contents: Files, random: Random, path: Path) -> Path:
    digits = random.bytes(96).hex()
    signatures = [
        b"{}",
        b"[" * 2000,
        random.bytes(100),
        bytes(5000),
        json.dumps({"algorithm": "ed25519", "public_key": digits[:64], "signature": digits[64:]}).encode(),
        json.dumps({"algorithm": "none", "public_key": digits[:64], "signature": digits[64:]}).encode(),
        json.dumps({"algorithm": "ed25519", "public_key": "zz", "signature": "é"}).encode(),
    ]
    for name, data in (contents | {"signature.json": signatures[random.integers(len(signatures))]}).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


GRAPH_KINDS = (
    *(_key_of_33_bits, _hidden_external_data, _long_key, _unknown_field, _second_graph, _forbidden_operator),
    *(_too_large, _outside, _sparse, _function, _other_interface, _not_finite, _lying_shape, _many_fields, _nested),
    *(_other_format, _grown, _two_of_a_name),
)
FILE_KINDS: tuple[tuple[Callable[[bytes, Random], bytes], tuple[str, ...]], ...] = (
    (_garbage, (ENCODER, ATTRIBUTOR, CALIBRATION, REPORT, PROTOTYPES, NOISE)),
    (_npy_header, (PROTOTYPES, NOISE)),
    (_npz_named_npy, (PROTOTYPES, NOISE)),
    (_npz_bomb, (CALIBRATION,)),
    (_nested_json, (REPORT, MANIFEST)),
)
WHOLE_KINDS = (_hostile_zip, _hostile_folder, _hostile_signature)
HEAVY = (_many_fields,)  # seldom, since each takes a second


def hostile_bundles(manifest: Manifest, files: Files, seed: int, count: int) -> Iterator[Hostile]:
    """So many hostile bundles, the same for the same seed: every kind in turn."""
    kinds: list[Callable[..., object]] = [*GRAPH_KINDS, _mutated, *(kind for kind, _ in FILE_KINDS), _manifest_value]
    kinds += [*WHOLE_KINDS, _mutated, _manifest_value, _too_large]
    for index in range(count):
        kind = kinds[index % len(kinds)]
        if kind in HEAVY and index // len(kinds) % 10:
            kind = _mutated
        yield _hostile(manifest, files, kind, np.random.default_rng([seed, index]))


def _hostile(manifest: Manifest, files: Files, kind: Callable[..., object], random: Random) -> Hostile:
    name = kind.__name__.strip("_")
    changed = dict(files)
    if kind in GRAPH_KINDS or kind is _mutated:
        graph = [ENCODER, ATTRIBUTOR][random.integers(2)]
        changed[graph] = kind(onnx.load_from_string(files[graph]), random)  # type: ignore[assignment]
        return Hostile(name, kind is not _mutated, lambda path: _written(path, manifest, changed))
    targets = dict(FILE_KINDS).get(kind)  # type: ignore[arg-type]
    if targets is not None:
        target = targets[random.integers(len(targets))]
        if target == MANIFEST:
            new = kind(b"", random)
            return Hostile(name, True, lambda path: _raw(path, files | {MANIFEST: new}))  # type: ignore[dict-item]
        changed[target] = kind(files[target], random)  # type: ignore[assignment]
        return Hostile(name, True, lambda path: _written(path, manifest, changed))
    if kind is _manifest_value:

        def write(path: Path) -> Path:
            _written(path, manifest, files)
            values = json.loads((path / MANIFEST).read_text())
            _manifest_value(values, random)
            (path / MANIFEST).write_text(json.dumps(values))
            return path

        return Hostile(name, True, write)

    def whole(path: Path) -> Path:
        sound = path.with_name(f"{path.name}.sound")
        _written(sound, manifest, files)
        contents = {
            file.relative_to(sound).as_posix(): file.read_bytes() for file in sound.rglob("*") if file.is_file()
        }
        path.mkdir(parents=True)
        return kind(contents, random, path)  # type: ignore[return-value]

    return Hostile(name, True, whole)


def _written(path: Path, manifest: Manifest, files: Files) -> Path:
    write_bundle(path, msgspec.structs.replace(manifest, files={}), files)
    return path


def _raw(path: Path, files: Files) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path
