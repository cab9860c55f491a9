"""Two commits of a repository, each checked out into a folder of its own for as long as they are measured."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from protoleak.errors import ProtoleakError


@dataclass(frozen=True)
class Checkout:
    """One commit in a folder of its own.

    Attributes:
        asked: as the user named it, such as "main" or "2bb957a".
        commit: its SHA-1.
        subject: the first line of its message.
        folder: where its files are.
    """

    asked: str
    commit: str
    subject: str
    folder: Path


@contextmanager
def checkouts(repository: Path, base: str, head: str) -> Iterator[tuple[Checkout, Checkout]]:
    """Both commits in git worktrees of a temporary folder, which are taken away at the end.

    Changes that are not committed are not in them.

    Raises:
        ProtoleakError: one of them is no commit of this repository; the message names it.
    """
    commits = [_resolved(repository, asked) for asked in (base, head)]
    with tempfile.TemporaryDirectory(prefix="protoleak-regress-") as temporary:
        made = []
        try:
            for side, asked, commit in zip(("base", "head"), (base, head), commits, strict=True):
                folder = Path(temporary) / side
                _git(repository, "worktree", "add", "--detach", "--quiet", str(folder), commit)
                made.append(Checkout(asked, commit, _git(repository, "log", "-1", "--format=%s", commit), folder))
            yield made[0], made[1]
        finally:
            for checkout in made:
                _git(repository, "worktree", "remove", "--force", str(checkout.folder))


def _resolved(repository: Path, asked: str) -> str:
    try:
        return _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{asked}^{{commit}}")
    except ProtoleakError as error:
        raise ProtoleakError(f"{asked!r} is no commit of {repository}: give a branch, a tag or a SHA-1") from error


def _git(repository: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ProtoleakError(
            f"git cannot be started ({error}): install it, two commits are checked out by it"
        ) from error
    if done.returncode:
        raise ProtoleakError(f"git {arguments[0]} in {repository} failed: {' '.join(done.stderr.split()) or 'no word'}")
    return done.stdout.strip()
