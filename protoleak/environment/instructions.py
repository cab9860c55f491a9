"""Which of the processor's instructions bear on how fast a precision is: for int8 and bfloat16."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

CPU_INFORMATION = Path("/proc/cpuinfo")
# Named as Linux does. On ARM "asimd" is there on every 64-bit processor, "asimddp" and "i8mm" multiply int8.
OF_INTEREST = frozenset(
    {
        *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "avx512_fp16"),
        *("asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"),
    }
)
# Instructions that multiply bfloat16, the fastest first, and what they are called.
BFLOAT16 = {"amx_bf16": "AMX-BF16", "avx512_bf16": "AVX-512-BF16", "bf16": "ARM BF16"}
APPLE = {
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
}


def instructions(information: Path = CPU_INFORMATION) -> frozenset[str] | None:
    """Those of OF_INTEREST that this processor has; None where the system doesn't tell (Windows).

    Args:
        information: for tests.
    """
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return frozenset({"asimd", *(name for setting, name in APPLE.items() if _says_yes(setting))})
    try:
        with information.open(errors="replace") as lines:  # it is long where there are many cores: all have the same
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip().lower() in ("flags", "features"):
                    return frozenset(value.split()) & OF_INTEREST
    except OSError:
        pass  # not Linux
    return None


def bfloat16(found: frozenset[str]) -> str | None:
    """What multiplies bfloat16 in a processor with these instructions; None where nothing does, and libraries would
    only convert."""
    return next((name for flag, name in BFLOAT16.items() if flag in found), None)


def _says_yes(setting: str) -> bool:
    try:
        said = subprocess.run(
            ["/usr/sbin/sysctl", "-n", setting], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.stdout.strip() == "1"
