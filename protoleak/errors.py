"""The exceptions that users of protoleak can meet.

Every message names the value that is wrong, the reason, and the remedy. The command line prints it in one line and
exits with status 2; `--debug` shows the traceback.
"""

from __future__ import annotations

from typing import TypeVar

from protoleak.text import harmless, one_line

LONGEST_INPUT = 200  # characters of what the user gave that a message may repeat
KEPT_START, KEPT_END = 120, 40

Error = TypeVar("Error", bound="ProtoleakError")


def shortened(text: str) -> str:
    """What a message repeats of an input: all of it up to LONGEST_INPUT characters, else its start and its end."""
    if len(text) <= LONGEST_INPUT:
        return text
    return f"{text[:KEPT_START]}…{text[-KEPT_END:]} ({len(text)} characters)"


def first_line(error: object) -> str:
    """What a message repeats of another library's error: its first line that says something, or its type.

    Engines' messages may begin with the place in their own source, as "Exception from src/core.cpp:1:".
    """
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line and not line.startswith("Exception from ")), type(error).__name__)


class ProtoleakError(Exception):
    """Base of all errors that protoleak raises on purpose.

    Attributes:
        source: the input that it is about, as given; None where it is about none, or about one from memory.
        sha256: of that input's file, where it was read.
    """

    source: str | None = None
    sha256: str | None = None

    def __init__(self, message: str = "") -> None:
        """
        Args:
            message: names in it may come from a stranger's file: what isn't printable in it is written as escapes.
        """
        super().__init__(one_line(message))

    def about(self: Error, source: str | None, sha256: str | None) -> Error:
        """The same error, which knows the input that it is about."""
        self.source, self.sha256 = source, sha256
        return self


class SettingError(ProtoleakError):
    """A setting has a value that it cannot have.

    Attributes:
        setting: its name, as a field or a key of a settings file.
        problem: the value and the remedy, what stands behind the name.
    """

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{setting} {problem}")
        self.setting, self.problem = setting, problem


class DiskFull(ProtoleakError):
    """There is no room for what was to be written; what was written before is valid."""


class BundleError(ProtoleakError):
    """A bundle is damaged, incomplete, unsafe or of another schema. Nothing in it was executed."""


class EngineUnavailable(ProtoleakError):
    """An engine that was asked for by name cannot run here. The message says what to install."""


class EngineError(ProtoleakError):
    """An engine ran and gave something that cannot be a result, such as a NaN. The message names the stage."""


class EngineOutOfMemory(EngineError):
    """An engine got less memory than it needs. The message says what to make smaller."""


class MediaError(ProtoleakError):
    """An image or video cannot be read. The message names the source and the reason."""


class NoFaceError(MediaError):
    """An image was read, and there is no face in it to judge."""


class SkippedInput(MediaError):
    """An input was left out on purpose, and not read. The message says why."""


class ServerError(ProtoleakError):
    """A server cannot be reached, is busy for too long, refuses a request, or answers what isn't protoleak's."""


class DatasetError(ProtoleakError):
    """A folder of training or evaluation images is not laid out as expected, or holds too little."""


class CheckpointError(ProtoleakError):
    """A checkpoint or model directory is not what it should be, or contradicts the options given."""


class ParityError(ProtoleakError):
    """An exported graph computes something else than the PyTorch model. The message holds the table, in lines."""

    def __init__(self, message: str = "") -> None:
        Exception.__init__(self, harmless(message))


class CalibrationError(ProtoleakError):
    """A significance level cannot be honoured with the calibration images at hand, or data is missing."""


class MissingExtra(ProtoleakError):
    """An optional package is needed for this command. The message holds the install command."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f'{package} is not installed: pip install "protoleak[{extra}]"')
