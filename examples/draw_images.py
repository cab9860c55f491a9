"""Draws a small data set, and takes a latent encoder to learn it with: all can be tried without a download.

    python examples/draw_images.py DATA

    DATA/known/camera/                       drawn scenes, which play the camera originals
    DATA/known/{nearest,bilinear,bicubic}/   the same scenes at half the size, enlarged again: three "generators"
    DATA/unknown/{lanczos,quarter}/          two more, which training never sees
    DATA/known/Split.json                    which scenes are for training, validation, calibration and test
    DATA/latent_encoder.onnx                 that of the default bundle, for images in 0…255 of shape [N, 3, 256, 256]

The same scene has the same name in every folder, so that all that is made of it falls into the same split. These are
toys: what a network learns of them is worth nothing on photographs and on images of real generators.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from protoleak import Bundle

SIDE = 256
SHARES = {"train": 0.5, "val": 0.1, "calibration": 0.2, "test": 0.2}
ENLARGED = {
    "known/nearest": (2, Image.Resampling.NEAREST),
    "known/bilinear": (2, Image.Resampling.BILINEAR),
    "known/bicubic": (2, Image.Resampling.BICUBIC),
    "unknown/lanczos": (2, Image.Resampling.LANCZOS),
    "unknown/quarter": (4, Image.Resampling.BICUBIC),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DATA")
    parser.add_argument("--images", type=int, default=120, help="of each class")
    options = parser.parse_args()
    draw_data(options.folder, options.images)


def draw_data(folder: Path, count: int) -> None:
    """All of it, with `count` images of each class."""
    draw_images(folder, count)
    write_latent_encoder(folder / "latent_encoder.onnx")
    print(f"{folder}: {count} images each of known/camera, {', '.join(ENLARGED)}; latent_encoder.onnx")


def draw_images(folder: Path, count: int) -> None:
    """`count` scenes, each as it is and enlarged in every way."""
    for name in ("known/camera", *ENLARGED):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = scene(number)
        versions = {"known/camera": image}
        for name, (factor, filtered) in ENLARGED.items():
            small = image.resize((SIDE // factor, SIDE // factor), Image.Resampling.BOX)
            versions[name] = small.resize((SIDE, SIDE), filtered)
        for name, version in versions.items():
            version.save(folder / name / f"{number:04d}.jpg", quality=95, subsampling=0)
    (folder / "known" / "Split.json").write_text(json.dumps(split(count)))


def split(count: int) -> dict[str, list[int]]:
    """Split → the numbers of its scenes."""
    numbers, end, parts = list(range(count)), 0.0, {}
    for name, share in SHARES.items():
        start, end = end, end + share * count
        parts[name] = numbers[round(start) : round(end)]
    return parts


def scene(seed: int) -> Image.Image:
    """Coloured 1/f noise, as natural images have, and some shapes with sharp edges before it."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    spectrum = np.fft.rfft2(random.standard_normal((3, SIDE, SIDE))) / np.maximum(frequency, 1 / SIDE)
    noise = np.fft.irfft2(spectrum, (SIDE, SIDE))
    pixels = 128 + 40 * noise / noise.std() + random.normal(0, 20, (3, 1, 1))
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).transpose(1, 2, 0))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = random.integers(0, SIDE, 2)
        width, height = random.integers(10, SIDE // 3, 2)
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        draw.ellipse((left, top, left + width, top + height), outline=colour, width=int(random.integers(1, 9)))
    return image


def write_latent_encoder(path: Path) -> None:
    """The default bundle's latent encoder, which takes uint8 [N, S, S, 3], as a graph for float [N, 3, S, S]."""
    import onnx
    from onnx import TensorProto, helper

    bundle = Bundle.load()
    model = onnx.load_from_string(bundle.variant("fp32").latent_encoder)
    image = model.graph.input[0].name
    side = bundle.manifest.preprocessing.image_size
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["channels_last"], perm=[0, 2, 3, 1]),
        helper.make_node("Round", ["channels_last"], ["whole"]),
        helper.make_node("Cast", ["whole"], [image], to=TensorProto.UINT8),
        *model.graph.node,
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, side, side])
    graph = helper.make_graph(nodes, "latent_encoder", [pixels], model.graph.output, model.graph.initializer)
    float_model = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    path.write_bytes(float_model.SerializeToString())


if __name__ == "__main__":
    main()
