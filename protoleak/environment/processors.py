"""How many processors this process may keep busy: a container's quota counts."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def threads_of_quota(root: Path = ROOT) -> int | None:
    """The threads that a control group's quota of processor time can keep busy, at least one; None where it allows as
    many as there are processors, or there is no quota, and an engine may take its own choice.

    More threads than that make everything slower: they spend the quota early in each period, and then all wait.

    Args:
        root: of the file system, for tests.
    """
    quotas = [quota for quota in (*_version_2(root), *_version_1(root)) if quota > 0]
    if not quotas or min(quotas) >= processors():
        return None
    return max(1, math.floor(min(quotas) + 0.5))


def processors() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version_2(root: Path) -> Iterator[float]:
    """Processors' worth of time of the group and of those around it: the tightest one holds."""
    mount = root / "sys/fs/cgroup"
    for group in _groups(root, ""):
        quota, _, period = _text(mount / group / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)


def _version_1(root: Path) -> Iterator[float]:
    for mount in (root / "sys/fs/cgroup/cpu", root / "sys/fs/cgroup/cpu,cpuacct"):
        for group in _groups(root, "cpu"):
            quota, period = _text(mount / group / "cpu.cfs_quota_us"), _text(mount / group / "cpu.cfs_period_us")
            if quota.isdigit() and period.isdigit() and int(period):
                yield int(quota) / int(period)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The group that this process is in and those around it, below the mount. In a container the path may be that of
    the host, of which nothing is to be seen but the top: that is looked at in any case."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            inner = Path(path.lstrip("/"))
            yield from (group for group in (inner, *inner.parents) if ".." not in group.parts)
            return
    yield Path()


def _text(path: Path) -> str:
    """A small file's text; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
