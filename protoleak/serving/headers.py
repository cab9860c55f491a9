"""What stands in the headers of a request, whoever wrote it."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

MOST_DIGITS = 18  # of a number that is one; more take long to read


def whole_number(text: str) -> int | None:
    """The number that is written there; None for anything else, as other scripts' digits, which `str.isdigit` takes."""
    return int(text) if len(text) <= MOST_DIGITS and text.isascii() and text.isdigit() else None


@lru_cache(maxsize=64)
def is_own_name(host: bytes, names: frozenset[str]) -> bool:
    """Whether a Host header names this machine.

    A page of another site can have its own name resolve to 127.0.0.1, and its browser then takes this server for that
    site's: only the name gives it away. An address is no name, so that nobody can have it resolve elsewhere.

    Args:
        names: further ones, in lower case.
    """
    text = host.decode("latin-1").strip().lower()
    name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
    name = name.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost") or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
