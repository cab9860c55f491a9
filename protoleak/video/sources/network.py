"""RTSP and HTTP: reads with time limits, reconnects with back-off, and says how long there was nothing to see."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, cast

from protoleak.errors import MediaError
from protoleak.images.sources import printable
from protoleak.video.frames import Frame, Gap, Sound, SourceInfo
from protoleak.video.sources.containers import DEMUXERS, MISSING_END, need_av, open_container, video_stream
from protoleak.video.sources.decoder import Decoder
from protoleak.video.sources.network_settings import GB, NetworkSettings
from protoleak.video.sources.prefetch import Prefetcher
from protoleak.video.sources.redaction import without_secrets
from protoleak.video.sources.redirects import redirected
from protoleak.video.sources.rgb import RgbConverter
from protoleak.video.sources.timestamps import TimestampMapper

if TYPE_CHECKING:
    from av import FFmpegError, Packet
    from av.container import InputContainer
    from av.video.stream import VideoStream

RTSP = re.compile(r"rtsps?://", re.IGNORECASE)
HTTP_PROTOCOLS = "http,https,httpproxy,tcp,tls"
RTSP_PROTOCOLS = "rtsp,rtsps,rtp,srtp,tcp,udp,tls"
LOOK = "look at the address and the network"
# Demuxers of bytes that carry no clock: the timestamps that FFmpeg gives such streams count frames at a guessed rate.
CLOCKLESS = frozenset({"h261", "h263", "h264", "hevc", "m4v", "mjpeg", "mpegvideo", "mpjpeg", "vc1", "vvc"})


class NetworkSource:
    """An address. Opening it connects; frames are read in a thread of its own once they are asked for.

    What has a length is finite: a file behind HTTP whose server states its size, or RTSP with a stated duration. It
    loses no frame, ends when it ends, and is an error when the connection breaks before. Everything else is live: its
    end, an error or a stall are a lost connection, which is made again until `patience` runs out.

    Raises:
        MediaError: no connection, nothing in it that can be read, or it is larger than it may be.
        MissingExtra: PyAV is not installed.
    """

    def __init__(self, url: str, settings: NetworkSettings = NetworkSettings()) -> None:  # noqa: B008 frozen
        self._url = self._address = url
        self._shown = printable(without_secrets(url))
        self._settings = settings
        container = self._connect()
        try:
            self._check_size(container.size)
            stream = video_stream(container, self._shown)
        except BaseException:
            container.close()
            raise
        duration = container.duration / 1e6 if container.duration else None
        live = duration is None if RTSP.match(url) else container.size <= 0
        self._timestamps, self._converter = TimestampMapper(live=live), RgbConverter(self._shown)
        self._first: InputContainer | None = container
        self._index = 0
        self._damage: Gap | None = None  # in which the last connection ended
        self.info = SourceInfo(
            name=self._shown,
            kind="network",
            live=live,
            width=stream.width or None,
            height=stream.height or None,
            rate=stream.average_rate or stream.guessed_rate or None,
            duration=None if live else duration,
            sha256=None,
            sound=Sound(None, Fraction()) if container.streams.audio else None,
        )
        self._prefetcher: Prefetcher[Frame | Gap] = Prefetcher(f"read {self._shown}", self._read)

    def __iter__(self) -> Iterator[Frame | Gap]:
        """Frames as they come. `info` is completed by the first, and `info.notes` grows.

        Raises:
            MediaError: a finite source broke off, or a live one was lost for longer than `patience`.
        """
        self._prefetcher.start()
        while (item := self._prefetcher.next()) is not None:
            if isinstance(item, Frame):
                self._complete(item)
            yield item

    def close(self) -> None:
        """Ends the iteration at once; a read that hangs is freed within `stall_timeout`, by its own thread."""
        self._prefetcher.close()
        if not self._prefetcher.started and self._first is not None:
            self._first.close()
            self._first = None

    def _check_size(self, size: int) -> None:
        """FFmpeg reads no more than the size that a server states.

        Raises:
            MediaError: so many bytes are more than may be read.
        """
        if size > self._settings.most_bytes:
            most = self._settings.most_bytes / GB
            raise MediaError(
                f"{self._shown}: {size / GB:,.1f} GB, more than {most:g} GB: refused; --max-download allows more"
            )

    def _complete(self, frame: Frame) -> None:
        height, width = frame.shape
        notes = (*self._converter.notes, *self._timestamps.notes)
        if (width, height, notes) != (self.info.width, self.info.height, self.info.notes):
            self.info = replace(self.info, width=width, height=height, notes=notes)

    def _connect(self) -> InputContainer:
        """
        Raises:
            MediaError: it can't be connected to, or isn't a stream that is read here.
        """
        need_av()
        from av import FFmpegError

        over_rtsp = RTSP.match(self._url) is not None
        settings = self._settings
        begun = time.monotonic()
        options = {"rtsp_transport": settings.transport} if over_rtsp else {"reconnect": "1", "max_redirects": "0"}
        try:
            return open_container(
                self._address,
                self._shown,
                protocols=RTSP_PROTOCOLS if over_rtsp else HTTP_PROTOCOLS,
                demuxers="rtsp" if over_rtsp else DEMUXERS,
                options=options,  # not nobuffer: it throws away the frames from which the stream was recognised
                timeouts=(settings.open_timeout, settings.stall_timeout),
            )
        except FFmpegError as error:
            if not over_rtsp and self._redirected():
                return self._connect()
            # Not "from error": the address, with its password, is part of FFmpeg's message.
            if time.monotonic() - begun >= settings.open_timeout:  # then FFmpeg says anything but that
                raise MediaError(f"{self._shown}: {_nothing(settings.open_timeout)}: {LOOK}") from None
            raise MediaError(f"{self._shown}: {_what(error, settings.open_timeout)}: {_remedy(error)}") from None

    def _redirected(self) -> bool:
        """Whether the server says that the stream is elsewhere; from then on it is looked for there.

        Raises:
            MediaError: on another host, and that is not allowed.
        """
        settings = self._settings
        try:
            address = redirected(self._address, any_host=settings.any_host, timeout=settings.open_timeout)
        except MediaError as error:
            raise MediaError(f"{self._shown}: {error}") from None
        moved, self._address = address != self._address, address
        return moved

    def _read(self) -> Iterator[Frame | Gap]:
        """All connections, one after the other; runs in the source's own thread."""
        container, self._first = self._first, None
        lost: Gap | None = None
        since, attempts = 0.0, 0
        while container is not None:
            reason = "the server ended the stream"
            try:
                for item in self._one_connection(container):
                    if lost is not None:
                        if isinstance(item, Gap):  # it lies within the longer one
                            continue
                        yield replace(lost, seconds=item.timestamp - lost.timestamp)
                        lost = None
                    yield item
            except _ConnectionLost as error:
                reason = str(error)
                if not self.info.live:
                    where = f"after {self._timestamps.last or 0:.3f} s"
                    raise MediaError(
                        f"{self._shown}: the connection broke {where}: {reason}: screen it again, or download it first"
                    ) from None
            finally:
                container.close()
            if not self.info.live or self._prefetcher.closing.is_set():
                return
            if lost is None:
                began = self._damage.timestamp if self._damage else self._timestamps.last or 0.0
                lost, since, attempts = Gap(began, None, reason), time.monotonic(), 0
            container = None
            while container is None:
                if time.monotonic() - since > self._settings.patience:
                    yield lost
                    raise MediaError(
                        f"{self._shown}: lost for {self._settings.patience:g} s ({lost.reason}): given up; look at the "
                        "camera and its network, and start again"
                    )
                delay = min(self._settings.first_delay * 2**attempts, self._settings.longest_delay)
                attempts += 1
                if self._prefetcher.closing.wait(delay):
                    return
                with contextlib.suppress(MediaError):  # the gap says why it was lost; the next attempt may succeed
                    container = self._connect()

    def _one_connection(self, container: InputContainer) -> Iterator[Frame | Gap]:
        """
        Raises:
            _ConnectionLost: it broke or stalled. What had arrived was yielded.
        """
        from av import FFmpegError

        settings = self._settings
        live = self.info.live
        stream = video_stream(container, self._shown)
        stamped = not (live and container.format.name in CLOCKLESS)
        decoder = Decoder(stream, self._timestamps, self._converter, self._index, holes=not live, stamped=stamped)
        self._timestamps.restart()
        last_frame_at = time.monotonic()
        try:
            # All streams, because sound that goes on while the images stand still is a stall too.
            for packet in container.demux():
                if packet.stream_index == stream.index:
                    for item in decoder.decode(cast("Packet[VideoStream]", packet)):
                        yield item
                        last_frame_at = time.monotonic()
                if self._prefetcher.closing.is_set():
                    return
                if time.monotonic() - last_frame_at > settings.stall_timeout:
                    raise _ConnectionLost(f"no frame for {settings.stall_timeout:g} s")
        except FFmpegError as error:
            yield from decoder.drain()
            raise _ConnectionLost(_what(error, settings.stall_timeout)) from None
        finally:
            self._index = decoder.index
        self._damage = decoder.finish()
        if live:
            return
        if self._damage is not None:
            yield self._damage
        elif self.info.duration and self.info.duration - (self._timestamps.last or 0.0) > MISSING_END:
            yield Gap(self._timestamps.last or 0.0, None, f"it ends early: {self.info.duration:.3f} s were announced")


class _ConnectionLost(Exception):
    """Why, in a few words."""


def _nothing(timeout: float) -> str:
    return f"nothing came for {timeout:g} s"


def _what(error: FFmpegError, timeout: float) -> str:
    """What happened, without the address."""
    from av.error import ExitError

    if isinstance(error, ExitError | TimeoutError):
        return _nothing(timeout)
    return (error.strerror or type(error).__name__).lower()


def _remedy(error: FFmpegError) -> str:
    import av.error

    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return "user name and password go into the address, as in rtsp://user:password@camera/path"
    if isinstance(error, av.error.HTTPError | av.error.HTTPClientError):
        return "look at the path in the address"
    if isinstance(error, ConnectionRefusedError):
        return "is the server running, and the port right?"
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError):
        return (
            "no video stream that protoleak reads; playlists (.m3u8, .mpd) are refused: give the stream's own address, "
            "with / ? # @ in a password written as %2F %3F %23 %40"
        )
    return LOOK
