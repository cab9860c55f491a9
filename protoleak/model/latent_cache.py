"""Latents on disk: the latent encoder is frozen, so every image is encoded once.

One .npy file per latent, under the SHA-256 of the item's key, the encoder's fingerprint and preprocessing's version.
Files appear under their name only when they are complete, so an interrupted run loses one batch and several runs can
share a cache. A file that cannot be read is encoded again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array, UInt8Array
from protoleak.errors import CheckpointError, EngineError, MediaError
from protoleak.files import replacing
from protoleak.images.framing import Framing
from protoleak.model.loading import loaded

if TYPE_CHECKING:  # processes that only load images import this file, and have no use for PyTorch
    from protoleak.model.latent_encoder import LatentEncoder

# Raise it when preprocessing gives other pixels for the same file, so that old latents go unused.
PREPROCESSING_VERSION = 2
DEPLOYED_VIEW = "deployed"  # the view of an image that inference takes: preprocessing and nothing else


@dataclass(frozen=True)
class LatentItem:
    """One image to be encoded.

    Attributes:
        key: whatever decides the pixels: make it with `latent_key`.
        load: gives the looks at the image, uint8 [L, S, S, 3]; called only where no latent is cached, and from several
            threads or, if workers are asked for, in another process. May raise MediaError.
    """

    key: str
    load: Callable[[], UInt8Array]


@dataclass(frozen=True)
class CachedLatents:
    """The latents of those items that could be read.

    Attributes:
        latents: float32 [m, L, C, h, w].
        indices: int64 [m], ascending: which of the items each latent is of.
        failures: the other items: (index, why it could not be read).
        hits: how many latents came from the cache.
    """

    latents: Float32Array
    indices: npt.NDArray[np.int64]
    failures: tuple[tuple[int, MediaError], ...]
    hits: int


def latent_key(content_sha256: str, view: str, framing: Framing, face_model: str = "") -> str:
    """The key of an image: SHA-256 of its file, the name of the view made of it, how that is framed, and SHA-256 of the
    model that found the face, where a look needs one."""
    looks = "" if framing.looks == ("image",) else f" {','.join(framing.looks)} {framing.margin:g} {face_model}"
    return f"{content_sha256} {view} {framing.image_size}{looks}"


def cached_latents(
    encoder: LatentEncoder,
    items: Sequence[LatentItem],
    cache: Path | None,
    batch_size: int = 16,
    progress: Callable[[int], None] | None = None,
    workers: int = 0,
) -> CachedLatents:
    """The latents of all items, encoded where they are not in the cache.

    Args:
        cache: the directory, made if it isn't there; None to encode everything and keep nothing.
        batch_size: images encoded together.
        progress: called with the number of items done so far.
        workers: processes that load images while others are encoded; 0 for threads. The latents are the same.

    Raises:
        CheckpointError: the cache cannot be written, or items give latents of different shapes.
        EngineError: the encoder gives a latent that is not finite, or a worker ended before its time.
    """
    found: dict[int, Float32Array] = {}
    failures: list[tuple[int, MediaError]] = []
    missing: list[int] = []
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done)

    files = [_file(cache, encoder, item) for item in items]
    for index, file in enumerate(files):
        latent = None if file is None else _read(file)
        if latent is None:
            missing.append(index)
        else:
            found[index] = latent
            report(1)
    hits = len(found)
    made = loaded([items[index].load for index in missing], batch_size, workers)
    for start, part in zip(range(0, len(missing), batch_size), made, strict=True):
        images: list[tuple[int, UInt8Array]] = []
        for index, image in zip(missing[start : start + batch_size], part, strict=True):
            if isinstance(image, MediaError):
                failures.append((index, image))
            else:
                images.append((index, image))
        if images:
            encoded = _encode(encoder, np.stack([image for _, image in images]))
            if not np.isfinite(encoded).all():  # nothing of the kind may get into the cache
                raise EngineError("the latent encoder gave NaN or infinite latents: its weights are unusable")
            for (index, _), latent in zip(images, encoded, strict=True):
                found[index] = latent
                file = files[index]
                if file is not None:
                    _write(file, latent)
        report(len(part))
    indices = np.array(sorted(found), dtype=np.int64)
    shapes = {latent.shape for latent in found.values()}
    if len(shapes) > 1:
        raise CheckpointError(f"images gave latents of different shapes {sorted(shapes)}: make them all of one size")
    latents = np.stack([found[index] for index in indices]) if found else np.zeros((0, 1, 0, 0, 0), dtype=np.float32)
    return CachedLatents(latents, indices, tuple(failures), hits)


def _encode(encoder: LatentEncoder, images: UInt8Array) -> Float32Array:
    """uint8 [n, L, S, S, 3] → float32 [n, L, C, h, w]."""
    encoded = encoder.encode(images.reshape(-1, *images.shape[-3:]))
    return encoded.reshape(*images.shape[:-3], *encoded.shape[1:])


def _file(cache: Path | None, encoder: LatentEncoder, item: LatentItem) -> Path | None:
    if cache is None:
        return None
    name = hashlib.sha256(f"{PREPROCESSING_VERSION}\n{encoder.fingerprint}\n{item.key}".encode()).hexdigest()
    return cache / name[:2] / f"{name}.npy"


def _read(file: Path) -> Float32Array | None:
    """The latent, or None where the file is missing, cut short or not what `_write` writes."""
    try:
        latent = np.load(file, allow_pickle=False)
    except Exception:  # a damaged header makes NumPy raise whatever its parsers raise; all mean: encode it again
        return None
    if not isinstance(latent, np.ndarray) or latent.dtype != np.float32 or latent.ndim != 4:
        return None
    return latent if np.isfinite(latent).all() else None


def _write(file: Path, latent: Float32Array) -> None:
    try:
        with replacing(file) as staged, staged.open("wb") as stream:
            np.save(stream, latent, allow_pickle=False)
    except OSError as error:
        raise CheckpointError(
            f"cannot write the latent cache {file.parent.parent}: {error.strerror or error}; make room or set "
            "PROTOLEAK_CACHE to another directory"
        ) from error
