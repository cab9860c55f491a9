"""Text from files and names, made fit for a terminal."""

from __future__ import annotations

KEPT = frozenset("\n\t")


def harmless(text: str) -> str:
    """Text without what a terminal would obey or hide: control characters, escape sequences, marks of direction and
    half characters are written as escapes, as in a Python string. Line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in KEPT else repr(one)[1:-1] for one in text)


def one_line(text: str) -> str:
    """As `harmless`, with line ends and tabs written as escapes too."""
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def percentage(share: float) -> str:
    """A share in three digits at most: "0.75%", "5%"."""
    return f"{100 * share:.3g}%"
