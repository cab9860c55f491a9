"""One claim of a file about its own origin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

Standard: TypeAlias = Literal["C2PA", "XMP", "IPTC", "PNG text", "EXIF"]
Origin: TypeAlias = Literal["generated", "camera", "edited", "other"]

LONGEST_CLAIM = 300  # characters of what a file says that are repeated


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of its own origin. It is never part of a verdict: whoever has the file can write or remove it.

    Attributes:
        standard: where it stands in the file: content credentials (C2PA), XMP, IPTC-IIM, text chunks of PNG, or EXIF.
        origin: what it comes to: made by a generator (or in part), by a camera, altered by hand, or something else.
        text: what it says, in one printable line of at most LONGEST_CLAIM characters and an ellipsis.
        signed_by: who signed a content credential, as its certificate says; None for what nobody signed.
        signature: "valid", whoever the signer is; "trusted" where it also leads to a trusted authority; "invalid" where
            the file or the claim was altered after signing. None for what nobody signed.
    """

    standard: Standard
    origin: Origin
    text: str
    signed_by: str | None = None
    signature: Literal["trusted", "valid", "invalid"] | None = None

    def __str__(self) -> str:
        signed = f" (signed by {self.signed_by or 'nobody named'}: {self.signature})" if self.signature else ""
        return f"{self.standard}: {self.origin}: {self.text}{signed}"


def one_line(text: str) -> str:
    """Text of a file as one printable line, shortened to LONGEST_CLAIM characters."""
    words = " ".join(text[: 4 * LONGEST_CLAIM].split())
    line = "".join(character if character.isprintable() else "\ufffd" for character in words)
    return line if len(line) <= LONGEST_CLAIM else line[:LONGEST_CLAIM] + "…"


def disagreement(label: str, claims: Iterable[Claim]) -> str | None:
    """One line where what a file says and what was found contradict each other; None where they don't.

    Args:
        label: of the verdict. `unknown` contradicts nothing.
    """
    opposed: dict[str, Origin] = {"known": "camera", "real": "generated"}
    for claim in claims:
        if claim.origin == opposed.get(label) and claim.signature != "invalid":
            found = "made by a generator" if label == "known" else "real: consistent with camera originals"
            return f"the file and the verdict disagree: the file says {claim.origin} ({claim}), the verdict {found}"
    return None
