"""The documentation says nothing that isn't so: its links, its commands, and the floors of its architecture page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

import protoleak
from protoleak.cli.app import application
from tests.paths import ROOT
from tests.test_structure import FLOORS

# Decisions keep their text, and the commands of their time.
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("docs/api/*.md"))]
LINKED = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "zoo" / "README.md", *sorted(ROOT.glob("docs/decisions/*.md"))]
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`((?:protoleak|python) [^`]+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def commands(path: Path) -> Iterator[str]:
    """What a page tells its reader to type."""
    text = path.read_text()
    blocks = [line for block in FENCED.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    for line in [*blocks, *INLINE.findall(FENCED.sub("", text).replace("\n", " "))]:
        yield from (part.strip() for part in line.split("&&"))


@pytest.mark.parametrize("page", LINKED, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(FENCED.sub("", page.read_text())) if not (page.parent / link).exists()]
    assert not missing


def test_commands_are_found_in_blocks_and_in_sentences(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Type `protoleak screen a.png`:\n\n```bash\ncd a && protoleak serve \\\n    --port 1\n```\n")
    assert list(commands(page)) == ["cd a", "protoleak serve      --port 1", "protoleak screen a.png"]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_their_options_exist(page: Path) -> None:
    known = get_command(application()).commands
    for line in commands(page):
        words = line.split(" #")[0].split()
        if words[:1] == ["python"]:
            scripts = [word for word in words[1:] if word.endswith(".py")]
            assert all((ROOT / script).is_file() for script in scripts), line
        if words[:1] != ["protoleak"] or len(words) < 2 or words[1].startswith("--"):
            continue
        assert words[1] in known, line
        options = {option for parameter in known[words[1]].params for option in parameter.opts} | {"--help"}
        assert {word.split("=")[0] for word in words[2:] if word.startswith("--")} <= options, line


def test_the_architecture_page_has_the_floors_of_the_structure_test() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    drawn = re.search(r"```floors\n(.*?)```", text, re.DOTALL)
    assert drawn is not None
    assert [set(line.split()) for line in drawn[1].splitlines()] == [set(floor) for floor in reversed(FLOORS)]


def test_the_architecture_page_shows_every_part_of_the_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    parts = [part for floor in FLOORS for part in floor if part not in ("__init__", "__main__")]
    assert not [part for part in parts if f"{part}/" not in text and f"{part}.py" not in text]
    written = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|cu))`", text)
    assert not [path for path in written if not any((base / path).is_file() for base in (ROOT, ROOT / "protoleak"))]


def test_the_reference_has_every_public_name() -> None:
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    shown = dict(re.findall(r"^::: (\S+)((?:\n    .*|\n(?=    ))*)", pages, re.MULTILINE))

    def has(public: str) -> bool:
        home = protoleak._HOME_OF.get(public, "protoleak.errors")
        places = [module for module in shown if module == home or module.startswith(f"{home}.")]
        if any(place.endswith(f".{public}") for place in places) or f"protoleak.{public}" in shown:
            return True
        members = re.search(r"members: \[(.*)\]", shown.get(home, ""))
        return home in shown and (members is None or public in members[1].split(", "))

    assert not [public for public in protoleak.__all__ if public != "__version__" and not has(public)]
