"""A container's quota of processor time says how many threads are worth starting."""

from __future__ import annotations

from pathlib import Path

import pytest

from protoleak.environment import processors
from protoleak.environment.processors import threads_of_quota


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "processors", lambda: 8)


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("quota", "threads"),
    [
        ("50000 100000", 1),
        ("10000 100000", 1),
        ("200000 100000", 2),
        ("250000 100000", 3),
        ("1600000 100000", None),
        ("max 100000", None),
        ("", None),
        ("nonsense", None),
        ("5 0", None),
    ],
)
def test_quota_of_version_2(tmp_path: Path, quota: str, threads: int | None) -> None:
    root = system(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": quota + "\n"})
    assert threads_of_quota(root) == threads


def test_the_tightest_of_the_groups_around_it_holds(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/slice/unit\n",
        "sys/fs/cgroup/slice/cpu.max": "100000 100000",
        "sys/fs/cgroup/slice/unit/cpu.max": "400000 100000",
    }
    assert threads_of_quota(system(tmp_path, files)) == 1


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize("group", ["", "docker/abc/"])
def test_quota_of_version_1_where_the_hosts_path_is_seen_or_not(tmp_path: Path, mount: str, group: str) -> None:
    files = {
        "proc/self/cgroup": "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n",
        f"sys/fs/cgroup/{mount}/{group}cpu.cfs_quota_us": "150000\n",
        f"sys/fs/cgroup/{mount}/{group}cpu.cfs_period_us": "100000\n",
    }
    assert threads_of_quota(system(tmp_path, files)) == 2


def test_no_quota_of_version_1_is_minus_one(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:cpu:/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    assert threads_of_quota(system(tmp_path, files)) is None


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert threads_of_quota(tmp_path) is None
