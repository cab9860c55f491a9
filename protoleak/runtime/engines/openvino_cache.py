"""Graphs that OpenVINO has compiled, kept so that the next process need not compile them again.

    <key>.blob      the SHA-256 of the key and what follows, and OpenVINO's own form of the compiled graph

What is kept is the graph with its weights, as OpenVINO has rewritten it: no machine code, but whoever could change it
could change verdicts. So one is only read that this user (or root) alone can have written and whose hash is right, as
with TensorRT's plans; the bundle's own files are checked all the same. Whatever goes wrong here ends in a graph that is
compiled again, or in one that is not kept; never in an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Mapping

import msgspec

from protoleak.files import cache_folder, replace_file, written_by_us
from protoleak.runtime.engines.base import Graph
from protoleak.version import __version__

MOST_BYTES_OF_GRAPH = 64 * 2**20  # larger graphs are compiled anew: that costs them seconds, and would the disk
MOST_BYTES = 256 * 2**20  # of all that is kept; the oldest go first
HASH_BYTES = 32
REWRITERS = ("protoleak.runtime.engines.openvino", "protoleak.runtime.engines.openvino_norms")


def key_of(graph: Graph, version: str, device: str, config: Mapping[str, object]) -> str:
    """The name of a compiled graph: it changes with everything that the compiled graph depends on.

    Args:
        version: OpenVINO's, with its build.
        device: the processor's name.
        config: what it is compiled with.
    """
    parts = {
        "graph": hashlib.sha256(graph.model).hexdigest(),
        "openvino": version,
        "device": device,
        "config": sorted(f"{name}={value}" for name, value in config.items()),
        "protoleak": __version__,
        "rewriters": [hashlib.sha256(_source(name)).hexdigest() for name in REWRITERS],
    }
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def load(key: str) -> bytes | None:
    """What was kept under this key; None where there is nothing that can be trusted."""
    folder = cache_folder("openvino")
    path = folder / f"{key}.blob"
    try:
        if not (written_by_us(folder) and written_by_us(path)):
            return None
        data = path.read_bytes()
    except OSError:
        return None
    blob = data[HASH_BYTES:]
    return blob if _seal(key, blob) == data[:HASH_BYTES] else None


def store(key: str, blob: bytes) -> None:
    """Keeps a compiled graph where that can be, and lets the oldest go."""
    folder = cache_folder("openvino")
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not written_by_us(folder):
            return
        replace_file(folder / f"{key}.blob", [_seal(key, blob), blob], private=True)
        kept = sorted(((path.stat(), path) for path in folder.glob("*.blob")), key=lambda one: -one[0].st_mtime)
        total = 0
        for status, path in kept:
            total += status.st_size
            if total > MOST_BYTES:
                path.unlink()


def _seal(key: str, blob: bytes) -> bytes:
    sealed = hashlib.sha256(key.encode())
    sealed.update(blob)
    return sealed.digest()


def _source(module: str) -> bytes:
    """The text of a module, so that a graph that was rewritten by other code is not taken for one by this; empty in a
    frozen program, which has no text, and whose code changes with protoleak's version alone."""
    spec = sys.modules[module].__spec__
    try:
        return bytes(spec.loader.get_data(spec.origin))  # type: ignore[union-attr]  # those that can't raise
    except (AttributeError, OSError):
        return b""
