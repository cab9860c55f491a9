"""The training loop: latents in, weights out. It knows nothing of files but the state that it goes on from."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import torch

from protoleak.choices import Keep
from protoleak.errors import ProtoleakError
from protoleak.metrics.scores import macro_auc_softmax
from protoleak.model.attributor import PROTOTYPE_SPREAD, Attributor, AttributorConfig
from protoleak.progress import Progress, no_progress
from protoleak.training.auxiliary import config_with_auxiliary, latents_with_auxiliary, named_network
from protoleak.training.batches import balanced_order, batches
from protoleak.training.descent import train_epoch
from protoleak.training.discriminants import set_discriminants
from protoleak.training.inputs import Inputs, Latents, Standardisation, StatisticsInputs, inputs_of
from protoleak.training.joined import Shares
from protoleak.training.losses import class_loss
from protoleak.training.noising import Noising
from protoleak.training.settings import TrainingSettings
from protoleak.training.state import TrainingState, load_state, save_state
from protoleak.training.statistics import draw_shares


@dataclass(frozen=True)
class FitResult:
    """The network with the weights of the epoch that is kept, in evaluation mode, and how it came to them; `best_epoch`
    is that epoch, from 1."""

    attributor: Attributor
    best_epoch: int
    curves: list[dict[str, float]]
    seconds: float


def fit(
    config: AttributorConfig,
    settings: TrainingSettings,
    noising: Noising,
    train: Latents,
    validation: Latents,
    negatives: torch.Tensor | None,
    run: str,
    state_file: Path | None = None,
    progress: Progress = no_progress,
    auxiliary: Latents | None = None,
    *,
    standardisation: Standardisation | None = None,
    real: int | None = None,
) -> FitResult:
    """Trains a network; deterministic given settings, data, machine and number of threads.

    Args:
        config: of the network; its class names are the labels of both sets.
        train, validation: latents of both sets; validation holds at least one of each class.
        negatives: [m, L, C, h, w], latents of images of no class, or None.
        run: hash that a state must carry to be gone on from.
        state_file: written after every epoch, and gone on from if it is there. None for no state.
        progress: called after every step of descent, with a stage for every epoch.
        standardisation: of the latents.
        real: label of the class of camera originals, or None.
        auxiliary: of generators that are learnt as classes of their own and then forgotten: the network that is given
            back has prototypes of `config`'s classes alone. Labels from 0, every one of which has a latent.

    Raises:
        CheckpointError: the state belongs to another run.
        EngineError: the loss or its gradient is no longer finite.
        ProtoleakError: the solver has no room for so many classes, or makes nothing of negatives and is given some.
    """
    if settings.solver == "discriminants" and negatives is not None:
        raise ProtoleakError("solver discriminants takes no negatives: leave them out, or use solver descent")
    standardisation = standardisation or Standardisation.none()
    turns_of = {} if real is None else {real: settings.real_turns}
    with torch.random.fork_rng(devices=[]):
        if auxiliary is not None:
            train = latents_with_auxiliary(train, auxiliary, config.generators)
        inputs = inputs_of(settings, noising, standardisation, train, validation, negatives, turns_of)
        learnt = config if auxiliary is None else config_with_auxiliary(config, auxiliary)
        both = Shares.of(learnt) if settings.solver == "both" else None
        network, optimizer = _initial(learnt if both is None else both.descent, settings)
        if isinstance(inputs, StatisticsInputs) and settings.solver == "discriminants":
            return _solved(config, network, inputs, train, validation.labels, turns_of)
        state = _resumed(network, optimizer, run, state_file)
        while state.epoch < settings.epochs and state.epoch - state.best_epoch < settings.patience:
            started = time.monotonic()
            torch.manual_seed(_seed(settings.seed, f"epoch {state.epoch}"))
            order = balanced_order(train.labels, len(train.labels), train.sources, turns_of)
            parts = list(batches(order, settings.batch_size))
            report = partial(progress, f"epoch {state.epoch + 1} of {settings.epochs}")
            steps = len(parts) + 1  # the last one is validation
            record = train_epoch(network, optimizer, settings, inputs, train.labels, parts, state.epoch, report)
            record |= evaluate(network, inputs, validation.labels, config.generators)
            measured = f"loss {record['training_loss']:.3f}, validation AUC {record['validation_macro_auc']:.4f}"
            report(steps, steps, measured)
            _take(state, network, optimizer, record, settings.keep)
            state.seconds += time.monotonic() - started
            if state_file is not None:
                save_state(state_file, state)
        weights = state.best_network
        if both is not None:
            assert isinstance(inputs, StatisticsInputs)
            shares = draw_shares(train.labels, train.sources, turns_of)
            network = _beside_discriminants(both, weights, inputs, train.labels, shares)
            state.curves[state.best_epoch - 1] |= evaluate(network, inputs, validation.labels, config.generators)
            weights = network.state_dict()
            config = msgspec.structs.replace(config, levelled=both.descent.embedding_size)
    attributor = named_network(config, weights)
    inputs.finish(attributor)
    return FitResult(attributor, state.best_epoch, state.curves, state.seconds)


def _beside_discriminants(
    both: Shares,
    weights: dict[str, torch.Tensor],
    inputs: StatisticsInputs,
    labels: torch.Tensor,
    shares: torch.Tensor,
) -> Attributor:
    """What descent has learnt, and discriminants of the same whitened statistics, as one network that takes them."""
    discriminants = Attributor(both.discriminants)
    set_discriminants(discriminants, inputs, labels, shares)
    return both.join(weights, discriminants.state_dict())


def _solved(
    config: AttributorConfig,
    network: Attributor,
    inputs: StatisticsInputs,
    train: Latents,
    validation_labels: torch.Tensor,
    turns_of: Mapping[int, int],
) -> FitResult:
    """The weights of the discriminants. There is a single epoch to report, and no state to go on from."""
    started = time.monotonic()
    shares = draw_shares(train.labels, train.sources, turns_of)
    set_discriminants(network, inputs, train.labels, shares)
    with torch.no_grad():
        training_loss = float(class_loss(inputs.scores(network, inputs.train), train.labels))
    record = {"epoch": 1, "training_loss": training_loss}
    record |= evaluate(network, inputs, validation_labels, config.generators)
    attributor = named_network(config, network.state_dict())
    inputs.finish(attributor)
    return FitResult(attributor, 1, [record], time.monotonic() - started)


def _initial(config: AttributorConfig, settings: TrainingSettings) -> tuple[Attributor, torch.optim.Optimizer]:
    """The network with its first weights, and its optimizer."""
    torch.manual_seed(_seed(settings.seed, "initial weights"))
    network = Attributor(config)
    with torch.no_grad():
        network.prototypes.mul_(settings.prototype_spread / PROTOTYPE_SPREAD)
    if settings.bfloat16:  # bfloat16 convolutions are fast in this layout only
        network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return network, optimizer


def _resumed(network: Attributor, optimizer: torch.optim.Optimizer, run: str, state_file: Path | None) -> TrainingState:
    """The state that an interrupted run left, with network and optimizer as they were then; else that of a new run."""
    if state_file is None or not state_file.exists():
        return TrainingState(run, 0, network.state_dict(), optimizer.state_dict(), {}, 0, [], 0.0)
    state = load_state(state_file, run)
    network.load_state_dict(state.network)
    optimizer.load_state_dict(state.optimizer)
    return state


def _take(
    state: TrainingState,
    network: Attributor,
    optimizer: torch.optim.Optimizer,
    record: dict[str, float],
    keep: Keep,
) -> None:
    """Takes an epoch into the state, and its weights where they are the best so far, or the last are to be kept."""
    state.curves.append(record)
    state.epoch += 1
    if keep == "last" or state.best_epoch == 0 or _quality(record) > _quality(state.curves[state.best_epoch - 1]):
        state.best_epoch, state.best_network = state.epoch, copy.deepcopy(network.state_dict())
    state.network, state.optimizer = network.state_dict(), optimizer.state_dict()


def evaluate(network: Attributor, inputs: Inputs, labels: torch.Tensor, generators: int) -> dict[str, float]:
    """Cross entropy and macro AUC (softmax over generators) of the validation images, with the frozen noise bank.

    Args:
        labels: int64 [v], of the validation images.
        generators: how many of the network's classes count; those after them are auxiliary.
    """
    network.eval()
    with torch.no_grad():
        class_score = inputs.validation_scores(network)[:, :generators]
    return {
        "validation_loss": float(class_loss(class_score, labels)),
        "validation_macro_auc": macro_auc_softmax(labels.numpy(), class_score.numpy()),
    }


def _quality(record: dict[str, float]) -> tuple[float, float]:
    """Greater is better. The AUC of a small validation set soon stays at 1; the loss still tells epochs apart."""
    return round(record["validation_macro_auc"], 6), -record["validation_loss"]


def _seed(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose, so that an epoch's random numbers don't depend on those before it."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:8], "big") >> 1
