"""A hook of mkdocs (see mkdocs.yml): links from docs/ to the rest of the repository.

They work where the repository is browsed. The site has nothing outside docs/, so there they become their text, followed
by the path; one that leads nowhere is a warning, which `mkdocs build --strict` ends with.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")
log = logging.getLogger("mkdocs.hooks")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """The page's text, with links that leave docs/ as plain text."""
    docs = Path(config.docs_dir).resolve()
    here = Path(page.file.abs_src_path).parent

    def plain(link: re.Match[str]) -> str:
        target = (here / link[2]).resolve()
        if target.is_relative_to(docs):
            return link[0]
        if not target.exists():
            log.warning("%s links to %s, which isn't in the repository", page.file.src_uri, link[2])
        path = target.relative_to(docs.parent).as_posix()
        return f"`{path}`" if link[1].strip("`") == target.name else f"{link[1]} (`{path}`)"

    return LINK.sub(plain, markdown)
