"""What a source is called in messages, files and reports: its name without anything secret."""

from __future__ import annotations

import re

HIDDEN = "***"
# Streams have their keys in the path too. Parts of a path with more characters than this are taken for one: names that
# cameras give, such as Streaming, Channels or axis-media, are shorter.
LONGEST_SEGMENT = 15
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
QUOTED = re.compile(r"(?P<quote>[\"'])(?P<inner>[a-z][a-z0-9+.-]*://.*?)(?P=quote)", re.IGNORECASE)
BARE = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"']*", re.IGNORECASE)
# A host, with or without a port, in front of which no user stands.
PLAIN_HOST = re.compile(r"(?:\[[0-9a-f:.%]*\]|[^:@\s\[\]]*)(?::\d{0,5})?", re.IGNORECASE)
SUFFIX = re.compile(r"\.[a-z0-9]{1,5}$", re.IGNORECASE)
SECRET = (
    r"(?:pass|passwd|password|passphrase|pwd|pw|token|secret|key|sig|signature|auth|access|credential|session|user-id"
    r"|username)"
)
# A property in a pipeline.
AS_VALUE = re.compile(rf"""(?P<before>[\w-]*{SECRET}\s*=\s*)(?:"[^"]*"|'[^']*'|[^&\s!"'#]+)""", re.IGNORECASE)


def without_secrets(name: str) -> str:
    """The name with ***, in an address, for its user and password, its query and every long part of its path; and in a
    pipeline for properties that hold secrets too.

    A user alone may be a token, and which words of a query are secret differs from service to service, so that all go.
    """
    if SCHEME.match(name):
        return _address(name)
    name = QUOTED.sub(lambda found: f"{found['quote']}{_address(found['inner'])}{found['quote']}", name)
    name = BARE.sub(lambda found: _address(found[0]), name)
    return AS_VALUE.sub(rf"\g<before>{HIDDEN}", name)


def _address(address: str) -> str:
    scheme, rest = address.split("://", 1)
    end = next((index for index, character in enumerate(rest) if character in "/?#"), len(rest))
    user = ""
    if "@" in rest[:end]:  # the last one ends the password, as FFmpeg reads it
        user, rest = f"{HIDDEN}@", rest[rest[:end].rindex("@") + 1 :]
    elif "@" in rest and not PLAIN_HOST.fullmatch(rest[:end]):  # a password with an unescaped / ? or #
        user, rest = f"{HIDDEN}@", rest[rest.rindex("@") + 1 :]
    path, separator = rest, ""
    for mark in "?#":
        if mark in path:
            path, separator = path.split(mark, 1)[0], mark
    host, *segments = path.split("/")
    shown = "/".join([host, *map(_segment, segments)])
    return f"{scheme}://{user}{shown}{separator}{HIDDEN if separator else ''}"


def _segment(segment: str) -> str:
    """A part of a path between slashes; a suffix says what it is, and stays."""
    if len(segment) <= LONGEST_SEGMENT and not set(segment) & set("=;"):
        return segment
    suffix = SUFFIX.search(segment)
    return HIDDEN + (suffix[0] if suffix else "")
