"""The guide docs/unknown_generator.md does what it says, its commands run as they are written."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from protoleak.bundle.bundle import Bundle
from protoleak.cli.app import main
from tests.enrolment.conftest import write_images
from tests.paths import ROOT
from tests.serving.running import ENGINE, RunningServer
from tests.tiny_bundle import CAMERA, make_image

pytest.importorskip("sklearn", reason="its HDBSCAN clusters")
pytest.importorskip("cryptography", reason="it signs")
GUIDE = ROOT / "docs" / "unknown_generator.md"
SERVE = "protoleak serve"


def test_commands_of_the_guide_lead_from_an_unknown_image_to_a_signed_bundle(
    enrollable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "incoming", None, 40, 1000)
    Image.fromarray(make_image(0, 1)).save(tmp_path / "incoming" / "known.png")
    write_images(tmp_path / "cameras", CAMERA, 100, 2000)
    for kind, name in enumerate(("dawn", "moss")):
        write_images(tmp_path / "mine" / name, kind, 12, 3000)
    shutil.copytree(enrollable, tmp_path / "BUNDLE")
    monkeypatch.chdir(tmp_path)
    typed = [line for line in commands() if line.startswith("protoleak ") and not line.startswith(SERVE)]
    assert len(typed) == 8
    for line in typed:
        assert main(shlex.split(line)[1:]) == 0, (line, capsys.readouterr().err)
    signed = Bundle.load("site", trusted_key="own.pub")
    assert signed.manifest.generators[-1] == "lemon"
    assert signed.manifest.recalibrated is not None
    assert signed.signer is not None
    assert "Enrolled: lemon" in capsys.readouterr().out
    assert '"generator":"lemon"' in Path("again.jsonl").read_text().replace(" ", "")
    for page, word in (("report", "unknown"), ("again", "known: lemon")):
        assert word in Path(page, "report.html").read_text()
    pytest.importorskip("starlette", reason="the server")
    (served,) = [line for line in commands() if line.startswith(SERVE)]
    arguments = [str(tmp_path / one) if (tmp_path / one).exists() else one for one in shlex.split(served)[2:]]
    with RunningServer(*arguments, *ENGINE, "--no-isolate") as server:
        answers = [asked(server, line) for line in commands() if line.startswith("curl ")]
    assert answers[0]["generator"] == "lemon"
    assert [one["source"] for one in answers[1]["data"]] == ["gate"]


def test_every_picture_of_the_guide_is_there_with_a_text_for_who_cannot_see_it() -> None:
    shown = re.findall(r"!\[(.*?)\]\((.*?)\)", GUIDE.read_text())
    assert len(shown) == 8
    for text, file in shown:
        assert len(text) > 20, file
        assert (GUIDE.parent / file).is_file(), file


def commands() -> list[str]:
    """The lines of the guide's blocks."""
    blocks = re.findall(r"^```\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


def asked(server: RunningServer, line: str) -> Any:
    """What a server answers to a line of curl."""
    *options, url = shlex.split(line)[1:]
    method, body, headers = "GET", None, {}
    for option, value in zip(options[::2], options[1::2], strict=True):
        if option == "--data-binary":
            method, body = "POST", Path(value.removeprefix("@")).read_bytes()
        else:
            assert option == "-H"
            name, _, text = value.partition(": ")
            headers[name] = text
    answer = server.ask(method, url.removeprefix("http://127.0.0.1:8000"), body, headers)
    assert answer.status == 200, (line, answer.body)
    return answer.json
