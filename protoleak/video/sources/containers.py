"""Opens what FFmpeg's libraries read, through PyAV: only containers of videos, only the protocols asked for.

A container may name other files or addresses (playlists, concat scripts, SDP), and FFmpeg would follow. None of those
is on the list of demuxers, and the list of protocols holds what the user's own name needs and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from protoleak.errors import MediaError, MissingExtra
from protoleak.files import open_regular
from protoleak.images.formats.heif import HEAD, is_still
from protoleak.images.sources import printable

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# FFmpeg's names of demuxers that read images from their own bytes alone.
DEMUXERS = (
    "asf,av1,avi,dv,evc,flv,h261,h263,h264,hevc,ivf,live_flv,m4v,matroska,webm,mjpeg,mov,mp4,m4a,3gp,3g2,mj2,mpeg,"
    "mpegts,mpegvideo,mpjpeg,mxf,nut,obu,ogg,rm,vc1,vvc,yuv4mpegpipe"
)
MISSING_END = 1.0  # seconds that a video may be shorter than its header says before it counts as cut off
MAXIMUM_PIXELS = 40_000_000  # of a frame: 8K has 33 million, and several are in memory at a time
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"<smil", b"<MPD", b"v=0\n", b"v=0\r")
STILL = "a still image in HEIF, not a video: give it a name that ends in .heic or .avif"
PLAYLIST = "a playlist, which names other files or addresses: refused; give the video that it names"


def need_av() -> None:
    """Raises MissingExtra where PyAV isn't installed."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise MissingExtra("av", "video") from error


def open_container(
    url: str,
    shown: str,
    protocols: str,
    demuxers: str = DEMUXERS,
    options: Mapping[str, str] | None = None,
    timeouts: tuple[float, float] | None = None,
) -> InputContainer:
    """Opens a container without decoding anything.

    Args:
        url: for FFmpeg, with its protocol in front.
        shown: what messages call it.
        protocols: FFmpeg's names of the protocols that may be used, with commas between.
        demuxers: the same for containers.
        options: further ones for the protocol and the demuxer.
        timeouts: seconds for opening and for each read; None for no limit.

    Raises:
        MissingExtra: PyAV is not installed.
        av.FFmpegError: it cannot be opened; the caller knows how to say why.
    """
    need_av()
    import av

    given = {**(options or {}), "protocol_whitelist": protocols, "format_whitelist": demuxers}
    try:
        return av.open(url, "r", options=given, timeout=timeouts, metadata_errors="replace")
    except UnicodeError as error:
        raise MediaError(f"{shown}: damaged: {error}") from None


def video_stream(container: InputContainer, shown: str) -> VideoStream:
    """The stream to read, ready to decode.

    One thread decodes: with several, FFmpeg's H.264 decoder conceals damaged slices without flagging the frame
    (measured, see docs/decisions/0008), and frame threads would add their number to the latency of live sources.

    Raises:
        MediaError: there is no video in it, no decoder for it, or it has more pixels than are allowed.
    """
    from av.codec.context import Flags
    from av.stream import Disposition

    videos = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    if not videos:
        others = " and ".join(sorted({one.type for one in container.streams if one.type != "video"})) or "nothing else"
        only = f"a cover image and {others}" if container.streams.video else f"only {others}"
        raise MediaError(f"{shown}: no video in it, {only}: nothing to screen")
    decodable = [one for one in videos if one.codec_context is not None]  # without it, a stream has no size either
    if not decodable:
        raise MediaError(f"{shown}: this FFmpeg has no decoder for its video: convert it to H.264")
    stream = max(decodable, key=lambda one: (bool(one.disposition & Disposition.default), one.width * one.height))
    if stream.width * stream.height > MAXIMUM_PIXELS:
        raise MediaError(f"{shown}: {stream.width}×{stream.height} pixels, more than the {MAXIMUM_PIXELS} allowed")
    stream.thread_count = 1
    # Frames that a decoder knows to be damaged come out flagged, and are counted; without this some vanish.
    stream.codec_context.flags |= Flags.output_corrupt
    return stream


def why_unreadable(path: Path) -> str:
    """What is wrong with a file that FFmpeg cannot open, from its first bytes."""
    with path.open("rb") as file:
        head = file.read(4096)
    if is_playlist(head):
        return PLAYLIST
    if is_still(head):
        return STILL
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        if not _has_box(path, b"moov"):
            return "truncated, or never finished: its index (the moov box at the end) is missing: copy it again"
        return "damaged: its index cannot be read: copy it again"
    return "not a video that protoleak reads, or damaged from its beginning: convert it to MP4, or copy it again"


def is_playlist(head: bytes) -> bool:
    """Whether a file that begins so names other files."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith(PLAYLISTS) or (start.startswith(b"<?xml") and any(mark in head for mark in PLAYLISTS))


def _has_box(path: Path, wanted: bytes) -> bool:
    """Whether an MP4 file holds a box of this type at its top level, whole."""
    size = path.stat().st_size
    place = 0
    with path.open("rb") as file:
        while place + 8 <= size:
            file.seek(place)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            elif length == 0:
                length = size - place
            if header[4:8] == wanted:
                return place + length <= size
            place += max(length, 8)
    return False


def is_readable_video(path: str) -> bool:
    """Whether a file without the suffix of a video holds a video; False where PyAV is not installed."""
    try:
        import av
    except ImportError:
        return False
    try:
        with open_regular(path) as file:
            head = file.read(HEAD)  # nothing of what only looks like a file; FFmpeg would wait for it
        if not head or is_still(head):
            return False
        with open_container("file:" + path, printable(path), protocols="file") as container:
            video_stream(container, printable(path))
    except (MediaError, OSError, ValueError, av.FFmpegError):  # whoever opens it next says what it is
        return False
    return True
