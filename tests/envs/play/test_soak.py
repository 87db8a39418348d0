"""The soak itself: short here (``WORLDSIM_SOAK=1800`` for half an hour), and it notices what it is there to notice."""

import os
from typing import Any

import numpy as np
import pygame
import pytest

from tests.envs.play.fake_game import FakeGame
from tests.envs.play.soak import Player, Report, growth
from worldsim.envs.play.controls import Controls
from worldsim.envs.play.opening import Opening
from worldsim.envs.play.play import PlayWindow
from worldsim.envs.play.tree.timeline import Timeline
from worldsim.spec.actions import ActionSpec

PONG = ActionSpec(keys=("noop", "up", "down"), camera=False)


@pytest.fixture(autouse=True)
def dummy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    # What is kept on purpose has its size after some seconds, not minutes.
    defaults = Timeline.__init__.__kwdefaults__
    assert defaults is not None
    for name in ("picture_bytes", "snapshot_bytes"):
        monkeypatch.setitem(defaults, name, 2**19)
    yield
    pygame.display.quit()


def soak(game: FakeGame, seconds: float) -> Report:
    return Player(PlayWindow(Opening(open_game=lambda tell: game, seed=3)), seconds).play()


@pytest.mark.slow
def test_minutes_of_play_cost_no_memory_and_no_key():
    report = soak(FakeGame(), float(os.environ.get("WORLDSIM_SOAK", "12")))
    assert report.dropped == [] and report.pressed > 20 and report.steps > 20 and report.commands > 0, report.line()
    assert growth(report.memory) < 0.05, report.line()


@pytest.mark.slow
def test_a_joystick_games_keys_are_heard():
    report = soak(FakeGame(PONG), 4)
    assert report.dropped == [] and report.pressed > 5


@pytest.mark.slow
def test_a_key_that_is_dropped_is_noticed(monkeypatch: pytest.MonkeyPatch):
    take = Controls.take

    def forgetful(controls: Controls, frames: int) -> Any:
        controls.tapped.clear()
        return take(controls, frames)

    monkeypatch.setattr(Controls, "take", forgetful)
    report = soak(FakeGame(), 4)
    assert len(report.dropped) >= 0.8 * report.pressed > 0


def test_growth_is_noticed_and_noise_is_not():
    noise = np.random.default_rng(0).integers(-3, 4, 100)
    assert abs(growth((1000 + noise).tolist())) < 0.005
    assert growth((1000 + noise + np.arange(100)).tolist()) > 0.05
    # One sample that is off is no growth.
    assert growth([1000] * 50 + [5000] + [1000] * 49) == 0 == growth([])
