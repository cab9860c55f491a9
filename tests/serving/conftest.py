"""A server on the small bundle, and images for it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.serving.running import ENGINE, RunningServer

pytest.importorskip("starlette", reason="the extra serve is not installed")


def png(kind: int | None, seed: int) -> bytes:
    """An image of the small bundle's class."""
    from tests.tiny_bundle import make_image

    buffer = io.BytesIO()
    Image.fromarray(make_image(kind, seed)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One image of each class and one of none."""
    folder = tmp_path_factory.mktemp("served")
    kinds = (0, 1, 2, None)
    for place, kind in enumerate(kinds):
        (folder / f"{place}.png").write_bytes(png(kind, place))
    return [folder / f"{place}.png" for place in range(len(kinds))]


@pytest.fixture(scope="session")
def server(tiny_bundle: Path) -> Iterator[RunningServer]:
    """With its defaults, on the small bundle."""
    with RunningServer(tiny_bundle, *ENGINE) as running:
        yield running
