"""The directory that a training writes its model to: checked before any work, and filled at the end."""

from __future__ import annotations

import shutil
from pathlib import Path

from protoleak.errors import CheckpointError, ProtoleakError
from protoleak.model.checkpoint import (
    LATENT_ENCODER_FOLDER,
    MODEL_FILE,
    WEIGHTS_FILE,
    TrainedModel,
    load_model,
    save_model,
)
from protoleak.strict_json import json_bytes
from protoleak.training.fit import FitResult
from protoleak.training.latents import Skipped
from protoleak.training.report import PAGE_FILE, html_page
from protoleak.training.state import STATE_FILE

REPORT_FILE = "training.json"


def check_place(out: Path, resume: bool, overwrite: bool) -> None:
    """Before any work is spent: `out` is new or empty, or holds a model or an unfinished run that may be touched.

    Raises:
        ProtoleakError: both options are given.
        CheckpointError: something else is there, or what is there would be lost.
    """
    if resume and overwrite:
        raise ProtoleakError("--resume keeps what is there and --overwrite replaces it: give one of them")
    if not out.exists():
        return
    if not out.is_dir() or (
        any(out.iterdir()) and not any((out / name).is_file() for name in (MODEL_FILE, STATE_FILE))
    ):
        raise CheckpointError(f"{out} exists and is not a model: choose another place, or move it away")
    if resume or overwrite:
        return
    if (out / STATE_FILE).is_file():
        raise CheckpointError(f"{out} holds an unfinished run: go on with --resume, or start anew with --overwrite")
    if (out / MODEL_FILE).is_file():
        raise CheckpointError(f"{out} holds a finished model: replace it with --overwrite, or give another --out")


def finished_model(out: Path, run: str) -> TrainedModel:
    """The model that a finished run left in `out`.

    Args:
        run: `provenance.run_hash` of what is asked for now.

    Raises:
        CheckpointError: it is of another run, or cannot be read.
    """
    model = load_model(out)
    if model.config.provenance.get("run") != run:
        raise CheckpointError(
            f"{out} holds a finished model of other settings, data or latent encoder: there is nothing to resume; "
            "replace it with --overwrite, or give another --out"
        )
    return model


def write_model(
    out: Path, model: TrainedModel, result: FitResult, report: dict[str, object], skipped: list[Skipped]
) -> None:
    """Moves the finished model into `out`. The state goes last: until then an interrupted run can go on from it."""
    staged = out / "finished"
    shutil.rmtree(staged, ignore_errors=True)
    save_model(staged, model)
    (staged / REPORT_FILE).write_bytes(json_bytes(report))
    lines = [f"{item.path}: {item.reason}" for item in skipped]
    (staged / PAGE_FILE).write_text(html_page(report, result.curves, lines), encoding="utf-8")
    (out / MODEL_FILE).unlink(missing_ok=True)
    shutil.rmtree(out / LATENT_ENCODER_FOLDER, ignore_errors=True)
    for name in (LATENT_ENCODER_FOLDER, WEIGHTS_FILE, REPORT_FILE, PAGE_FILE, MODEL_FILE):
        (staged / name).replace(out / name)
    staged.rmdir()
    (out / STATE_FILE).unlink(missing_ok=True)  # the solver "discriminants" keeps none
