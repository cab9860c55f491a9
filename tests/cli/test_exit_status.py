"""What commands exit with."""

from __future__ import annotations

import pytest

from protoleak.cli.exit_status import ExitStatus, status_of_all, status_of_parts


@pytest.mark.parametrize(
    ("failed", "of", "problems", "status"),
    [(0, 3, False, 0), (1, 3, False, 1), (0, 3, True, 1), (3, 3, False, 2), (3, 3, True, 2), (0, 0, False, 0)],
)
def test_failed_parts_decide(failed: int, of: int, problems: bool, status: int) -> None:
    assert status_of_parts(failed, of, problems) == status


@pytest.mark.parametrize(
    ("statuses", "status"), [([0], 0), ([2], 2), ([0, 0], 0), ([2, 2], 2), ([0, 2], 1), ([0, 1], 1), ([1, 130], 130)]
)
def test_images_and_videos_have_one_status_together(statuses: list[int], status: int) -> None:
    assert status_of_all([ExitStatus(one) for one in statuses]) == status
