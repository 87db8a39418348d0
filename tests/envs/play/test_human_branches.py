"""A person's tries: all from the same moment, kept as they were played, a tree of branches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.envs.play.fake_game import drive
from tests.tiny_world import tiny_starts, tiny_world
from worldsim.envs.play.opening import Opening
from worldsim.envs.play.session import Phase
from worldsim.envs.play.worker import StepTimes
from worldsim.envs.rollouts import human_branches
from worldsim.envs.rollouts.human_branches import played_by_a_person
from worldsim.envs.rollouts.prefix import find_prefix
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT

PAST = find_prefix("2", tiny_world(), tiny_starts(), frames=5, seed=9)


class Played:
    """Instead of a window: two tries, the second parted from itself."""

    def __init__(self, opening: Opening, *, preferences: Any):
        assert opening.same_start
        self.session = opening.session()

    def run(self) -> StepTimes:
        session = self.session
        drive(session, lambda: session.phase is Phase.READY)
        timeline = session.timeline
        assert timeline is not None
        for yaw in (1, 2):
            timeline.advance(turned(yaw))
        session.restart()
        drive(session, lambda: not session.moving)
        timeline.advance(turned(3))
        return session.times


def turned(yaw: float) -> np.ndarray:
    return np.tile(MINECRAFT.vector({"camera": (0, yaw)}), (2, 1))


def test_tries_become_branches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(human_branches, "PlayWindow", Played)
    first, second = played_by_a_person(tiny_world(), tiny_starts(), PAST, sensitivity=0.15)
    assert first.actions is not None and second.actions is not None
    assert first.actions[::2, -1].tolist() == [1, 2] and second.actions[::2, -1].tolist() == [3]
    assert not first.branches and not second.branches


def test_without_a_display_nobody_plays(monkeypatch: pytest.MonkeyPatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="needs a display"):
        played_by_a_person(tiny_world(), tiny_starts(), PAST, sensitivity=0.15)
