"""Verdicts on images, on images of which some are damaged, and on the faces in one image.

    python examples/screen_images.py [IMAGE …]

Left out, the images are those beside this file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import protoleak

HERE = Path(__file__).parent


def main() -> None:
    images = [Path(name) for name in sys.argv[1:]] or sorted((HERE / "images").glob("*.*"))
    with protoleak.load() as screener:
        print(f"{screener.bundle.manifest.name} bundle, {screener.engine.name}, α = {screener.alpha:g}")

        # All at once: the first image that cannot be read ends it with a MediaError.
        first = screener(images[0])[0]
        print(f"{images[0].name}: {first.label}, p = {first.p_value:.3f}")
        print(f"  nearest to prototype {first.why.nearest_prototype.index} of {first.nearest}")

        # One by one: an image that cannot be read is an outcome, and the others go on.
        for outcome in screener.each([*images[1:], b"no image at all"]):
            if isinstance(outcome, protoleak.ProtoleakError):
                print(f"error: {outcome}")
            else:
                name = Path(outcome.source or "").name
                print(f"{name}: {outcome.label}{f' ({outcome.generator})' if outcome.generator else ''}")

        # Face by face, as they are found in an image.
        for face in screener.faces(HERE / "images" / "photograph.jpg"):
            box = face.box
            print(f"face of {box.width:.0f}×{box.height:.0f} pixels at ({box.left:.0f}, {box.top:.0f}): {face.label}")


if __name__ == "__main__":
    main()
