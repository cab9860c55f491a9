"""Every kernel compiles for every supported GPU, and keeps everything in registers. No GPU is needed for that."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from protoleak.errors import EngineUnavailable, MissingExtra
from protoleak.runtime.cuda import compile as compilation
from protoleak.runtime.cuda import library
from protoleak.runtime.cuda.compile import KERNELS, Source, compile_kernels, read_report

ENTRY_POINTS: dict[Source, int] = {"noising": 8, "crops": 2, "finite": 2}
THREADS = 256
SOURCES = get_args(Source)
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_100", "sm_110", "sm_120")
REGISTERS_PER_MULTIPROCESSOR = 65536  # on all of ARCHITECTURES


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one test compiled, the others needn't."""
    pytest.importorskip("cuda.core", reason="cuda-core compiles the kernels")
    return tmp_path_factory.mktemp("kernels")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", SOURCES)
def test_every_kernel_compiles_without_local_memory(source: Source, architecture: str, cache: Path) -> None:
    if architecture == "sm_110" and library.nvrtc_version() < (13, 0):
        pytest.skip("sm_110 needs NVRTC 13")
    compiled = compile_kernels(source, architecture, cache)
    assert compiled.cubin[:4] == b"\x7fELF"
    assert len(compiled.resources) == ENTRY_POINTS[source]
    for kernel in compiled.resources:
        assert kernel.architecture == architecture
        assert not kernel.uses_local_memory, f"{kernel.kernel} spills on {architecture}: {kernel}"
        blocks = REGISTERS_PER_MULTIPROCESSOR // (kernel.registers * THREADS)
        assert blocks >= 4, f"{kernel.kernel} leaves room for {blocks} blocks per multiprocessor on {architecture}"


def assembly(source: Source) -> dict[str, str]:
    """PTX of each kernel. By NVRTC itself: cuda.core asks the driver before it gives PTX."""
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings compiles the kernels")
    code = (KERNELS / f"{source}.cu").read_bytes()
    _, program = nvrtc.nvrtcCreateProgram(code, source.encode(), 0, [], [])
    options = [b"-arch=compute_80", b"-std=c++17", b"-fmad=false", b"-I" + str(KERNELS).encode()]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS
    _, size = nvrtc.nvrtcGetPTXSize(program)
    text = bytearray(size)
    nvrtc.nvrtcGetPTX(program, text)
    nvrtc.nvrtcDestroyProgram(program)
    return dict(re.findall(r"\.entry (\w+)\((.*?)\n}", text.decode(), re.DOTALL))


def test_wide_kernels_move_latents_in_sixteen_byte_accesses() -> None:
    wide = {name: body for name, body in assembly("noising").items() if name.endswith("_wide")}
    assert len(wide) == 4
    for name, body in wide.items():
        stores = set(re.findall(r"st\.global\S*", body))
        assert stores, name
        assert all(".v4." in store for store in stores), f"{name} writes {stores}"
        assert re.search(r"ld\.global\.nc\.v4", body), name
        # One by one are read the coefficients and the projections, which are float32; halves never are.
        assert not re.search(r"ld\.global\S*16 ", body), name


@pytest.mark.parametrize("source", SOURCES)
def test_what_was_compiled_once_is_read_from_the_cache(
    source: Source, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compile_kernels(source, "sm_80", cache)

    def refuse(*_: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(compilation, "_compile", refuse)
    assert compile_kernels(source, "sm_80", cache) == first


def test_another_compiler_another_option_and_another_source_do_not_share_a_cached_binary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = compilation._key("crops", "sm_80", (13, 0))
    assert key != compilation._key("crops", "sm_80", (13, 1))
    assert key != compilation._key("crops", "sm_86", (13, 0))
    assert key != compilation._key("noising", "sm_80", (13, 0))
    for file in KERNELS.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(compilation, "KERNELS", tmp_path)
    assert key == compilation._key("crops", "sm_80", (13, 0))
    with (tmp_path / "platform.cuh").open("a") as header:
        header.write("// changed\n")
    assert key != compilation._key("crops", "sm_80", (13, 0))


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_cache_is_compiled_again_and_logged(
    damage: bytes | None, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = compile_kernels("crops", "sm_75", cache)
    (file,) = cache.glob("crops-sm_75-*.kernels")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage is None else damage)
    with caplog.at_level(logging.WARNING):
        again = compile_kernels("crops", "sm_75", cache)
    assert "damaged" in caplog.text
    assert len(again.cubin) == len(first.cubin)
    assert file.stat().st_size == len(whole)


def test_a_cache_that_cannot_be_written_costs_one_line_and_no_result(
    cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert cache.is_dir()
    in_the_way = tmp_path / "file"
    in_the_way.write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING):
        compiled = compile_kernels("crops", "sm_90", in_the_way / "kernels")
    assert compiled.resources
    assert [record.getMessage() for record in caplog.records if "cannot be kept" in record.getMessage()]


def test_no_partial_file_stays_in_the_cache(cache: Path) -> None:
    compile_kernels("crops", "sm_80", cache)
    assert not [*cache.glob("*.partial")]


def test_an_architecture_that_the_compiler_does_not_know_is_a_named_error(tmp_path: Path, cache: Path) -> None:
    assert cache.is_dir()
    with pytest.raises(EngineUnavailable, match=r"do not compile for sm_999 with NVRTC \d+\.\d+ .*newer"):
        compile_kernels("crops", "sm_999", tmp_path)


def test_without_cuda_core_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(library, "import_module", missing)
    with pytest.raises(MissingExtra, match=r'pip install "protoleak\[cuda\]"'):
        compile_kernels("crops", "sm_80", tmp_path)
    with pytest.raises(MissingExtra, match=r'pip install "protoleak\[cuda\]"'):
        library.cuda_core()


def test_a_spill_in_a_report_is_seen() -> None:
    report = (
        "ptxas info    : Compiling entry function 'one' for 'sm_90'\n"
        "ptxas info    : Function properties for one\n"
        "ptxas         .     16 bytes stack frame, 20 bytes spill stores, 24 bytes spill loads\n"
        "ptxas info    : Used 48 registers, used 1 barriers, 6144 bytes smem\n"
        "ptxas info    : Compiling entry function 'two' for 'sm_90'\n"
        "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 12 registers, 8 bytes lmem\n"
        "ptxas info    : Compiling entry function 'three' for 'sm_90'\n"
        "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 12 registers\n"
    )
    one, two, three = read_report(report)
    assert (one.registers, one.shared_bytes, one.spill_store_bytes, one.spill_load_bytes) == (48, 6144, 20, 24)
    assert [kernel.uses_local_memory for kernel in (one, two, three)] == [True, True, False]


def test_a_compiler_that_reports_nothing_gives_kernels_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As NVRTC does where it has a cache of its own."""

    class Silent:
        def __init__(self, *_: object) -> None: ...

        def compile(self, *_: object, **__: object) -> object:
            return SimpleNamespace(code=b"cubin")

    played = SimpleNamespace(ProgramOptions=lambda **_: None, Program=Silent)
    monkeypatch.setattr(compilation, "cuda_core", lambda: played)
    for _ in range(2):  # compiled, and from the cache
        compiled = compile_kernels("crops", "sm_90", tmp_path)
        assert compiled.cubin == b"cubin"
        with pytest.raises(ValueError, match="reported no kernel"):
            _ = compiled.resources


def test_a_report_that_cannot_be_read_is_no_report_without_spills() -> None:
    with pytest.raises(ValueError, match="kernel one for sm_90 is incomplete"):
        read_report("Compiling entry function 'one' for 'sm_90'\nUsed 12 registers\n")
