"""What a source is called in messages, files and reports: its name without anything secret."""

from __future__ import annotations

import re

HIDDEN = "***"
# The part of an address before its path, as FFmpeg splits it: the last @ in it ends the password.
IN_AUTHORITY = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://[^/?#\s:@]*:)[^/?#\s]*(?=@)", re.IGNORECASE)
# A password with an unescaped / ? or #: what follows the colon is no port, and an @ comes later.
UNESCAPED = re.compile(
    r"(?P<before>\b[a-z][a-z0-9+.-]*://[^/?#\s:@]*:)(?!\d*(?:[/?#\s]|$))(?![^/?#\s]*@)\S*(?=@)", re.IGNORECASE
)
SECRET = r"(?:pass|passwd|password|passphrase|pwd|pw|token|secret|key|sig|signature|auth)"
# In an address's query, or a property in a pipeline.
AS_VALUE = re.compile(rf"""(?P<before>[\w-]*{SECRET}\s*=\s*)(?:"[^"]*"|'[^']*'|[^&\s!"'#]+)""", re.IGNORECASE)


def without_secrets(name: str) -> str:
    """The name with passwords and tokens replaced by ***."""
    for pattern in (IN_AUTHORITY, UNESCAPED, AS_VALUE):
        name = pattern.sub(rf"\g<before>{HIDDEN}", name)
    return name
