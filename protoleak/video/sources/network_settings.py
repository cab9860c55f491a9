"""Limits of addresses: plain values, without what reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GB = 10**9


@dataclass(frozen=True)
class NetworkSettings:
    """Limits of time, in seconds, and of size, and the transport.

    Attributes:
        open_timeout: to connect and learn what the stream is.
        stall_timeout: without a frame, after which the connection counts as lost.
        first_delay: before the first attempt to connect again; it doubles with every further one,
        longest_delay: up to this.
        patience: after so long without a frame a live source is given up.
        most_bytes: of what has an end; a live stream has none, and StreamSettings.max_seconds bounds it.
        any_host: whether HTTP may redirect to another host.
        transport: of RTSP. UDP loses packets and is often blocked, so TCP unless asked otherwise.
    """

    open_timeout: float = 10.0
    stall_timeout: float = 10.0
    first_delay: float = 0.5
    longest_delay: float = 30.0
    patience: float = 600.0
    most_bytes: int = 16 * GB
    transport: Literal["tcp", "udp"] = "tcp"
    any_host: bool = False
