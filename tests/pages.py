"""What every page that protoleak writes has to be."""

from __future__ import annotations

from html.parser import HTMLParser


def assert_loads_and_runs_nothing(page: str) -> None:
    """A page without scripts, and without an address that a browser would follow by itself."""
    assert "<script" not in page
    for attribute in ("src=", "href=", "url(", "@import"):
        assert attribute not in page
    HTMLParser().feed(page)
