"""What is said of files that gave no image: to whoever gave them, and in a bundle that others will read."""

from __future__ import annotations

from pathlib import Path

import pytest

from protoleak.enrolment.images import Skipped

MINE = Path("/home/me: private/face.png")


@pytest.mark.parametrize(
    ("skipped", "shown", "recorded"),
    [
        (Skipped(MINE, "is damaged"), f"{MINE}: is damaged", "face.png: is damaged"),
        (
            Skipped(MINE, "the same file as", MINE.with_name("copy.png")),
            f"{MINE}: the same file as /home/me: private/copy.png",
            "face.png: the same file as copy.png",
        ),
    ],
)
def test_a_bundle_keeps_no_folder_of_a_file_that_was_skipped(skipped: Skipped, shown: str, recorded: str) -> None:
    assert str(skipped) == shown
    assert skipped.without_folders == recorded
