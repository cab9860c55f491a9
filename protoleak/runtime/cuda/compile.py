"""From kernel source to a GPU binary, once per machine: NVRTC through cuda.core, and a cache on disk."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from pathlib import Path
from typing import Literal

import msgspec

from protoleak.errors import EngineUnavailable
from protoleak.files import cache_folder, replace_file
from protoleak.runtime.cuda.library import cuda_core, nvrtc_version

KERNELS = Path(__file__).parent / "kernels"
OPTIONS = {"std": "c++17", "fma": False, "ptxas_options": ["-v"]}  # why fma is off stands in the kernels
CACHING = (13, 0)  # versions of NVRTC that surely know how to do without a cache of their own

Source = Literal["noising", "crops", "finite"]
logger = logging.getLogger(__name__)

# Lines of the assembler's report (`ptxas -v`).
_ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+)(?:\+\d+)? bytes smem")
_LOCAL = re.compile(r"(\d+)(?:\+\d+)? bytes lmem")


class KernelResources(msgspec.Struct, frozen=True):
    """One kernel on one architecture. Registers are per thread; bytes of stack, spills and local memory too.

    Attributes:
        kernel: its name.
        architecture: such as "sm_90".
        shared_bytes: static shared memory per block; what is asked for at launch comes on top.
    """

    kernel: str
    architecture: str
    registers: int
    stack_bytes: int
    spill_store_bytes: int
    spill_load_bytes: int
    local_bytes: int
    shared_bytes: int

    @property
    def uses_local_memory(self) -> bool:
        """Whether anything that should be in registers lies in memory."""
        return any((self.stack_bytes, self.spill_store_bytes, self.spill_load_bytes, self.local_bytes))


class CompiledKernels(msgspec.Struct, frozen=True):
    """One source file for one architecture.

    Attributes:
        cubin: the binary that the driver loads.
        report: the assembler's, `ptxas -v`. Empty where an older NVRTC gave what it had compiled before: where there
            is a driver it keeps a cache of its own.
    """

    cubin: bytes
    report: str

    @property
    def resources(self) -> tuple[KernelResources, ...]:
        """Of each kernel in it.

        Raises:
            ValueError: the report says nothing, or cannot be read.
        """
        return read_report(self.report)


def compile_kernels(source: Source, architecture: str, cache: Path | None = None) -> CompiledKernels:
    """The kernels of one source file, compiled or from the cache. Needs NVRTC but no GPU.

    Args:
        architecture: such as "sm_90".
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
    digest = hashlib.sha256(repr((source, architecture, version, OPTIONS, CompiledKernels.__struct_fields__)).encode())
    for file in sorted(KERNELS.iterdir()):
        if file.suffix in (".cu", ".cuh"):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:32]


def _compile(source: str, architecture: str, version: tuple[int, int]) -> CompiledKernels:
    core = cuda_core()
    code = (KERNELS / f"{source}.cu").read_text(encoding="utf-8")
    options = core.ProgramOptions(
        name=f"{source}.cu",
        arch=architecture,
        include_path=str(KERNELS),
        no_cache=True if version >= CACHING else None,  # its own cache gives no report, and there is one here
        **OPTIONS,
    )
    report = io.StringIO()
    try:
        cubin = core.Program(code, "c++", options).compile("cubin", logs=report).code
    except Exception as error:  # cuda.core's error classes are private
        reason = " ".join(str(error).replace("\0", "").split())  # the compiler's log has many lines
        raise EngineUnavailable(
            f"the CUDA kernels {source} do not compile for {architecture} with NVRTC {version[0]}.{version[1]} "
            f"({reason}): a newer GPU needs a newer nvidia-cuda-nvrtc; until then use an engine on the CPU"
        ) from error
    return CompiledKernels(bytes(cubin), report.getvalue())


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


def read_report(report: str) -> tuple[KernelResources, ...]:
    """The kernels in a report of `ptxas -v`, in its order.

    Raises:
        ValueError: no kernel, or one without a line on its stack or its registers. A report that can't be read must not
            pass for one without spills.
    """
    starts = [*_ENTRY.finditer(report)]
    if not starts:
        raise ValueError(
            f"the assembler reported no kernel, as NVRTC before 13 for what is in its own cache: {report!r}"
        )
    ends = [*(start.start() for start in starts[1:]), len(report)]
    kernels = []
    for entry, end in zip(starts, ends, strict=True):
        section = report[entry.end() : end]
        stack, registers = _STACK.search(section), _REGISTERS.search(section)
        if stack is None or registers is None:
            raise ValueError(f"the assembler's report on kernel {entry[1]} for {entry[2]} is incomplete: {section!r}")
        shared, local = _SHARED.search(section), _LOCAL.search(section)
        kernels.append(
            KernelResources(
                kernel=entry[1],
                architecture=entry[2],
                registers=int(registers[1]),
                stack_bytes=int(stack[1]),
                spill_store_bytes=int(stack[2]),
                spill_load_bytes=int(stack[3]),
                local_bytes=int(local[1]) if local else 0,
                shared_bytes=int(shared[1]) if shared else 0,
            )
        )
    return tuple(kernels)
