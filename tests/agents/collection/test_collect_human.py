"""Recording a person: posted events play in the window; what is stored is what was played, aligned."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pygame
import pytest
from gymnasium import spaces

from tests.fake_engine import FakeEngine
from tests.person import sit_down
from tests.tiny_world import HEIGHT, WIDTH, save_tiny_world
from worldsim import cli
from worldsim.agents.collection.human import RecordedGame, record_person
from worldsim.agents.collection.source_engine import EngineStage
from worldsim.agents.collection.source_gym import GymSource
from worldsim.agents.collection.types import MapJob
from worldsim.datasets.store.store import EpisodeStore
from worldsim.envs.play.hands import HumanInputMapper
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT, ActionSpec


@pytest.fixture(autouse=True)
def dummy_display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.display.quit()


def key(kind: int, code: int) -> tuple[int, dict[str, Any]]:
    return kind, {"key": code}


@pytest.mark.slow
def test_a_person_plays_an_atari_like_game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kwargs = {"meanings": ["NOOP", "FIRE", "LEFT", "RIGHT"]}
    gymnasium.register("Tests/Joystick-v0", "tests.fake_gym:Counting", kwargs=kwargs)
    left = sit_down(
        monkeypatch,
        key(pygame.KEYDOWN, pygame.K_d),
        key(pygame.KEYUP, pygame.K_d),
        key(pygame.KEYDOWN, pygame.K_SPACE),
        key(pygame.KEYUP, pygame.K_SPACE),
        key(pygame.KEYDOWN, pygame.K_r),
        key(pygame.KEYDOWN, pygame.K_a),
        (pygame.QUIT, {}),
    )
    report = record_person(GymSource(env="Tests/Joystick-v0"), tmp_path, seed=3, consent="agreed in writing")
    assert not left
    store = EpisodeStore(tmp_path)
    assert report.episodes == len(store) >= 2 and "episodes" in report.line()
    for name in store:
        episode = store.read(name)
        np.testing.assert_array_equal(episode.frames[:, 0, 0, 0], range(len(episode)))
        np.testing.assert_array_equal(episode.frames[1:, 0, 0, 2], [10] * (len(episode) - 1))
        assert (episode.actions[:-1].sum(1) == 1).all() and not episode.actions[-1].any()
        about = episode.provenance
        assert about["policy"] == about["source"] == "human" and about["consent"] == "agreed in writing"
        assert about["played"] == "gym:Tests/Joystick-v0" and about["keys"] == ["noop", "fire", "left", "right"]
    played = np.concatenate([store.read(name).actions[:-1].argmax(1) for name in store])
    order = [action for i, action in enumerate(played) if i == 0 or action != played[i - 1]]
    # Nothing happens before the first key. Right, nothing, fire; then, in a new episode, left.
    assert [int(action) for action in order[:3]] == [3, 0, 1] and 2 in order[3:], order


@pytest.mark.slow
def test_a_person_plays_a_learned_world_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = save_tiny_world(tmp_path / "tiny")
    left = sit_down(
        monkeypatch,
        (pygame.MOUSEBUTTONDOWN, {"button": 1}),
        key(pygame.KEYDOWN, pygame.K_w),
        (pygame.MOUSEMOTION, {"rel": (20, 0), "pos": (5, 5), "buttons": (0, 0, 0)}),
        (pygame.MOUSEMOTION, {"rel": (20, 0), "pos": (5, 5), "buttons": (0, 0, 0)}),
        (pygame.QUIT, {}),
    )
    words = ["collect", "--human", "source=worldsim", f"world={folder}", "--out", str(tmp_path / "store")]
    assert cli.main(words) == 0
    assert not left
    assert "1 episodes" in capsys.readouterr().out
    store = EpisodeStore(tmp_path / "store")
    episode = store.read(store.names()[0])
    assert episode.frames.shape[1:] == (HEIGHT, WIDTH, 3) and len(episode) % 2 == 1
    assert episode.actions[:, MINECRAFT.keys.index("forward")].any() and episode.actions[:, -1].max() > 0
    assert episode.provenance["engine"] == "worldsim" and episode.provenance["checkpoint"]


def world(frames: int = 10) -> MapJob:
    return MapJob(
        seed=0, number=0, map_seed=24, mapgen="v7", names=(), episode_frames=frames, policy="human", frozen_limit=1.0
    )


def game(tmp_path: Path, engine: Any, **options: Any) -> RecordedGame:
    stage = EngineStage(engine, world(), 20)
    return RecordedGame(stage, EpisodeStore(tmp_path), world(), title="test", about={"source": "human"}, **options)


def test_long_play_is_cut_without_losing_a_transition_and_executed_actions_are_kept(tmp_path: Path):
    played = game(tmp_path, FakeEngine(size=(32, 16)), shrink=4)
    assert (played.width, played.height) == (32, 16)
    played.reset(0)
    for t in range(25):
        frames = played.advance(MINECRAFT.vector({"forward": 1, "camera": (0, 1 + t % 3 + 0.04)})[None])
        assert frames.shape == (1, 16, 32, 3)
    played.close()
    store = EpisodeStore(tmp_path)
    episodes = [store.read(name) for name in store]
    assert [len(e) for e in episodes] == [10, 10, 8] and episodes[0].frames.shape[1:] == (4, 8, 3)
    assert all(e.provenance["seed"] == 24 and e.provenance["policy"] == "human" for e in episodes)
    np.testing.assert_array_equal(episodes[0].frames[-1], episodes[1].frames[0])
    for episode in episodes:
        turned = (np.diff(episode.state["yaw"]) + 180) % 360 - 180
        np.testing.assert_allclose(turned, episode.actions[:-1, -1], atol=1e-3)
    assert sum(len(e) - 1 for e in episodes) == 25


def test_a_game_that_is_over_begins_anew(tmp_path: Path):
    class Short(FakeEngine):
        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            obs, reward, _, _, info = super().step(action)
            return obs, reward, self.steps % 5 == 0, False, info

    played = game(tmp_path, Short())
    played.reset(0)
    for _ in range(12):
        played.advance(MINECRAFT.vector({"forward": 1})[None])
    played.close()
    store = EpisodeStore(tmp_path)
    # Five steps, a restart, five steps, a restart: the third episode has no action yet.
    assert [store.read(name).terminated.tolist() for name in store] == [[False] * 5 + [True]] * 2


def controls(*held: str) -> np.ndarray:
    return MINECRAFT.vector(dict.fromkeys(held, 1))[:-2]


JOYSTICK = ("noop", "fire", "up", "right", "upright", "uprightfire")


@pytest.mark.parametrize(
    ("keys", "exclusive", "held", "wanted"),
    [
        (JOYSTICK, True, ("forward", "right"), "upright"),
        (JOYSTICK, True, ("forward", "right", "jump"), "uprightfire"),
        (JOYSTICK, True, ("attack",), "fire"),
        (JOYSTICK, True, ("back",), "noop"),
        (("action.0", "action.1"), True, ("hotbar.2",), "action.1"),
        (("a", "b"), False, ("hotbar.1",), "a"),
        # A game with a key of its own has digits for all; names of Minecraft's still press their own.
        (("forward", "fly"), False, ("forward", "hotbar.2"), "forward fly"),
        (("forward", "fly"), False, ("forward",), "forward"),
        (("forward", "fly"), False, ("hotbar.1",), "forward"),
        (("forward", "back"), False, ("forward", "hotbar.2"), "forward"),
        (("axis.0", "axis.1"), False, ("right",), "axis.0"),
    ],
)
def test_what_hands_do(keys: tuple[str, ...], exclusive: bool, held: tuple[str, ...], wanted: str):
    hands = HumanInputMapper(ActionSpec(keys=keys, camera=False), exclusive=exclusive)
    assert hands.meanings and hands.spec.camera is False
    vector = hands(controls(*held))
    assert [keys[i] for i in np.flatnonzero(vector)] == wanted.split()


def test_hands_steer_both_ways_and_know_their_limits():
    racing = HumanInputMapper(ActionSpec(keys=("axis.0", "axis.1", "axis.2"), camera=False), exclusive=False)
    np.testing.assert_array_equal(racing(controls("left", "forward", "sneak")), [-1, 1, -1])

    def many(n: int) -> ActionSpec:
        return ActionSpec(keys=tuple(f"action.{i}" for i in range(n)), camera=False)

    assert HumanInputMapper(many(9), exclusive=True)
    with pytest.raises(UserError, match="a keyboard cannot play 10 actions"):
        HumanInputMapper(many(10), exclusive=True)
    with pytest.raises(UserError, match="a keyboard cannot play"):
        gymnasium.register("Tests/Many-v0", "tests.fake_gym:Counting", kwargs={"actions": spaces.Discrete(30)})
        record_person(GymSource(env="Tests/Many-v0"), "nowhere")
