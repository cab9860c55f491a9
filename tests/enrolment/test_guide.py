"""The guide docs/unknown_generator.md does what it says, its commands run as they are written."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from protoleak.bundle.bundle import Bundle
from protoleak.cli.app import main
from tests.enrolment.conftest import write_images
from tests.paths import ROOT
from tests.tiny_bundle import CAMERA, make_image

pytest.importorskip("sklearn", reason="its HDBSCAN clusters")
pytest.importorskip("cryptography", reason="it signs")
GUIDE = ROOT / "docs" / "unknown_generator.md"


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
    blocks = re.findall(r"^```\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    typed = [line for block in blocks for line in block.splitlines() if line.startswith("protoleak ")]
    assert len(typed) == 8
    for line in typed:
        assert main(shlex.split(line)[1:]) == 0, (line, capsys.readouterr().err)
    signed = Bundle.load("site", trusted_key="own.pub")
    assert signed.manifest.generators[-1] == "lemon"
    assert signed.manifest.recalibrated is not None
    assert signed.signer is not None
    assert "Enrolled: lemon" in capsys.readouterr().out
    assert '"generator":"lemon"' in Path("again.jsonl").read_text().replace(" ", "")
