"""From what the user names to an opened source, and which of the names are videos."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from protoleak.errors import ProtoleakError
from protoleak.images.discover import IMAGE_SUFFIXES, VIDEO_SUFFIXES, matching, walk
from protoleak.video.sources.network_settings import NetworkSettings

if TYPE_CHECKING:  # whoever screens images asks here which of the names are videos, and needs nothing that opens one
    from protoleak.video.frames import FrameSource

NETWORK = re.compile(r"(rtsps?|https?)://", re.IGNORECASE)
GSTREAMER = "gst:"


FRAME_SECONDS = 5.0  # for one frame of what isn't live, and for opening it, where it is read in a worker process


def open_source(
    name: str,
    *,
    network: NetworkSettings = NetworkSettings(),  # noqa: B008 frozen
    isolate: bool = False,
) -> FrameSource:
    """Opens a source.

    Args:
        name: a video file; `rtsp://`, `rtsps://`, `http://` or `https://` and an address; the number of a webcam, such
            as "0"; or `gst:` and a GStreamer pipeline. A file whose name is a number is named with its folder: `./0`.
        network: limits and transport of addresses.
        isolate: read files and addresses in a worker process with limits on processor time and memory.

    Raises:
        MediaError: it cannot be opened; one line with the source, the reason and the remedy.
        MissingExtra: an optional package is needed.
    """
    address = is_network_address(name)
    if isolate and (address or not (name.startswith(GSTREAMER) or _is_camera(name))):
        from protoleak.video.sources.isolated import IsolatedSource

        return IsolatedSource(name, network=network, waits=None if address else FRAME_SECONDS)
    if address:
        from protoleak.video.sources.network import NetworkSource

        return NetworkSource(name, network)
    if name.startswith(GSTREAMER) or _is_camera(name):
        from protoleak.video.sources.camera import open_camera, open_pipeline

        return open_camera(name) if _is_camera(name) else open_pipeline(name)
    from protoleak.video.sources.file import FileSource

    return FileSource(name)


def is_network_address(name: str) -> bool:
    """Whether a name is that of something in a network."""
    return NETWORK.match(name) is not None


def is_live(name: str) -> bool:
    """Whether a name stands for what may never end: a camera, a pipeline, or an address, whatever is behind it."""
    return is_network_address(name) or name.startswith(GSTREAMER) or _is_camera(name)


def is_video(name: str, *, isolate: bool = False) -> bool:
    """Whether a name stands for videos: an address, a camera, a pipeline, or a file that holds a video.

    A file with a suffix of images is an image, GIFs included; one with a suffix of videos is a video, whether it
    can be read or not; any other is looked into. A folder is neither, nor is a glob pattern.

    Args:
        isolate: look into files in a worker process.
    """
    if is_live(name):
        return True
    suffix = Path(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return False
    if suffix in VIDEO_SUFFIXES:
        return not _is_folder(name) and not _is_pattern(name)
    from protoleak.video.sources.containers import is_readable_video

    if not isolate:
        return is_readable_video(name)
    if not _is(name, Path.is_file):
        return False
    try:
        open_source(name, isolate=True).close()
    except ProtoleakError:  # whoever opens it next says what it is
        return False
    return True


def separate(sources: Iterable[str], *, isolate: bool = False) -> tuple[list[str], list[str]]:
    """Images and videos apart.

    Args:
        isolate: as in `is_video`.

    Returns:
        stills: for `protoleak.images.discover.expand_sources`: everything that is no video, `-` and folders and
            patterns included, as given; a folder or pattern that yields videos only is left out, so that
            nobody reads that there is no image in it.
        videos: for `open_source`, each once.
    """
    stills: list[str] = []
    videos: dict[str, None] = {}
    for source in sources:
        if source == "-":
            stills.append(source)
        elif is_video(source, isolate=isolate):
            videos[source] = None
        elif _is_folder(source):
            found = sorted(_files(source, VIDEO_SUFFIXES))
            videos.update(dict.fromkeys(found))
            if not found or any(True for _ in _files(source, IMAGE_SUFFIXES)):
                stills.append(source)
        elif _is_pattern(source):
            others, found = separate(matching(source), isolate=isolate)
            videos.update(dict.fromkeys(found))
            # Left as a pattern where it can be: what matches nothing is reported by whoever expands images.
            stills += others if found else [source]
        else:
            stills.append(source)
    return stills, list(videos)


def _is_camera(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _is_pattern(name: str) -> bool:
    return glob.has_magic(name) and not os.path.lexists(name)


def _is_folder(path: str) -> bool:
    return _is(path, Path.is_dir)


def _is(path: str, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(Path(path))
    except (OSError, ValueError):  # too long a name, or a NUL byte: opening it as a file will say so
        return False


def _files(folder: str, suffixes: frozenset[str]) -> Iterator[str]:
    return (path for path in walk(folder) if Path(path).suffix.lower() in suffixes)
