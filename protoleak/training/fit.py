"""The training loop: latents in, weights out. It knows nothing of files but the state that it goes on from."""

from __future__ import annotations

import copy
import ctypes
import hashlib
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import torch

from protoleak.errors import EngineError
from protoleak.metrics.scores import macro_auc_softmax
from protoleak.model.attributor import PROTOTYPE_SPREAD, Attributor, AttributorConfig
from protoleak.progress import Progress, no_progress
from protoleak.training.batches import balanced_order, batches, endless
from protoleak.training.losses import class_loss, entropy_loss, mixed_negatives, uniform_loss
from protoleak.training.noising import Noising
from protoleak.training.settings import TrainingSettings
from protoleak.training.state import TrainingState, load_state, save_state

LARGEST_GRADIENT_NORM = 5.0  # as published
EVALUATION_BATCH = 64
STANDARDISED_ON = 1024  # latents: their channels' mean and spread are known to a thousandth then
PROTOTYPES = "proto_head.protos"  # in a network's weights
# mallopt(3). The parameters are those of glibc's malloc.h, which Python's standard library doesn't name.
TRIM_THRESHOLD, MMAP_MAX = -1, -4
NEVER_TRIM, NO_MAPPINGS = -1, 0


@dataclass(frozen=True)
class Latents:
    """Latents in memory.

    Attributes:
        z0: float32 or float16 [n, L, C, h, w], as the latent encoder gives it.
        labels: int64 [n], index of the generator.
        sources: int64 [n], index of the collection within the generator; None for one collection each.
    """

    z0: torch.Tensor
    labels: torch.Tensor
    sources: torch.Tensor | None = None


