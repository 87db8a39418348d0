"""Players that are compared play the same episodes here and on a cluster, and outlive killed workers."""

import contextlib
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from tests.ray_nearby import Nearby
from tests.tiny_world import save_tiny_world
from worldsim import cli
from worldsim.agents.rl import contest as contests
from worldsim.agents.rl.contest import Contest, _jobs, play_here, play_on_ray
from worldsim.cli.agent import evaluate
from worldsim.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


class Counting(gymnasium.Env[Any, Any]):
    """Ends when the number that its seed drew is reached; pays what is pressed."""

    observation_space = gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(5)
    left = 0

    def __init__(self, longest: int = 9) -> None:
        self.longest = longest

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, self.longest))
        return np.zeros((4, 4, 3), np.uint8), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.left -= 1
        return np.zeros((4, 4, 3), np.uint8), float(action), self.left == 0, False, {}


if "Counting-v0" not in gymnasium.registry:
    gymnasium.register("Counting-v0", f"{__name__}:Counting")


def opened(kinds: Mapping[str, int], place: str) -> tuple[str, dict[str, Any]]:
    return "Counting-v0", {"longest": kinds[place]}


CONTEST = Contest(
    opens=partial(opened, {"dream": 9, "engine": 5}), places=("dream", "engine"), players=("random", "noop"), steps=6,
    episodes=5, seed=7,
)  # fmt: skip


def quiet(*told: Any) -> None:
    pass


@pytest.mark.parametrize("workers", [1, 3, 8, 100])
def test_a_cluster_of_any_size_plays_the_episodes_that_one_process_plays(workers: int, monkeypatch: pytest.MonkeyPatch):
    nearby = Nearby(workers)
    monkeypatch.setattr(contests, "connected", lambda address, count: contextlib.nullcontext(nearby))
    here, told = play_here(CONTEST, quiet), []
    assert play_on_ray(CONTEST, "auto", lambda *words: told.append(words)) == here
    for place, longest in (("dream", 9), ("engine", 5)):
        for played in here[place]:
            assert [one.seed for one in played] == [7, 8, 9, 10, 11]
            assert all(one.steps < min(longest, 7) and (one.steps == 6 or one.ended == "terminated") for one in played)
        # The same starts for both players, and other actions.
        assert [one.steps for one in here[place][0]] == [one.steps for one in here[place][1]]
        assert sum(one.total for one in here[place][0]) > sum(one.total for one in here[place][1]) == 0
    jobs = max(4, min(20, -(-workers // 4) * 4))
    assert told == [("episodes on Ray", done, jobs) for done in range(jobs + 1)] and not nearby.given_up


def test_a_player_that_does_not_fit_is_told_and_the_rest_given_up(monkeypatch: pytest.MonkeyPatch):
    nearby = Nearby(1)
    monkeypatch.setattr(contests, "connected", lambda address, count: contextlib.nullcontext(nearby))
    wrong = replace(CONTEST, players=("noop", "explore"))
    with pytest.raises(UserError, match="plays Minecraft-like worlds only"):
        play_on_ray(wrong, "auto", quiet)
    assert len(nearby.given_up) == 3


@pytest.mark.parametrize(("episodes", "workers"), [(1, 1), (5, 2), (10, 3), (3, 64)])
def test_every_episode_is_in_one_job_and_workers_have_work(episodes: int, workers: int):
    groups = [("dream", 0), ("dream", 1), ("engine", 0)]
    jobs = list(_jobs(groups, episodes, workers))
    for group in groups:
        numbers = [number for place, player, some in jobs if (place, player) == group for number in some]
        assert numbers == list(range(episodes))
    assert all(len(some) for *_, some in jobs) and len(jobs) >= min(workers, 3 * episodes)
    assert len(jobs) < workers + len(groups)


@dataclass(frozen=True)
class Killer:
    """Opens environments; the first worker that asks dies of it."""

    opens: Any
    folder: Path
    driver: int

    def __call__(self, config: Any, place: str) -> Any:
        if os.getpid() != self.driver:
            first = not any(self.folder.iterdir())
            (self.folder / str(os.getpid())).touch()
            if first:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.opens(config, place)


@pytest.mark.alone
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_agents_on_a_cluster_earn_what_they_earn_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    # Workers import this module, wherever they are started.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    save_tiny_world(tmp_path / "world")
    words = ["agent", "eval", "policy=[random,explore]", "against=noop", "world=world", "episodes=4", "episode=4"]
    assert cli.main([*words, "threads=1", "folder=one"]) == 0
    (tmp_path / "opened").mkdir()
    killer = Killer(evaluate.environment_of, tmp_path / "opened", os.getpid())
    monkeypatch.setattr(evaluate, "environment_of", killer)
    monkeypatch.setattr(contests, "play_here", None)
    assert cli.main([*words, "threads=1", "folder=ray", "ray=local"]) == 0
    one, ray = (json.loads(Path(run, "agent.json").read_text()) for run in ("one", "ray"))
    assert one == ray and len(one["places"]["dream"]["returns"]) == 2
    # One worker died, and another played what it was to play.
    assert len(list((tmp_path / "opened").iterdir())) >= 2
