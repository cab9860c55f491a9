"""The files of the page at `/`, as they are asked for."""

from __future__ import annotations

from functools import cache
from importlib import resources

TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
INDEX = "index.html"


@cache
def page_files() -> dict[str, tuple[bytes, str]]:
    """Path → content and Content-Type of every file in `page/`."""
    found = {}
    for file in (resources.files("protoleak") / "serving" / "page").iterdir():
        kind = TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            path = "/" if file.name == INDEX else f"/{file.name}"
            found[path] = file.read_bytes(), f"{kind}; charset=utf-8"
    return found
