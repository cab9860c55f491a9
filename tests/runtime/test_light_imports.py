"""Inference needs none of the heavy packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

BLOCKED = ("torch", "torchvision", "diffusers", "onnx", "onnxscript", "sklearn", "scipy", "safetensors")

SCREENING = 'main(["screen", *sys.argv[2:], "--bundle", sys.argv[1]])'
SCREEN_WITHOUT_HEAVY_PACKAGES = """
import importlib, pkgutil, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(f"{{name}} must not be imported by inference")

sys.meta_path.insert(0, Block())
import protoleak.runtime
for module in pkgutil.walk_packages(protoleak.runtime.__path__, "protoleak.runtime."):
    importlib.import_module(module.name)
from protoleak.cli.app import main
sys.exit(main(["screen", *sys.argv[2:], "--bundle", sys.argv[1]]))
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )


def test_every_module_of_the_runtime_imports_and_screens_where_heavy_packages_are_blocked(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    from PIL import Image

    from tests.tiny_bundle import make_image

    Image.fromarray(make_image(0, 1)).save(tmp_path / "x.png")
    done = python(SCREEN_WITHOUT_HEAVY_PACKAGES.format(blocked=BLOCKED), str(tiny_bundle), str(tmp_path / "x.png"))
    assert done.returncode == 0, done.stderr
    assert "1 verdict" in done.stdout


def test_a_generator_is_enrolled_where_heavy_packages_are_blocked(enrollable: Path, tmp_path: Path) -> None:
    from PIL import Image

    from tests.tiny_bundle import make_image

    (tmp_path / "new").mkdir()
    for index in range(20):
        Image.fromarray(make_image(None, index)).save(tmp_path / "new" / f"{index}.png")
    code = SCREEN_WITHOUT_HEAVY_PACKAGES.format(blocked=BLOCKED).replace(SCREENING, "main(sys.argv[1:])")
    options = ("--generator", "lemon", "--data", str(tmp_path / "new"), "--out", str(tmp_path / "out"))
    done = python(code, "enrol", str(enrollable), *options)
    assert done.returncode == 0, done.stderr
    assert "knows lemon" in done.stdout


def test_block_really_blocks() -> None:
    code = SCREEN_WITHOUT_HEAVY_PACKAGES.format(blocked=("numpy",))
    assert "must not be imported" in python(code, "x", "y").stderr


@pytest.mark.parametrize("module", ["numpy", "PIL", "onnxruntime", "cv2", "torch"])
def test_importing_protoleak_and_its_command_line_is_light(module: str) -> None:
    code = f"import sys, protoleak, protoleak.cli.app; sys.exit({module!r} in sys.modules)"
    assert python(code).returncode == 0


def test_public_names_are_found_on_the_package() -> None:
    import protoleak

    assert protoleak.Screener.__name__ == "Screener"
    assert issubclass(protoleak.BundleError, protoleak.ProtoleakError)
    for name in protoleak.__all__:
        assert getattr(protoleak, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        protoleak.nothing  # noqa: B018


def test_version_is_that_of_the_installed_package() -> None:
    import importlib.metadata

    import protoleak

    assert protoleak.__version__ == importlib.metadata.version("protoleak")