@dataclass(frozen=True)
class Standardisation:
    """What brings each channel of the latents to mean 0 and variance 1: float32 [C, 1, 1] both."""

    mean: torch.Tensor
    spread: torch.Tensor

    @classmethod
    def of(cls, z0: torch.Tensor) -> Standardisation:
        """Over latents [n, L, C, h, w], of which at most STANDARDISED_ON, spread evenly, are read."""
        part = z0[:: max(1, len(z0) // STANDARDISED_ON)].float()
        over = (0, 1, 3, 4)
        return cls(part.mean(dim=over).reshape(-1, 1, 1), part.std(dim=over).clamp_min(1e-6).reshape(-1, 1, 1))

    @classmethod
    def none(cls) -> Standardisation:
        """Leaves latents as they are."""
        return cls(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))

    def __call__(self, z0: torch.Tensor) -> torch.Tensor:
        """float32 of the same shape."""
        return (z0.float() - self.mean) / self.spread


@dataclass(frozen=True)
class FitResult:
    """The network with the weights of its best epoch, in evaluation mode, and how it came to them."""

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
        progress: called after every step, with a stage for every epoch.
        standardisation: of the latents.
        real: label of the class of camera originals, or None.
        auxiliary: of generators that are learnt as classes of their own and then forgotten: the network that is given
            back has prototypes of `config`'s classes alone. Labels from 0, every one of which has a latent.

    Raises:
        CheckpointError: the state belongs to another run.
        EngineError: the loss or its gradient is no longer finite.
    """
    standardisation = standardisation or Standardisation.none()
    turns_of = {} if real is None else {real: settings.real_turns}
    with torch.random.fork_rng(devices=[]):
        if auxiliary is not None:
            train = _with_auxiliary(train, auxiliary, config.generators)
        network, optimizer = _initial(config if auxiliary is None else _with_classes(config, auxiliary), settings)
        state = _resumed(network, optimizer, run, state_file)
        while state.epoch < settings.epochs and state.epoch - state.best_epoch < settings.patience:
            started = time.monotonic()
            torch.manual_seed(_seed(settings.seed, f"epoch {state.epoch}"))
            order = balanced_order(train.labels, len(train.labels), train.sources, turns_of)
            parts = list(batches(order, settings.batch_size))
            report = partial(progress, f"epoch {state.epoch + 1} of {settings.epochs}")
            steps = len(parts) + 1  # the last one is validation
            inputs = _Inputs(noising, standardisation, train, negatives)
            record = _train_epoch(network, optimizer, settings, inputs, parts, state, report)
            record |= evaluate(network, noising, standardisation, validation, config.generators)
            measured = f"loss {record['training_loss']:.3f}, validation AUC {record['validation_macro_auc']:.4f}"
            report(steps, steps, measured)
            _keep(state, network, optimizer, record)
            state.seconds += time.monotonic() - started
            if state_file is not None:
                save_state(state_file, state)
    return FitResult(_named_only(config, state.best_network), state.best_epoch, state.curves, state.seconds)


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


def _keep(
    state: TrainingState, network: Attributor, optimizer: torch.optim.Optimizer, record: dict[str, float]
) -> None:
    """Takes an epoch into the state, and its weights where they are the best so far."""
    state.curves.append(record)
    state.epoch += 1
    if state.best_epoch == 0 or _quality(record) > _quality(state.curves[state.best_epoch - 1]):
        state.best_epoch, state.best_network = state.epoch, copy.deepcopy(network.state_dict())
    state.network, state.optimizer = network.state_dict(), optimizer.state_dict()


def _with_auxiliary(train: Latents, auxiliary: Latents, generators: int) -> Latents:
    """Both, the auxiliary generators' labels behind those of the classes."""
    sources = None
    if train.sources is not None:
        of_auxiliary = torch.zeros_like(auxiliary.labels) if auxiliary.sources is None else auxiliary.sources
        sources = torch.cat([train.sources, of_auxiliary])
    z0 = torch.cat([train.z0, auxiliary.z0])
    return Latents(z0, torch.cat([train.labels, auxiliary.labels + generators]), sources)


@dataclass(frozen=True)
class _Inputs:
    """What an epoch draws from."""

    noising: Noising
    standardisation: Standardisation
    train: Latents
    negatives: torch.Tensor | None


def _with_classes(config: AttributorConfig, auxiliary: Latents) -> AttributorConfig:
    return msgspec.structs.replace(config, generators=config.generators + int(auxiliary.labels.max()) + 1)


def _named_only(config: AttributorConfig, weights: dict[str, torch.Tensor]) -> Attributor:
    """The network without the prototypes of auxiliary classes, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        network = Attributor(config)
    network.load_state_dict({**weights, PROTOTYPES: weights[PROTOTYPES][: config.generators]})
    return network.eval()


def evaluate(
    network: Attributor, noising: Noising, standardisation: Standardisation, latents: Latents, generators: int
) -> dict[str, float]:
    """Cross entropy and macro AUC (softmax over generators) of latents, with the frozen noise bank.

    Args:
        generators: how many of the network's classes count; those after them are auxiliary.
    """
    network.eval()
    with torch.no_grad():
        parts = torch.split(latents.z0, EVALUATION_BATCH)
        scores = [network(noising.with_bank(standardisation(z0))).class_score for z0 in parts]
        class_score = torch.cat(scores)[:, :generators]
    return {
        "validation_loss": float(class_loss(class_score, latents.labels)),
        "validation_macro_auc": macro_auc_softmax(latents.labels.numpy(), class_score.numpy()),
    }


def _quality(record: dict[str, float]) -> tuple[float, float]:
    """Greater is better. The AUC of a small validation set soon stays at 1; the loss still tells epochs apart."""
    return round(record["validation_macro_auc"], 6), -record["validation_loss"]


def _train_epoch(
    network: Attributor,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    inputs: _Inputs,
    parts: list[torch.Tensor],
    state: TrainingState,
    report: Callable[[int, int, str], None],
) -> dict[str, float]:
    """Trains on the latents of each part, in turn; `report` is called after every step."""
    network.train()
    train, negatives = inputs.train, inputs.negatives
    share = 0.0 if negatives is None else settings.negatives_share
    counts = [math.ceil(share * len(part)) for part in parts]
    negative_order = endless(torch.arange(0 if negatives is None else len(negatives)), sum(counts))
    total = 0.0
    for step, (part, chosen) in enumerate(zip(parts, torch.split(negative_order, counts), strict=True)):
        done = (state.epoch + step / len(parts)) / settings.epochs
        for group in optimizer.param_groups:  # a function of the step alone, so that there is no schedule to resume
            group["lr"] = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        given = train.z0[:0] if negatives is None else negatives[chosen]
        z0, outside = inputs.standardisation(train.z0[part]), inputs.standardisation(given)
        loss = _loss(network, settings, inputs.noising, z0, train.labels[part], outside)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT_NORM)
        if not bool(torch.isfinite(loss)) or not bool(torch.isfinite(norm)):
            raise EngineError(
                f"training diverged in epoch {state.epoch + 1} (loss {float(loss.detach())}, gradient norm "
                f"{float(norm)}): lower the learning rate, now {settings.learning_rate}"
            )
        optimizer.step()
        total += float(loss.detach())
        mean = total / (step + 1)
        report(step + 1, len(parts) + 1, f"loss {mean:.3f}")
    return {"epoch": state.epoch + 1, "training_loss": total / len(parts)}


def _loss(
    network: Attributor,
    settings: TrainingSettings,
    noising: Noising,
    z0: torch.Tensor,
    labels: torch.Tensor,
    given: torch.Tensor,
) -> torch.Tensor:
    """Everything goes through the network as one batch, so that batch normalisation sees what it will see deployed."""
    count = math.ceil(settings.mixed_share * len(z0)) if settings.mixed_negatives else 0
    mixed = mixed_negatives(z0, labels, count)
    images = torch.cat([z0, mixed, given])
    dropped = _dropped(len(images), network.config.timesteps, settings.timestep_dropout)
    kept = noising.with_fresh_noise(images, ~dropped, torch.bfloat16 if settings.bfloat16 else torch.float32)
    h, g = embed_kept(network, kept, dropped)
    embedding, gate, timestep_weight = network.pool(h, g, dropped)
    class_score = network.class_score(network.prototype_distance(embedding, gate))
    of_class, of_mixed, of_given = torch.split(class_score, [len(z0), len(mixed), len(given)])
    loss = class_loss(of_class, labels, settings.label_smoothing) + settings.entropy_weight * entropy_loss(
        timestep_weight[: len(z0)]
    )
    for scores in (of_mixed, of_given):
        if len(scores):
            loss = loss + settings.negatives_weight * uniform_loss(scores)
    return loss


def _dropped(images: int, positions: int, share: float) -> torch.Tensor:
    """bool [N, L·T]: the same number of positions, the share of them but never all, for every image.

    The same number, because a library that prepares each convolution for its shape does so anew for every other shape,
    which takes longer than the convolution.
    """
    count = min(round(share * positions), positions - 1)
    ranks = torch.rand(images, positions).argsort(dim=1)
    return ranks < count


def embed_kept(network: Attributor, kept: torch.Tensor, dropped: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `Attributor.embed_timesteps`, of the timesteps that are not dropped: what it gives for the others is 0.

    Args:
        kept: float32 or bfloat16 [kept, C', h, w], the type that the encoder is to compute in.
        dropped: bool [N, T].
    """
    bfloat16 = kept.dtype == torch.bfloat16
    if bfloat16:  # its convolutions are fast in this layout only
        kept = kept.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        embedded = network.embed(kept, torch.nonzero(~dropped)[:, 1]).float()
    h = embedded.new_zeros(*dropped.shape, embedded.shape[1])
    h[~dropped] = embedded
    g = network.backbone.att.gate(h) if network.config.gate else torch.ones_like(h)
    return h, g


def keep_freed_memory() -> bool:
    """Has this process keep the memory that it frees, for its next allocation. Call it before the first large one.

    glibc gives every large block back to the system at once and asks for it anew, so that each tensor of each step is
    cleared and mapped page by page again: with latents of 32×32×32 that takes several times as long as the arithmetic
    (`benchmarks/training.py`). The price is that the process stays as large as it ever was.

    Returns:
        Whether it was done; elsewhere than on glibc there is nothing to do.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    allocator = ctypes.CDLL(None)
    return bool(allocator.mallopt(MMAP_MAX, NO_MAPPINGS)) and bool(allocator.mallopt(TRIM_THRESHOLD, NEVER_TRIM))


def _seed(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose, so that an epoch's random numbers don't depend on those before it."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:8], "big") >> 1
