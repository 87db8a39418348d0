"""The progress display: lines where there is no terminal, bars where there is one, nothing when disabled."""

import pytest
from rich.console import Console

from worldsim import progress
from worldsim.progress import Display, display


def test_without_a_terminal_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with display() as show:
        for done in range(1, 5):
            show("training", done, 10, f"loss {1 / done:.2f}")
            clock[0] += 45
        show.print("validated [at] 3")
    first, last = capsys.readouterr().out.splitlines()
    assert first.endswith("training 3/10, loss 0.33, 5 min left") and last == "validated [at] 3"


def test_a_stage_takes_done_and_total_and_goes_to_stderr_if_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(progress, "EVERY", -1.0)
    with display(stderr=True) as show:
        show.stage("reading")(2, 4)
        show("chunks", 7)
    captured = capsys.readouterr()
    lines = [line.split(" ", 1)[1] for line in captured.err.splitlines()]
    assert captured.out == "" and lines == ["reading 2/4", "chunks 7"]


def test_disabled_it_is_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(progress, "EVERY", -1.0)
    with display(enabled=False) as show:
        show("training", 1, 2)
        show.print("a line")
    assert capsys.readouterr().out == ""


def test_on_a_terminal_there_is_a_bar_for_each_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(Console, "is_terminal", property(lambda self: True))
    with Display() as show:
        show("reading", 1, 2)
        show("training", 3, 4, "loss 0.5")
    shown = capsys.readouterr().out
    assert "reading" in shown and "training" in shown and "3/4" in shown and "loss 0.5" in shown
