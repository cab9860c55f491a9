"""Versions and commits, as records name them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from protoleak.environment.versions import commit, library_versions


def test_an_installed_package_has_no_commit_even_inside_another_checkout(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "site-packages").mkdir()
    assert commit(tmp_path / "site-packages") is None


def test_a_commit_with_changed_files_says_so(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True
        )

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    clean = commit(tmp_path)
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == f"{clean}+changes"


def test_only_installed_libraries_have_a_version() -> None:
    assert library_versions(("no-such-package", "numpy")) == {"numpy": np.__version__}
