"""Names come from others: nothing in them is obeyed by the terminal, and no address is shown with its secrets."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from rich.console import Console

from protoleak.bundle.manifest import Manifest
from protoleak.bundle.writer import write_bundle
from protoleak.cli.app import main
from protoleak.cli.console import error_console, output_console, print_error, print_note, print_table
from tests.tiny_bundle import make_image

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eexe"


def obeyed(text: str) -> set[str]:
    return {character for character in text if not character.isprintable() and character != "\n"}


@pytest.mark.parametrize("console", [error_console, output_console])
@pytest.mark.parametrize("show", [print_error, print_note, lambda to, text: print_table(to, ["a"], [[text]])])
def test_no_console_passes_control_characters_on(console, show) -> None:
    made: Console = console()
    made.file = io.StringIO()
    show(made, f"name {HOSTILE}")
    text = made.file.getvalue()
    assert obeyed(text) == set()
    assert r"\x1b" in text


def test_colours_of_our_own_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    made = error_console()
    made.file = io.StringIO()
    print_error(made, HOSTILE)
    assert "\x1b[31merror:" in made.file.getvalue()
    assert "\x1b[2J" not in made.file.getvalue()


def test_names_of_images_generators_and_bundles_are_printed_harmlessly(
    tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, files = tiny_files
    write_bundle(tmp_path / "bundle", msgspec.structs.replace(manifest, name=f"tiny {HOSTILE}"), files)
    image = tmp_path / f"{HOSTILE.replace('/', '')}.png"
    Image.fromarray(make_image(0, 1)).save(image)
    for arguments in (
        ["screen", str(image), "--bundle", str(tmp_path / "bundle")],
        ["screen", str(image), "--bundle", str(tmp_path / "bundle"), "--out", "-"],
        ["screen", f"{image}x", "--bundle", str(tmp_path / "bundle")],
        ["inspect", str(tmp_path / "bundle")],
        ["inspect", str(tmp_path / "bundle"), "--json"],
        ["inspect", str(tmp_path / f"no {HOSTILE}")],
        ["screen", str(image), f"--{HOSTILE}"],
    ):
        main(arguments)
        printed = capsys.readouterr()
        assert printed.out or printed.err
        assert obeyed(printed.out) == obeyed(printed.err) == set(), arguments


@pytest.mark.parametrize("options", [["--resume"], ["--out", "x.jsonl"], ["--bogus"], ["--every", "-1"]])
def test_no_error_shows_the_secrets_of_an_address(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["screen", "photograph.jpg", "rtsp://admin:hunter2@127.0.0.1:9/live?key=hunter2", *options]) == 2
    printed = capsys.readouterr()
    assert printed.err
    assert "hunter2" not in printed.err + printed.out
