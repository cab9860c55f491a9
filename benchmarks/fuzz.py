"""Coverage-guided fuzzing of what reads bytes from strangers: manifest, graph check, array files, Split.json.

    pip install atheris
    python -m benchmarks.fuzz graph -max_total_time=600 [more options of libFuzzer] [folder of inputs]

It ends with a traceback and the input at the first exception that is not one of protoleak's errors.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def _manifest(data: bytes) -> None:
    from protoleak.bundle.manifest_check import parse_manifest

    parse_manifest(data, Path("fuzzed"))


def _graph(data: bytes) -> None:
    from protoleak.bundle.graph_check import check_face_detector, inspect_onnx

    for check in (inspect_onnx, check_face_detector):
        try:
            check(data)
        except ValueError as error:  # what the two promise
            _check_line(error)


def _npy(data: bytes) -> None:
    from protoleak.bundle.npy import read_npy

    read_npy(data, "fuzzed")


def _npz(data: bytes) -> None:
    from protoleak.bundle.npy import read_npz

    read_npz(data, "fuzzed")


def _split(data: bytes) -> None:
    from protoleak.dataset import read_dataset

    (SPLIT_FOLDER / "Split.json").write_bytes(data)
    read_dataset(SPLIT_FOLDER)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "manifest": _manifest,
    "graph": _graph,
    "npy": _npy,
    "npz": _npz,
    "split": _split,
}
SPLIT_FOLDER = Path(tempfile.gettempdir()) / "protoleak_fuzzed_split"


def once(target: str, data: bytes) -> None:
    """One input: an error of protoleak's is right, any other exception a finding."""
    from protoleak.errors import ProtoleakError

    try:
        TARGETS[target](data)
    except ProtoleakError as error:
        _check_line(error)


def _check_line(error: Exception) -> None:
    if "\n" in str(error):
        raise RuntimeError(f"an error of several lines: {error}")


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        print(f"give one of {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    try:
        import atheris
    except ImportError:
        print("skipped: atheris is not installed (pip install atheris), so nothing was fuzzed", file=sys.stderr)
        return 2
    target = sys.argv.pop(1)
    for generator in ("a", "b"):
        for image in ("0.png", "1.png", "2.png"):
            file = SPLIT_FOLDER / generator / image
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    with atheris.instrument_imports(include=["protoleak"]):
        import protoleak.bundle.graph_check
        import protoleak.bundle.manifest_check
        import protoleak.bundle.npy
        import protoleak.dataset  # noqa: F401
    atheris.Setup(sys.argv, lambda data: once(target, data))
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
