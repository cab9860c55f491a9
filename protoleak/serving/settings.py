"""What can be set of a server: what it serves, how it works, and what it refuses."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from protoleak.choices import Compute, EngineName, Upright
from protoleak.errors import ProtoleakError
from protoleak.faces.settings import FaceFinder, FaceSettings, check_limit
from protoleak.images.formats.base import MAXIMUM_PIXELS
from protoleak.runtime.preparing import DECODING_THREADS

MEBIBYTE = 2**20


@dataclass(frozen=True)
class RequestLimits:
    """What one request, and all of them together, may ask for.

    Attributes:
        body: bytes of a request's body, counted while it is read; more is 413.
        megapixels: of an image; more is refused before it is decoded, as 422.
        images: of a request; more is 400.
        faces: of an image, where a verdict on each is asked for; more is 422.
        queue: images that are accepted and not answered yet; above that a request is 503 with Retry-After.
        seconds: for a request from its first byte to its answer; then it is 504, and is dropped before the engine. A
            connection on which no whole request comes for so long is closed.
        connections: that are open at once in a process.

    Raises:
        SettingError: a value is outside its limits.
    """

    body: int = 32 * MEBIBYTE
    megapixels: float = 50.0
    images: int = 16
    faces: int = 64
    queue: int = 64
    seconds: float = 30.0
    connections: int = 512

    def __post_init__(self) -> None:
        most = MAXIMUM_PIXELS / 1e6
        check_limit("body", self.body, self.body >= 1024, "at least 1024 bytes")
        check_limit("megapixels", self.megapixels, 0 < self.megapixels <= most, f"above 0 and at most {most:g}")
        check_limit("images", self.images, self.images >= 1, "at least 1")
        check_limit("faces", self.faces, self.faces >= 1, "at least 1")
        check_limit("queue", self.queue, self.queue >= self.images, f"at least the {self.images} images of a request")
        check_limit("seconds", self.seconds, self.seconds > 0, "more than 0")
        check_limit("connections", self.connections, self.connections >= 1, "at least 1")


@dataclass(frozen=True)
class BundleOptions:
    """What judges images, and how; as in `protoleak.load`.

    Attributes:
        finder: who finds faces; None for what the bundle was trained on.
        faces: the limits of the detector, and the margin.
        batch_maximum: faces that go through the engines together, at most.
        decoders: threads that decode, and worker processes where `isolate` is set.
        isolate: decode in processes of their own, with limits on time and memory.
    """

    bundle: str | None = None
    trusted_key: Path | None = None
    alpha: float | None = None
    engine: EngineName = "auto"
    variant: str = "auto"
    compute: Compute = "auto"
    device: int = 0
    threads: int | None = None
    upright: Upright | None = None
    finder: FaceFinder | None = None
    faces: FaceSettings = field(default_factory=FaceSettings)
    batch_maximum: int = 8
    decoders: int = DECODING_THREADS
    isolate: bool = True

    def __post_init__(self) -> None:
        check_limit("batch_maximum", self.batch_maximum, self.batch_maximum >= 1, "at least 1")
        check_limit("decoders", self.decoders, self.decoders >= 1, "at least 1")
        if self.finder == "none" and self.faces.face_model is not None:
            raise ProtoleakError("--face-model is a YuNet model and --faces none uses none: leave one out")


@dataclass(frozen=True)
class ServeSettings:
    """A server.

    Attributes:
        port: 0 for any that is free.
        workers: processes on the one port, each with a bundle of its own in memory.
        batching_threads: that hand batches to the engines, in turns.
        token: that requests must bear; None for none.
        open_to_all: no token is wanted on a host that others reach.
        allow_hosts: names by which it may be asked besides localhost and addresses, where it is asked without a token.
        cors_origins: origins whose pages may ask; none unless named.
        grace: seconds after SIGTERM within which the server has ended.
        stream_hosts: hosts of live sources that may be screened; none unless named.
        streams: live sources that are screened at once, at most.

    Raises:
        SettingError: a value is outside its limits.
        ProtoleakError: the server would be open to others without a token.
    """

    options: BundleOptions = field(default_factory=BundleOptions)
    limits: RequestLimits = field(default_factory=RequestLimits)
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    batching_threads: int = 1
    token: str | None = field(default=None, repr=False)
    open_to_all: bool = False
    allow_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    grace: float = 10.0
    stream_hosts: tuple[str, ...] = ()
    streams: int = 4

    def __post_init__(self) -> None:
        check_limit("port", self.port, 0 <= self.port < 65536, "in 0…65535")
        check_limit("workers", self.workers, self.workers >= 1, "at least 1")
        check_limit("batching_threads", self.batching_threads, self.batching_threads >= 1, "at least 1")
        check_limit("grace", self.grace, self.grace >= 1, "at least 1 second")
        check_limit("streams", self.streams, self.streams >= 1, "at least 1")
        if self.token is not None and self.open_to_all:
            raise ProtoleakError("--token-file and --no-token contradict each other: leave one out")
        if not is_loopback(self.host) and self.token is None and not self.open_to_all:
            raise ProtoleakError(
                f"--host {self.host}: others reach it: give --token-file FILE, or --no-token if that is meant"
            )
        if self.stream_hosts and self.workers > 1:
            raise ProtoleakError(
                "--allow-streams with --workers: a stream lives in one process, and its events are asked for in any: "
                "leave --workers out"
            )
        for host in self.stream_hosts:
            if not host or re.search(r"[\s/@?#]", host):
                raise ProtoleakError(f"--allow-streams {host}: give a host, or HOST:PORT, such as gate.example")
        for origin in self.cors_origins:
            if origin != "*" and "://" not in origin:
                raise ProtoleakError(f"--cors-origin {origin}: give scheme and host, such as https://desk.example")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
