"""Trains the attribution network on a data set and writes the model directory."""

from __future__ import annotations

import time
from pathlib import Path

from protoleak.bundle.bundle import DEFAULT_BUNDLE
from protoleak.bundle.reader import FACE_DETECTOR
from protoleak.dataset import Dataset
from protoleak.dataset_copies import refuse_copies
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.model.checkpoint import MODEL_FILE, TrainedModel
from protoleak.model.latent_encoder import LatentEncoder
from protoleak.model.model_config import LatentEncoderRecord, ModelConfig
from protoleak.progress import Progress, no_progress
from protoleak.training.encode import TrainingImages, encode_all, labelled_by_place
from protoleak.training.fit import FitResult, fit
from protoleak.training.inputs import Standardisation
from protoleak.training.model_directory import check_place, finished_model, write_model
from protoleak.training.noising import Noising
from protoleak.training.provenance import run_hash
from protoleak.training.record import data_hash_of, provenance_of, training_report
from protoleak.training.settings import TrainingSettings
from protoleak.training.state import STATE_FILE

DEFAULT_FACE_MODEL = DEFAULT_BUNDLE / FACE_DETECTOR


def train(
    dataset: Dataset,
    latent_encoder: LatentEncoder,
    settings: TrainingSettings,
    out: Path,
    *,
    negatives: Path | None = None,
    auxiliary: Path | None = None,
    face_model: Path = DEFAULT_FACE_MODEL,
    cache: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 0,
    progress: Progress = no_progress,
) -> TrainedModel:
    """Encodes the images once, trains, and writes the model and its report (JSON and HTML) to `out`.

    Unreadable images are skipped and listed in training.json. The test and calibration images are not read.

    Args:
        dataset: from `read_dataset`.
        latent_encoder: frozen.
        out: of the model directory.
        negatives: folder of images of no class, pushed away from every class.
        auxiliary: folder with a folder per generator that is learnt, so that the classes differ from it, and never
            named: siblings of the classes are worth most (docs/decisions/0010-auxiliary-generators.md).
        face_model: a YuNet ONNX file, used where a look depends on the face.
        cache: folder of cached latents, or None to keep none.
        resume: go on from the state that an interrupted run left in `out`; where that run is finished, its model is
            given back.
        overwrite: replace the model or the unfinished run that is in `out`.
        workers: processes that make views of images while others are encoded; 0 for threads. With any number the
            result is the same, and a script that asks for some needs `if __name__ == "__main__":`.
        progress: called often; every encoding and every epoch is a stage.

    Returns:
        The model of the epoch that `settings.keep` asks for; the network is in evaluation mode.

    Raises:
        ProtoleakError: the settings don't fit the latents.
        DatasetError: a class without a readable training or validation image, or no readable negative, or an auxiliary
            generator without a readable image or of a class's name; or an image whose very bytes are in two splits or
            two classes.
        CheckpointError: `out` is no place for a model, or holds one that is neither to be resumed nor overwritten, or
            what is there to resume belongs to another run.
        EngineError: a latent or the loss is not finite, or a worker ended before its time.
    """
    started = time.monotonic()
    check_place(out, resume, overwrite)
    listed = TrainingImages.of(dataset, negatives, auxiliary)
    refuse_copies(dataset, {"negatives": listed.negative_images or (), **listed.auxiliary_images})
    latent_shape = latent_encoder.latent_shape(settings.image_size)
    settings.check_latent(latent_shape)
    framer = Framer(settings.framing, LargestFace(face_model) if settings.framing.needs_face else None)
    encoded = encode_all(listed, latent_encoder, settings, framer, cache, workers, progress)
    data_hash = data_hash_of(listed, encoded)
    found_by = [framer.face_model] if framer.find is not None else []
    run = run_hash(settings, dataset.generators, dataset.real_class, data_hash, latent_encoder.fingerprint, *found_by)
    if resume and not (out / STATE_FILE).exists() and (out / MODEL_FILE).exists():
        return finished_model(out, run)
    if not resume:
        (out / STATE_FILE).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    network = settings.network(latent_shape, len(dataset.generators))
    standardisation = Standardisation.of(encoded.train.latents.z0) if settings.standardise else None
    result = fit(
        network,
        settings,
        Noising.of(settings, latent_shape),
        encoded.train.latents,
        encoded.validation.latents,
        None if encoded.negatives is None else encoded.negatives.z0,
        run,
        out / STATE_FILE,
        progress,
        labelled_by_place(list(encoded.auxiliary.values())) if encoded.auxiliary else None,
        standardisation=standardisation,
        real=None if dataset.real_class is None else dataset.generators.index(dataset.real_class),
    )
    provenance = provenance_of(listed, encoded, settings, result, run, data_hash)
    model = _model(dataset, latent_encoder, settings, standardisation, result, provenance)
    report = training_report(provenance, result, encoded.skipped, time.monotonic() - started)
    write_model(out, model, result, report, encoded.skipped)
    return model


def _model(
    dataset: Dataset,
    latent_encoder: LatentEncoder,
    settings: TrainingSettings,
    standardisation: Standardisation | None,
    result: FitResult,
    provenance: dict[str, object],
) -> TrainedModel:
    config = ModelConfig(
        generators=list(dataset.generators),
        real_class=dataset.real_class,
        image_size=settings.image_size,
        timesteps=list(settings.timesteps),
        noise_seed=settings.noise_seed,
        low_frequency_components=settings.low_frequency_components,
        latent_shape=latent_encoder.latent_shape(settings.image_size),
        attributor=result.attributor.config,
        latent_encoder=LatentEncoderRecord(latent_encoder.kind, latent_encoder.fingerprint),
        looks=settings.looks,
        face_margin=settings.face_margin,
        amplitudes=settings.amplitudes,
        latent_mean=None if standardisation is None else standardisation.mean.flatten().tolist(),
        latent_spread=None if standardisation is None else standardisation.spread.flatten().tolist(),
        provenance=provenance,
    )
    return TrainedModel(config, result.attributor, latent_encoder)
