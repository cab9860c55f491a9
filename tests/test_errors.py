"""Messages are one line of printable text, whatever names a stranger's file put into them."""

from __future__ import annotations

import pytest

from protoleak.errors import BundleError, MediaError, ParityError, ProtoleakError


@pytest.mark.parametrize("kind", [ProtoleakError, BundleError, MediaError])
def test_a_message_is_one_printable_line(kind: type[ProtoleakError]) -> None:
    message = str(kind("operators that no bundle may use: \x1b[31mEvil\n\u202e\udcff, fine: ü"))
    assert message == "operators that no bundle may use: \\x1b[31mEvil\\n\\u202e\\udcff, fine: ü"


def test_the_table_of_a_failed_parity_keeps_its_lines() -> None:
    assert str(ParityError("a table\n\x1b[31mof two")) == "a table\n\\x1b[31mof two"
