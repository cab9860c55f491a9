"""What a zoo is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zoo.settings import ZooSettings
from zoo.sources import Source, read_collection

SYNTHETIC = "sd3"
COLLECTIONS = {SYNTHETIC: "portraits-sd3", "portraits": "real-portraits", "headshots": "real-headshots"}


@dataclass(frozen=True)
class Inputs:
    """Where a zoo's material lies.

    Attributes:
        data: holds portraits-sd3/, real-portraits/ and real-headshots/.
        encoder, decoder: the diffusion autoencoder, as ONNX.
        photographs: a folder with JPEG photographs of other things than faces.
        dcgan: weights of the DCGAN; without them that generator is left out.
    """

    data: Path
    encoder: Path
    decoder: Path
    photographs: Path
    dcgan: Path | None


def read_sources(data: Path, settings: ZooSettings) -> list[Source]:
    """The source images, collection by collection, in order of name.

    Raises:
        DatasetError: a collection is missing or empty.
    """
    return [
        source
        for collection, folder in COLLECTIONS.items()
        for source in read_collection(data / folder, collection)[: settings.sources_per_collection]
    ]
