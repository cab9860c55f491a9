"""Training images through an autoencoder of another diffusion model: an auxiliary generator that any data set gives.

A step of build.py:

    python tools/default_bundle/reconstructions.py --data DATA --encoder taef2_encoder.onnx \\
        --decoder taef2_decoder.onnx --out WORK/auxiliary/autoencoder

What a decoder leaves in an image is the better part of a diffusion model's trace. Photographs of known cameras that
went through one differ from themselves in nothing else: learnt as a class of their own, they teach the network to
look at that, and not at what is shown or how it was photographed. Written as PNG, faces in the middle.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, its own folder is there instead

from protoleak.arrays import Float32Array, UInt8Array
from protoleak.errors import MediaError
from protoleak.faces.largest import LargestFace
from protoleak.images.open import open_image
from protoleak.training.train import DEFAULT_FACE_MODEL
from tools.default_bundle.sources import CAMERAS, KNOWN, parts_of

SIDE = 384  # of what goes through the autoencoder, in pixels
SMALLEST_REGION = 128
CLOSEST, WIDEST = 1.6, 3.2  # side of the region, in sides of the face
EVERY_PHOTOGRAPH, EVERY_GENERATED = 2, 4  # so many of the training images are taken
GENERATED = ("stable_diffusion_3", "flux1_dev", "grok2_image")  # those with images enough

Network = Callable[[Float32Array], Float32Array]


def main() -> None:
    arguments = parse_arguments()
    encoder, decoder = network(arguments.encoder), network(arguments.decoder)
    find = LargestFace(DEFAULT_FACE_MODEL)
    for collection in (*CAMERAS, *(one for one in KNOWN if one.label in GENERATED)):
        parts = parts_of(arguments.data, collection)
        step = EVERY_GENERATED if collection in KNOWN else EVERY_PHOTOGRAPH
        for file in [file for file, part in parts.items() if part == "train"][::step]:
            out = arguments.out / collection.name / f"{file.stem}.png"
            if out.exists():
                continue
            try:
                region = face_region(file, find)
            except MediaError as error:
                print(f"skipped: {error}")
                continue
            out.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(through(region, encoder, decoder)).save(out)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "encoder", "decoder", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


def network(file: Path) -> Network:
    """One input, one output, float32, convolutional: an ONNX file as a function of images of any size."""
    import onnx
    import onnxruntime

    model = onnx.load(file)
    del model.graph.value_info[:]  # shapes of the size that it was exported with
    for value in (*model.graph.input, *model.graph.output):
        for axis in (2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{axis}"
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda given: np.asarray(session.run(None, {name: given})[0])


def face_region(file: Path, find: LargestFace) -> Image.Image:
    """A square around the largest face, of a size that the file's name decides, resized to SIDE."""
    image = open_image(file, upright=True).image
    face = find(image).box
    key = np.frombuffer(hashlib.sha256(file.name.encode()).digest()[:16], dtype=np.uint64)
    times = np.random.Generator(np.random.Philox(key=key)).uniform(CLOSEST, WIDEST)
    side = int(min(*image.size, max(times * max(face.width, face.height), SMALLEST_REGION)))
    left, top = (
        int(min(max(middle - side / 2, 0), length - side))
        for middle, length in zip(face.centre, image.size, strict=True)
    )
    return image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def through(image: Image.Image, encoder: Network, decoder: Network) -> UInt8Array:
    """uint8 [SIDE, SIDE, 3]: what the autoencoder makes of an image."""
    planes = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)[None] / 255
    made = decoder(encoder(np.ascontiguousarray(planes)))[0].transpose(1, 2, 0)
    return np.clip(np.rint(made * 255), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
