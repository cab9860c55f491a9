"""What a compiled kernel needs of a multiprocessor, read from the assembler's report."""

from __future__ import annotations

import re

import msgspec

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


def read_report(report: str) -> tuple[KernelResources, ...]:
    """The kernels in a report of `ptxas -v`, in its order.

    Raises:
        ValueError: a kernel without a line on its stack or its registers. A report that can't be read must not pass
            for one without spills.
    """
    starts = [*_ENTRY.finditer(report)]
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
