"""The state of an unfinished training run, saved after every epoch, from which it goes on as if never interrupted."""

from __future__ import annotations

import io
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from protoleak.errors import CheckpointError, first_line
from protoleak.files import replacing

STATE_FILE = "training_state.pt"


@dataclass
class TrainingState:
    """Where a run stands after `epoch` epochs. Random numbers need no state: each epoch has its own seed.

    Attributes:
        run: hash of settings, data and latent encoder.
        network, optimizer: state dicts.
        best_network: the weights of the best validation result so far, those of epoch `best_epoch` (from 1).
        curves: one record per epoch.
    """

    run: str
    epoch: int
    network: dict[str, Any]
    optimizer: dict[str, Any]
    best_network: dict[str, Any]
    best_epoch: int
    curves: list[dict[str, float]]
    seconds: float


def save_state(path: Path, state: TrainingState) -> None:
    """Writes the state; an interruption leaves the one before it.

    Raises:
        OSError: the disk refused. PyTorch, were it to write the file, would say nothing of why.
    """
    content = io.BytesIO()
    torch.save(asdict(state), content)
    with replacing(path) as staged:
        staged.write_bytes(content.getbuffer())


def load_state(path: Path, run: str) -> TrainingState:
    """Reads what `save_state` wrote.

    Raises:
        CheckpointError: it is unreadable, or belongs to a run with other settings, data or latent encoder.
    """
    start_anew = "start anew with --overwrite, or give another --out"
    try:
        state = TrainingState(**torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is no readable training state ({first_line(error)}): {start_anew}") from error
    if state.run != run:
        raise CheckpointError(
            f"{path} belongs to a run with other settings, data or latent encoder ({state.run[:12]}…, this one is "
            f"{run[:12]}…): give the same as then to go on, {start_anew}"
        )
    return state
