"""Reads all claims of a file. What it reads is untrusted: sizes are bounded, and whatever fails is no claim."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from PIL import Image

from protoleak.images.claims.claim import Claim
from protoleak.images.claims.content_credentials import content_credentials
from protoleak.images.claims.metadata import exif_claims, iptc_claims, png_text_claims, xmp_claims

MOST_CLAIMS = 16


def read_claims(image: Image.Image, data: bytes, coded: tuple[int, int] = (0, 0)) -> tuple[Claim, ...]:
    """The claims of a file, content credentials first, each once, at most MOST_CLAIMS. It never raises.

    Args:
        image: as Pillow opened it, with its metadata; not converted.
        data: the encoded file.
        coded: where in it nothing but coded pixels stands: from the first place to before the second.
    """
    readers: tuple[Callable[[], Iterator[Claim]], ...] = (
        lambda: content_credentials(data, image.format, coded),
        lambda: xmp_claims(image),
        lambda: iptc_claims(image),
        lambda: png_text_claims(image),
        lambda: exif_claims(image),
    )
    found: dict[Claim, None] = {}
    for reader in readers:
        try:
            for claim in reader():
                found[claim] = None
                if len(found) == MOST_CLAIMS:
                    return tuple(found)
        except Exception:  # hostile metadata fails in every way, and an unreadable claim is none
            continue
    return tuple(found)
