"""A token in a file is one line, and stands in no message."""

from __future__ import annotations

from pathlib import Path

import pytest

from protoleak.cli.token_file import read_token
from protoleak.errors import ProtoleakError


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_token_is_the_line_without_its_end(tmp_path: Path, end: str) -> None:
    (tmp_path / "token").write_bytes(f"0123456789abcdef{end}".encode())
    assert read_token(tmp_path / "token", "--token-file") == "0123456789abcdef"


@pytest.mark.parametrize(
    "content",
    [b"", b"short\n", b"two words of it\n", b"a-first-line\na-second-line\n", b"x" * 5000, b"\xffbinary-junk\x00"],
)
def test_what_cannot_be_a_token_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ProtoleakError, match="visible ASCII") as caught:
        read_token(tmp_path / "token", "--token-file")
    assert not content or content.decode("latin-1").strip() not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProtoleakError, match=r"--token-file .*nothing: cannot be read: no such file"):
        read_token(tmp_path / "nothing", "--token-file")
