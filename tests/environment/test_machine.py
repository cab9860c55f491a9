"""What a measurement names, and how memory is read."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from protoleak.environment.machine import describe_machine, processor
from protoleak.environment.memory import forget_peak, peak_mib, resident_mib


def test_the_machine_names_its_processor_its_cores_and_the_libraries_with_versions() -> None:
    machine = describe_machine()
    assert machine.processor
    assert machine.cores >= 1
    assert machine.libraries["numpy"] == np.__version__


def test_the_processor_is_found_under_the_names_of_intel_and_of_arm(tmp_path: Path) -> None:
    for line in ("model name\t: A Processor @ 2 GHz", "Hardware\t: A Processor @ 2 GHz"):
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
        assert processor(tmp_path / "cpuinfo") == "A Processor @ 2 GHz"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_the_peak_counts_from_where_it_was_forgotten() -> None:
    # 64 MiB, above any noise of the interpreter's; mapped, since another test may have made malloc keep what is freed
    block = mmap.mmap(-1, 2**26)
    np.frombuffer(block, dtype=np.uint8)[:] = 1
    with_block = peak_mib()
    block.close()
    if not forget_peak():
        pytest.skip("this kernel doesn't let a process forget its peak")
    without = peak_mib()
    assert with_block is not None
    assert without is not None
    assert without < with_block - 32


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is the peak")
def test_memory_that_is_mapped_and_written_to_is_resident_until_it_is_given_back() -> None:
    before = resident_mib()
    block = mmap.mmap(-1, 2**26)
    np.frombuffer(block, dtype=np.uint8)[:] = 1
    assert resident_mib() > before + 32
    block.close()
    assert resident_mib() < before + 32


def test_where_the_system_tells_no_status_the_peak_is_the_process_s(tmp_path: Path) -> None:
    assert not forget_peak(tmp_path / "none")
    found = peak_mib(tmp_path / "none")
    assert found is None or found > 1
