"""A bearer token that stands in a file, so that it is in no list of processes and no history of a shell."""

from __future__ import annotations

from pathlib import Path

from protoleak.errors import ProtoleakError

LEAST, MOST = 8, 4096  # characters


def read_token(path: Path, option: str) -> str:
    """The token: the file's only line.

    Args:
        option: by which the file was given, for the messages; the token stands in none of them.

    Raises:
        ProtoleakError: the file cannot be read, or holds something that cannot be sent as a token.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST + 3)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ProtoleakError(f"{option} {path}: cannot be read: {reason}") from error
    token = raw.removesuffix(b"\n").removesuffix(b"\r").decode("latin-1")
    if not LEAST <= len(token) <= MOST or not token.isascii() or any(not "!" <= sign <= "~" for sign in token):
        raise ProtoleakError(
            f"{option} {path}: not one line of {LEAST} to {MOST} visible ASCII characters: `openssl rand -hex 32 > "
            "FILE` makes one"
        )
    return token
