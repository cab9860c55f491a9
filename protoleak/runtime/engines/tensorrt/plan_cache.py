"""Plans on disk. A plan is executable code: one is only read that this user wrote and whose hash is the recorded one.

    <stem>.plan     the plan
    <stem>.json     its record: the whole key, the plan's hash, and what the builder reported
    <stem>.lock     held while it is built
    timing-….cache  TensorRT's measurements of kernels, preceded by their SHA-256

Whatever goes wrong here ends in a plan that is built again, or in one that is not kept; never in an error.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from protoleak.files import cache_folder, replace_file, written_by_us
from protoleak.runtime.engines.tensorrt.settings import PlanKey, identity_prefix

HASH_BYTES = 32


class PlanRecord(msgspec.Struct, frozen=True):
    """What is written beside a plan.

    Attributes:
        plan_sha256, plan_bytes: of the plan.
        key: what it was built for.
        stage: the graph's.
        layers: precision → number of layers that compute in it, such as {"fp32": 12, "int8": 30}.
        layers_from: "inspector" (the engine's own, on a GPU) or "builder" (its report, where there is no GPU).
        seconds: what building took.
    """

    plan_sha256: str
    plan_bytes: int
    key: PlanKey
    stage: str
    layers: dict[str, int]
    layers_from: str
    seconds: float


@dataclass(frozen=True)
class Plan:
    """A plan with its record; `path` is None where it could not be kept."""

    data: bytes
    record: PlanRecord
    path: Path | None
    cached: bool


class PlanCache:
    """
    Args:
        folder: None for `plans` in the cache folder.
        notify: called with one line on why a plan is built again or not kept.
    """

    def __init__(self, folder: Path | None = None, notify: Callable[[str], None] = lambda _: None) -> None:
        self.folder = cache_folder("plans") if folder is None else folder
        self._tell = notify
        self._told: set[str] = set()

    def load(self, key: PlanKey) -> Plan | None:
        """The plan of exactly this key, or None."""
        return self._read(self.folder / f"{key.file_stem}.json", key)

    def find(self, key: PlanKey) -> Plan | None:
        """The plan of this key; else the newest of the same identity for the same GPUs, with another profile."""
        exact = self.load(key)
        if exact is not None:
            return exact
        try:
            records = sorted(self.folder.glob(f"{identity_prefix(key.identity)}*.json"), key=_age)
        except OSError:
            return None
        for path in records:
            plan = None if path.stem == key.file_stem else self._read(path, None)
            if plan is not None and set(key.compute_capabilities) <= set(plan.record.key.compute_capabilities):
                return plan
        return None

    def store(self, data: bytes, record: PlanRecord) -> Plan:
        """Keeps a plan. Where that cannot be, says so and goes on with the plan in memory."""
        path = self.folder / f"{record.key.file_stem}.plan"
        try:
            self._make_folder()
            replace_file(path, [data], private=True)
            encoded = msgspec.json.format(msgspec.json.encode(record), indent=2)
            replace_file(path.with_suffix(".json"), [encoded], private=True)
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink()
            self._notify(
                f"the plan of the {record.stage} cannot be kept in {self.folder} ({error.strerror or error}): it will "
                "be built again next time; make room there, or name another folder in PROTOLEAK_CACHE"
            )
            return Plan(data, record, None, cached=False)
        return Plan(data, record, path, cached=False)

    def discard(self, plan: Plan) -> None:
        """Forgets a plan that turned out to be of no use."""
        if plan.path is not None:
            for path in (plan.path, plan.path.with_suffix(".json")):
                with contextlib.suppress(OSError):
                    path.unlink()

    @contextlib.contextmanager
    def building(self, key: PlanKey, waiting: Callable[[], None]) -> Iterator[None]:
        """Holds the right to build a plan, so that two processes don't build the same one; `waiting` is called before
        waiting for another. Where no lock file can be made, nothing could be kept either, and each builds its own."""
        try:
            import fcntl

            self._make_folder()
            file = (self.folder / f"{key.file_stem}.lock").open("ab")
        except (OSError, ImportError):
            yield
            return
        with file:  # closing it gives the lock back, also when the process dies
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                waiting()
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def load_timings(self, name: str) -> bytes:
        """TensorRT's timing cache, empty where there is none that is whole."""
        path = self.folder / f"timing-{name}.cache"
        try:
            if not written_by_us(path):
                return b""
            data = path.read_bytes()
        except OSError:
            return b""
        timings = data[HASH_BYTES:]
        return timings if hashlib.sha256(timings).digest() == data[:HASH_BYTES] else b""

    def store_timings(self, name: str, timings: bytes) -> None:
        """Keeps it if it can be kept; it only saves time."""
        with contextlib.suppress(OSError):
            self._make_folder()
            file = self.folder / f"timing-{name}.cache"
            replace_file(file, [hashlib.sha256(timings).digest(), timings], private=True)

    def _notify(self, message: str) -> None:
        """Once each: a plan is looked for again after waiting for the lock."""
        if message not in self._told:
            self._told.add(message)
            self._tell(message)

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _read(self, path: Path, key: PlanKey | None) -> Plan | None:
        plan_path = path.with_suffix(".plan")
        try:
            if not path.exists():
                return None
            for file in (self.folder, path, plan_path):
                if not written_by_us(file):
                    self._notify(
                        f"{file} could have been written by another user, so it isn't used: the plan is built again"
                    )
                    return None
            record = msgspec.json.decode(path.read_bytes(), type=PlanRecord)
            data = plan_path.read_bytes()
        except (OSError, msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
            self._notify(f"the cached plan {plan_path} cannot be read ({error}): it is built again")
            return None
        if record.key.file_stem != path.stem or (key is not None and record.key != key):
            self._notify(
                f"the cached plan {plan_path} was made for something else than its name says: it is built again"
            )
            return None
        if hashlib.sha256(data).hexdigest() != record.plan_sha256:
            self._notify(f"the cached plan {plan_path} is damaged: it is built again")
            return None
        return Plan(data, record, plan_path, cached=True)


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0
