"""Which instructions a processor has, and which of them multiply bfloat16."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from protoleak.environment.instructions import bfloat16, instructions

X86 = "processor\t: 0\nmodel name\t: A\nflags\t\t: fpu sse2 avx2 avx512f avx512_bf16 amx_bf16 amx_int8 amx_tile\n"
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd asimddp i8mm bf16 sve\n"


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc/cpuinfo")
@pytest.mark.parametrize(
    ("text", "found", "multiplies"),
    [
        (X86, {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8"}, "AMX-BF16"),
        (X86.replace("amx_bf16", ""), {"avx2", "avx512f", "avx512_bf16", "amx_int8"}, "AVX-512-BF16"),
        (ARM, {"asimd", "asimddp", "i8mm", "bf16", "sve"}, "ARM BF16"),
        ("flags\t: sse2 avx2 avx512f avx512_vnni\n", {"avx2", "avx512f", "avx512_vnni"}, None),
    ],
)
def test_what_linux_lists(text: str, found: set[str], multiplies: str | None, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    listed = instructions(tmp_path / "cpuinfo")
    assert listed == found
    assert bfloat16(listed or frozenset()) == multiplies


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc/cpuinfo")
def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert instructions(tmp_path / "none") is None
