"""Whatever happens to a cached plan, it ends in a rebuild or in one clear line, never in an error or an old plan."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from protoleak.runtime.engines.tensorrt.plan_cache import Plan, PlanCache, PlanRecord
from protoleak.runtime.engines.tensorrt.settings import PlanIdentity, PlanKey
from tests.paths import ROOT

IDENTITY = PlanIdentity("ab" * 32, "tensorrt", "10.3.0", "linux-aarch64", "Orin", ("-TF32",))
KEY = PlanKey(IDENTITY, ("8.7",), 1, 8, None)
DATA = bytes(range(256)) * 40


def record(key: PlanKey = KEY, data: bytes = DATA) -> PlanRecord:
    return PlanRecord(hashlib.sha256(data).hexdigest(), len(data), key, "attributor", {"fp32": 3}, "builder", 0.1)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, notes: list[str]) -> PlanCache:
    return PlanCache(tmp_path / "plans", notes.append)


def path_of(plan: Plan) -> Path:
    assert plan.path is not None
    return plan.path


def changed(**values: object) -> PlanKey:
    return msgspec.structs.replace(KEY, identity=msgspec.structs.replace(IDENTITY, **values))


def test_plan_comes_back_as_it_was_stored(cache: PlanCache, notes: list[str]) -> None:
    assert cache.load(KEY) is None
    assert not cache.store(DATA, record()).cached
    loaded = cache.load(KEY)
    assert loaded is not None
    assert loaded.cached
    assert (loaded.data, loaded.record) == (DATA, record())
    assert notes == []


@pytest.mark.parametrize(
    "other",
    [
        changed(onnx_sha256="cd" * 32),
        changed(version="10.13.0"),
        changed(library="tensorrt-rtx"),
        changed(gpu="Orin NX"),
        changed(platform="linux-x86_64"),
        changed(flags=()),
        msgspec.structs.replace(KEY, compute_capabilities=("8.9",)),
        msgspec.structs.replace(KEY, batch_maximum=16),
        msgspec.structs.replace(KEY, batch_optimum=4),
        msgspec.structs.replace(KEY, workspace_mib=256),
    ],
    ids=lambda key: str(key.file_stem),
)
def test_every_part_of_the_key_makes_another_plan(cache: PlanCache, other: PlanKey) -> None:
    cache.store(DATA, record())
    assert cache.load(other) is None


def test_plan_of_another_profile_is_found_for_the_same_gpu_only(cache: PlanCache) -> None:
    tuned = msgspec.structs.replace(KEY, batch_optimum=8, batch_maximum=32)
    cache.store(DATA, record(tuned))
    found = cache.find(KEY)
    assert found is not None
    assert found.record.key == tuned
    assert cache.find(msgspec.structs.replace(KEY, compute_capabilities=("8.9",))) is None
    assert cache.find(changed(version="10.13.0")) is None


def test_plan_built_for_several_gpus_is_found_by_each_of_them(cache: PlanCache) -> None:
    several = msgspec.structs.replace(KEY, compute_capabilities=("8.6", "8.9", "12.0"))
    cache.store(DATA, record(several))
    for capability in ("8.6", "8.9", "12.0"):
        assert cache.find(msgspec.structs.replace(KEY, compute_capabilities=(capability,))) is not None
    assert cache.find(KEY) is None


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"\1" + data[1:], lambda _: b""])
def test_damaged_plan_is_not_used_and_the_line_says_so(cache: PlanCache, notes: list[str], damage: object) -> None:
    path = path_of(cache.store(DATA, record()))
    path.write_bytes(damage(DATA))  # type: ignore[operator]
    assert cache.find(KEY) is None
    assert len(notes) == 1
    assert "is damaged: it is built again" in notes[0]


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"plan_sha256": 3}'])
def test_damaged_record_is_not_used(cache: PlanCache, notes: list[str], text: str) -> None:
    path_of(cache.store(DATA, record())).with_suffix(".json").write_text(text)
    assert cache.load(KEY) is None
    assert "it is built again" in notes[0]


def test_missing_plan_beside_its_record_is_not_used(cache: PlanCache, notes: list[str]) -> None:
    path_of(cache.store(DATA, record())).unlink()
    assert cache.load(KEY) is None
    assert len(notes) == 1


def test_plan_that_was_renamed_to_another_key_is_not_used(cache: PlanCache, notes: list[str]) -> None:
    path = path_of(cache.store(DATA, record()))
    other = changed(version="10.13.0")
    for suffix in (".plan", ".json"):
        path.with_suffix(suffix).rename(cache.folder / f"{other.file_stem}{suffix}")
    assert cache.load(other) is None
    assert "made for something else" in notes[0]


def test_plan_that_others_may_write_is_not_used(cache: PlanCache, notes: list[str]) -> None:
    path = path_of(cache.store(DATA, record()))
    path.chmod(0o666)
    assert cache.load(KEY) is None
    assert "another user" in notes[0]
    path.chmod(0o600)
    assert cache.load(KEY) is not None


def test_stored_plan_is_for_its_user_alone(cache: PlanCache) -> None:
    path = path_of(cache.store(DATA, record()))
    assert path.stat().st_mode & 0o077 == 0
    assert cache.folder.stat().st_mode & 0o077 == 0


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """A disk that takes no more: writing past this fails like a full one, for root too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_leaves_the_plan_in_memory_nothing_half_written_and_one_line(
    cache: PlanCache, notes: list[str]
) -> None:
    with files_limited_to(len(DATA) // 2):
        plan = cache.store(DATA, record())
    assert plan.data == DATA
    assert plan.path is None
    assert list(cache.folder.iterdir()) == []
    assert len(notes) == 1
    assert "cannot be kept" in notes[0]
    assert "make room" in notes[0]


def test_cache_that_cannot_be_written_leaves_the_plan_in_memory(tmp_path: Path, notes: list[str]) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    cache = PlanCache(tmp_path / "file" / "plans", notes.append)
    with cache.building(KEY, lambda: pytest.fail("there is nobody to wait for")):
        assert cache.find(KEY) is None
        assert cache.store(DATA, record()).data == DATA
    cache.store_timings("x", b"abc")
    assert len(notes) == 1
    assert "cannot be kept" in notes[0]


def test_read_only_cache_is_still_read(cache: PlanCache, notes: list[str], runs_as_root: bool) -> None:
    if runs_as_root:
        pytest.skip("root writes whatever the permissions; the test above needs none")
    cache.store(DATA, record())
    cache.folder.chmod(0o500)
    try:
        assert cache.load(KEY) is not None
        assert cache.store(DATA, record(changed(version="11.0.0"))).path is None
    finally:
        cache.folder.chmod(0o700)
    assert len(notes) == 1


def test_timing_cache_that_is_damaged_or_absent_is_empty(cache: PlanCache) -> None:
    assert cache.load_timings("x") == b""
    cache.store_timings("x", b"measurements")
    assert cache.load_timings("x") == b"measurements"
    path = cache.folder / "timing-x.cache"
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.load_timings("x") == b""


def test_cache_folder_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROTOLEAK_CACHE", str(tmp_path / "mine"))
    assert PlanCache().folder == tmp_path / "mine" / "plans"
    monkeypatch.delenv("PROTOLEAK_CACHE")
    assert PlanCache().folder == Path.home() / ".cache" / "protoleak" / "plans"


BUILD_ONCE = """
import sys, time
from pathlib import Path
from protoleak.runtime.engines.tensorrt.plan_cache import PlanCache
from tests.runtime.engines.test_plan_cache import DATA, KEY, record

cache = PlanCache(Path(sys.argv[1]))
Path(sys.argv[2]).touch()
while not Path(sys.argv[3]).exists():
    time.sleep(0.005)
waited = []
with cache.building(KEY, lambda: waited.append(1)):
    if cache.load(KEY) is None:
        time.sleep(0.3)  # a build
        cache.store(DATA, record())
        print("built")
    else:
        print("found", "waited" if waited else "")
"""


def test_two_processes_at_once_build_one_plan(tmp_path: Path) -> None:
    ready = [tmp_path / "ready0", tmp_path / "ready1"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD_ONCE, str(tmp_path / "plans"), str(mine), str(other)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        for mine, other in (ready, ready[::-1])
    ]
    printed = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert printed == ["built", "found waited"]


def test_lock_of_a_process_that_died_holds_nobody_up(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from protoleak.runtime.engines.tensorrt.plan_cache import PlanCache\n"
        "from tests.runtime.engines.test_plan_cache import KEY\n"
        "with PlanCache(Path(sys.argv[1])).building(KEY, lambda: None): os._exit(9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "plans")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 9
    with PlanCache(tmp_path / "plans").building(KEY, lambda: pytest.fail("nobody holds it any more")):
        pass
