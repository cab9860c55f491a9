"""Zip files from strangers: bounded in entries, directory and unpacked bytes, whatever the archive claims."""

from __future__ import annotations

import os
import struct
import zipfile
from typing import BinaryIO

MAXIMUM_DIRECTORY = 2 * 2**20  # bytes of the table of contents: 20,000 entries
MAXIMUM_COMPRESSION_RATIO = 200  # weights hardly compress; JSON compresses about tenfold
SMALLEST_RATED = 1024  # bytes; below, a ratio says nothing
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
END = struct.Struct("<4s4H2LH")  # the end-of-directory record
END_SIGNATURE, LOCATOR_64_SIGNATURE, LOCATOR_64_SIZE = b"PK\5\6", b"PK\6\7", 20
UNKNOWN_32 = 0xFFFFFFFF


class ArchiveError(Exception):
    """What is wrong with an archive, in one line; the caller adds where."""


def open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """Opens a .zip after a look at how much its table of contents claims, which `zipfile` reads at once.

    Raises:
        ArchiveError: it is no .zip with its end record at its end, or the table is too large.
        zipfile.BadZipFile: as `zipfile` finds.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END.size - LOCATOR_64_SIZE))
    tail = file.read()
    if len(tail) < END.size:
        raise ArchiveError("it is no .zip file")
    signature, *_, length, _, comment = END.unpack(tail[-END.size :])
    if signature != END_SIGNATURE or comment:
        raise ArchiveError("it is no .zip file, or one with something behind its end")
    if length > MAXIMUM_DIRECTORY or length == UNKNOWN_32 or tail.startswith(LOCATOR_64_SIGNATURE):
        raise ArchiveError(f"its table of contents is larger than {MAXIMUM_DIRECTORY} bytes")
    file.seek(0)
    try:
        return zipfile.ZipFile(file)
    except (NotImplementedError, ValueError, OverflowError, UnicodeDecodeError, struct.error) as error:
        raise ArchiveError(str(error) or type(error).__name__) from error


def read_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, maximum: int) -> bytes:
    """One member's bytes.

    Raises:
        ArchiveError: it unpacks to more than `maximum`, is packed as no file of a bundle is, or is damaged.
    """
    if entry.compress_type not in METHODS:
        raise ArchiveError(f"{entry.filename} is packed with method {entry.compress_type}: only stored and deflated")
    if entry.file_size > MAXIMUM_COMPRESSION_RATIO * max(entry.compress_size, SMALLEST_RATED):
        raise ArchiveError(
            f"{entry.filename} unpacks from {entry.compress_size} to {entry.file_size} bytes: a zip bomb, refused"
        )
    try:
        with archive.open(entry) as member:
            data = member.read(maximum + 1)
    except Exception as error:  # zlib.error, BadZipFile, RuntimeError of passwords, and more share no base class
        raise ArchiveError(f"{entry.filename} cannot be unpacked: {error}") from error
    if len(data) > maximum:
        raise ArchiveError(f"{entry.filename} unpacks to more than {maximum} bytes, the size allowed for it; refused")
    return data
