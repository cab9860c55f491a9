"""Hostile bundles with right hashes, made from a seed: what somebody would send who wants more than a verdict.

Every kind is a function that takes a part of a sound bundle and a random generator: a graph (graphs.py), another file,
the manifest's values, or the whole. Where it changes a file, the manifest is written afterwards with the right hash.
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
from pathlib import Path

import msgspec
import numpy as np
import onnx

from protoleak.bundle.manifest import MANIFEST, Manifest
from protoleak.bundle.writer import write_bundle
from tests.hostile.graphs import GRAPH_KINDS, HEAVY, Random, mutated, too_large

ENCODER, ATTRIBUTOR = "variants/fp32/latent_encoder.onnx", "variants/fp32/attributor.onnx"
CALIBRATION, REPORT, PROTOTYPES, NOISE = (
    "variants/fp32/calibration.npz",
    "variants/fp32/report.json",
    "prototypes.npy",
    "noise_bank.npy",
)
Files = dict[str, bytes]


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


FILE_KINDS: tuple[tuple[Callable[[bytes, Random], bytes], tuple[str, ...]], ...] = (
    (_garbage, (ENCODER, ATTRIBUTOR, CALIBRATION, REPORT, PROTOTYPES, NOISE)),
    (_npy_header, (PROTOTYPES, NOISE)),
    (_npz_named_npy, (PROTOTYPES, NOISE)),
    (_npz_bomb, (CALIBRATION,)),
    (_nested_json, (REPORT, MANIFEST)),
)
WHOLE_KINDS = (_hostile_zip, _hostile_folder, _hostile_signature)


def hostile_bundles(manifest: Manifest, files: Files, seed: int, count: int) -> Iterator[Hostile]:
    """So many hostile bundles, the same for the same seed: every kind in turn."""
    kinds: list[Callable[..., object]] = [*GRAPH_KINDS, mutated, *(kind for kind, _ in FILE_KINDS), _manifest_value]
    kinds += [*WHOLE_KINDS, mutated, _manifest_value, too_large]
    for index in range(count):
        kind = kinds[index % len(kinds)]
        if kind in HEAVY and index // len(kinds) % 10:
            kind = mutated
        yield _hostile(manifest, files, kind, np.random.default_rng([seed, index]))


def _hostile(manifest: Manifest, files: Files, kind: Callable[..., object], random: Random) -> Hostile:
    name = kind.__name__.strip("_")
    changed = dict(files)
    if kind in GRAPH_KINDS or kind is mutated:
        graph = [ENCODER, ATTRIBUTOR][random.integers(2)]
        changed[graph] = kind(onnx.load_from_string(files[graph]), random)  # type: ignore[assignment]
        return Hostile(name, kind is not mutated, lambda path: _written(path, manifest, changed))
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
