"""Trains an attribution network on a folder of images and writes the bundle, as `protoleak train` and `export` do.

    python examples/train_a_bundle.py DATA

DATA is drawn where it isn't there yet (draw_images.py). DATA/model and DATA/bundle are written, in a few minutes on two
cores. evaluate_a_bundle.py then measures the bundle.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from draw_images import draw_data

import protoleak
from protoleak.dataset import read_dataset
from protoleak.export.export import export_bundle
from protoleak.export.settings import ExportSettings
from protoleak.model.latent_encoder import load_latent_encoder
from protoleak.progress import shown_progress
from protoleak.training.settings import TrainingSettings
from protoleak.training.train import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DATA")
    parser.add_argument("--images", type=int, default=120, help="of each class, where they are drawn")
    parser.add_argument("--epochs", type=int, default=15)
    options = parser.parse_args()
    data = options.folder
    if not data.exists():
        draw_data(data, options.images)

    dataset = read_dataset(data / "known", real_class="camera")
    encoder = load_latent_encoder(str(data / "latent_encoder.onnx"), input_range=(0, 255))
    # Few timesteps and no altered views: enough for drawings. Left out, they are what photographs need.
    training = TrainingSettings(timesteps=(0, 100), views=0, epochs=options.epochs)
    with shown_progress() as progress:
        model = train(dataset, encoder, training, data / "model", overwrite=True, progress=progress)
        export = ExportSettings(name="drawings", unknown=data / "unknown")
        result = export_bundle(model, dataset, data / "bundle", export, progress)
    print(f"the exported graphs differ from PyTorch by {max(row.relative for row in result.parity):.0e} at most")

    with protoleak.load(data / "bundle") as screener:
        for image in sorted(data.glob("*known/*/*.jpg"))[
            options.images - 1 :: options.images
        ]:  # the last of each class is for tests
            verdict = screener(image)[0]
            print(f"{image.relative_to(data)}: {verdict.label}, nearest {verdict.nearest}, p = {verdict.p_value:.2f}")


if __name__ == "__main__":
    main()
