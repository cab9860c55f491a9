"""From kernel source to a GPU binary, once per machine: NVRTC through cuda.core, and a cache on disk."""

from __future__ import annotations

import hashlib
import io
import logging
from pathlib import Path
from typing import Literal

import msgspec

from protoleak.errors import EngineUnavailable
from protoleak.files import cache_folder, replace_file
from protoleak.runtime.cuda.library import cuda_core, nvrtc_version
from protoleak.runtime.cuda.resources import KernelResources, read_report

KERNELS = Path(__file__).parent / "kernels"
SOURCES = ("noising", "crops", "finite")
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_100", "sm_110", "sm_120")
OPTIONS = {"std": "c++17", "fma": False, "ptxas_options": ["-v"]}  # why fma is off stands in the kernels

Source = Literal["noising", "crops", "finite"]
logger = logging.getLogger(__name__)


class CompiledKernels(msgspec.Struct, frozen=True):
    """One source file for one architecture.

    Attributes:
        cubin: the binary that the driver loads.
        resources: of each kernel in it.
    """

    cubin: bytes
    resources: tuple[KernelResources, ...]


def compile_kernels(source: Source, architecture: str, cache: Path | None = None) -> CompiledKernels:
    """The kernels of one source file, compiled or from the cache. Needs NVRTC but no GPU.

    Args:
        source: one of SOURCES.
        architecture: such as "sm_90"; ARCHITECTURES are those that are tested.
        cache: folder for what was compiled; None for `kernels` in the cache folder. A cache that can't be written, or
            holds a damaged file, costs a new compilation and one line in the log.

    Raises:
        MissingExtra: cuda.core is not installed.
        EngineUnavailable: NVRTC is missing, or too old for the architecture.
    """
    version = nvrtc_version()
    folder = cache_folder("kernels") if cache is None else cache
    path = folder / f"{source}-{architecture}-{_key(source, architecture, version)}.kernels"
    cached = _read(path)
    if cached is not None:
        return cached
    compiled = _compile(source, architecture, version)
    _write(path, compiled)
    return compiled


def _key(source: str, architecture: str, version: tuple[int, int]) -> str:
    """Everything that the binary depends on. All files count: they include one another."""
    digest = hashlib.sha256(repr((source, architecture, version, OPTIONS)).encode())
    for file in sorted(KERNELS.iterdir()):
        if file.suffix in (".cu", ".cuh"):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:32]


def _compile(source: str, architecture: str, version: tuple[int, int]) -> CompiledKernels:
    core = cuda_core()
    code = (KERNELS / f"{source}.cu").read_text(encoding="utf-8")
    options = core.ProgramOptions(name=f"{source}.cu", arch=architecture, include_path=str(KERNELS), **OPTIONS)
    report = io.StringIO()
    try:
        cubin = core.Program(code, "c++", options).compile("cubin", logs=report).code
    except Exception as error:  # cuda.core's error classes are private
        reason = " ".join(str(error).replace("\0", "").split())  # the compiler's log has many lines
        raise EngineUnavailable(
            f"the CUDA kernels {source} do not compile for {architecture} with NVRTC {version[0]}.{version[1]} "
            f"({reason}): a newer GPU needs a newer nvidia-cuda-nvrtc; until then use an engine on the CPU"
        ) from error
    return CompiledKernels(bytes(cubin), read_report(report.getvalue()))


def _read(path: Path) -> CompiledKernels | None:
    """What is cached, if it is whole: the file begins with the SHA-256 of the rest."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("the kernel cache %s cannot be read (%s): compiling again", path, error)
        return None
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        logger.warning("the kernel cache %s is damaged: compiling again", path)
        return None
    return msgspec.msgpack.decode(content[32:], type=CompiledKernels)


def _write(path: Path, compiled: CompiledKernels) -> None:
    body = msgspec.msgpack.encode(compiled)
    try:
        replace_file(path, [hashlib.sha256(body).digest(), body], private=True)
    except OSError as error:
        logger.warning("compiled kernels cannot be kept in %s (%s): every start compiles them", path.parent, error)
