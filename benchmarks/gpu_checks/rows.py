"""What a section of the benchmark gives: rows, measured or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from protoleak.errors import ProtoleakError

Number = float | int | str | bool


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a section.

    Attributes:
        section: the question, such as "parity".
        what: what it is about, such as "tensorrt, fp16".
        values: by names that hold their unit; {} where nothing was measured.
        why: why it was not measured; None where it was.
        holds: whether what was measured is as it has to be; None where nothing is asked of it.
        failed: it should have been measured, and something broke.
    """

    section: str
    what: str
    values: dict[str, Number] = {}
    why: str | None = None
    holds: bool | None = None
    failed: bool = False

    @property
    def wrong(self) -> bool:
        """Whether the run ends with status 1 for it."""
        return self.failed or self.holds is False


def measured(section: str, what: str, values: Mapping[str, Number], holds: bool | None = None) -> Row:
    """A row with numbers."""
    return Row(section=section, what=what, values=dict(values), holds=holds)


def not_measured(section: str, what: str, why: object, *, failed: bool = False) -> Row:
    """A row without: `why` follows on "not measured, because"."""
    return Row(section=section, what=what, why=" ".join(str(why).split()), failed=failed)


def attempted(section: str, what: str, measure: Callable[[], Iterable[Row]]) -> Iterator[Row]:
    """The rows of a measurement, and where it breaks a row that says why."""
    try:
        yield from measure()
    except ProtoleakError as error:
        yield not_measured(section, what, error, failed=True)
