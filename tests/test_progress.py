"""Progress: a bar on a terminal, lines in a log."""

from __future__ import annotations

import contextlib
import io
import re
import threading
import time

import pytest
from rich.console import Console

from protoleak.progress import shown_progress


def log() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=False, width=120, soft_wrap=True, highlight=False), text


def test_a_log_has_one_line_for_every_stage_that_ended_with_its_last_numbers() -> None:
    console, text = log()
    with shown_progress(console) as progress:
        for done in (1, 2, 3):
            progress("encode train", done, 3)
        progress("epoch 1 of 2", 1, 5, "loss 0.9")
        progress("epoch 1 of 2", 5, 5, "loss 0.4")
        progress("epoch 1 of 2", 5, 5, "loss 0.4")  # said again
        progress("epoch 2 of 2", 1, 5, "loss 0.3")  # ended by the end of the work
    lines = [re.sub(r", \d+ s$", "", line) for line in text.getvalue().splitlines()]
    assert lines == ["encode train: 3/3", "epoch 1 of 2: 5/5, loss 0.4", "epoch 2 of 2: 1/5, loss 0.3"]


def test_a_log_shows_life_while_a_single_step_takes_long() -> None:
    console, text = log()
    with shown_progress(console, interval=0.02) as progress:
        progress("measure", 0, 1)
        deadline = time.monotonic() + 10
        while text.getvalue().count("\n") < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert text.getvalue().count("measure: ") >= 3


def test_short_work_whose_command_reports_by_itself_leaves_no_line() -> None:
    console, text = log()
    with shown_progress(console, stage_lines=False) as progress:
        progress("screening", 1, 2)
        progress("screening", 2, 2)
    assert text.getvalue() == ""


def test_an_error_is_not_preceded_by_a_line_of_the_stage_that_it_ended() -> None:
    console, text = log()
    with contextlib.suppress(ValueError), shown_progress(console) as progress:
        progress("encode train", 1, 3)
        raise ValueError
    assert text.getvalue() == ""


def test_an_interruption_while_the_lines_begin_is_nothing_but_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    console, _ = log()
    with pytest.raises(KeyboardInterrupt), shown_progress(console) as progress:
        progress("screening", 0, 2)


def test_a_terminal_has_a_bar_and_keeps_the_lines() -> None:
    text = io.StringIO()
    with shown_progress(Console(file=text, force_terminal=True, width=120)) as progress:
        progress("encode train", 1, 3)
        progress("encode train", 3, 3)
        progress("of unknown length", 7, 0, "frames")
    shown = text.getvalue()
    assert "━" in shown
    assert "encode train: 3/3, 0 s" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "of unknown length: 7, frames, 0 s" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


def test_work_that_never_begins_shows_nothing_on_a_terminal() -> None:
    text = io.StringIO()
    with shown_progress(Console(file=text, force_terminal=True)):
        pass
    assert text.getvalue() == ""
